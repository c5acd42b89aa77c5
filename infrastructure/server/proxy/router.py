"""The routes of the recording proxy: where a client's `base_url` leads."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from turnlog.domain.errors import InvalidInputError, TurnlogError
from turnlog.domain.inputs import check_kind, checked_range
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import Principal
from turnlog.infrastructure.server.asking import Authenticate, principal_of
from turnlog.infrastructure.server.problems import NOT_FOUND, RefusedError
from turnlog.infrastructure.server.proxy.answer import Answer
from turnlog.infrastructure.server.proxy.apis import APIS, RecordedApi, is_anthropic
from turnlog.infrastructure.server.proxy.asked import read_request
from turnlog.infrastructure.server.proxy.proxy import Proxy
from turnlog.infrastructure.server.proxy.proxy_settings import ProxySettings
from turnlog.infrastructure.server.proxy.response import ProxiedResponse, refused
from turnlog.infrastructure.server.proxy.upstreams import Forwarded
from turnlog.infrastructure.server.route import GONE, LimitedRequest
from turnlog.infrastructure.server.router import MAX_BODY_BYTES
from turnlog.infrastructure.tasks import off_loop

logger = logging.getLogger("turnlog")

PATHS = ("/v1/{path:path}", "/proxy/{token}/v1/{path:path}", "/proxy/{token}/{upstream}/v1/{path:path}")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_LARGE = 256 * 1024
"""Bytes from which on a request is read on a thread."""

FindLog = SessionLog | Callable[[Request], SessionLog]


def turnlog_proxy(
    log: FindLog,
    *,
    authenticate: Authenticate,
    settings: ProxySettings,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> APIRouter:
    """The recording proxy, for an application of your own:

        app.include_router(turnlog_proxy(log, authenticate=who, settings=ProxySettings(upstreams={...})))

    A client whose `base_url` is `/v1` of the application asks its provider through it, with its own key. `log` and
    `authenticate` are as in `turnlog_router`; the `Authorization` of a request is for the provider. What is asked and
    what is answered is in the log. A request, an answer in one, and a line of a stream have at most `max_body_bytes`.
    Raises InvalidInputError.
    """
    check_kind(settings, ProxySettings, "settings")
    return proxy_router(log, authenticate, Proxy(settings, checked_range(max_body_bytes, "max_body_bytes", 1, 2**40)))


def proxy_router(log: FindLog, authenticate: Authenticate, proxy: Proxy) -> APIRouter:
    """The routes of this proxy, which is closed when the application ends."""
    if not callable(authenticate):
        raise InvalidInputError("authenticate", "is required: a function that says who asks")
    check_kind(log, SessionLog | Callable, "log")

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await proxy.close()

    routes = _Routes(lambda request: log if isinstance(log, SessionLog) else log(request), authenticate, proxy)
    router = APIRouter(lifespan=lifespan)
    for path in PATHS:
        router.add_route(path, routes.answered, methods=list(METHODS), include_in_schema=False)
    return router


@dataclass(frozen=True, slots=True)
class _Routes:
    log: Callable[[Request], SessionLog]
    authenticate: Authenticate
    proxy: Proxy

    async def answered(self, request: Request) -> Response:
        path = request.path_params["path"]
        anthropic = is_anthropic(path, request.headers)
        try:
            principal = await principal_of(self.authenticate, request)
            answer = await self._answer(request, principal, path, anthropic=anthropic)
        except ClientDisconnect:
            return Response(status_code=GONE)
        except (TurnlogError, HTTPException) as error:
            return refused(error, anthropic=anthropic)
        return ProxiedResponse(answer, anthropic=anthropic)

    async def _answer(self, request: Request, principal: Principal, path: str, *, anthropic: bool) -> Answer:
        upstreams = self.proxy.upstreams
        name = request.path_params.get("upstream") or ("anthropic" if anthropic else "openai")
        url = upstreams.url(name, path, request.scope["query_string"]) if upstreams.has(name) else None
        if url is None:
            raise RefusedError(NOT_FOUND)
        limited = LimitedRequest(request.scope, request.receive, self.proxy.limit)
        api = APIS.get(path) if request.method == "POST" else None
        body = await (limited.read() if api is None else limited.body())
        forwarded = Forwarded(request.method, url, upstreams.headers(request.headers.raw), body)
        if api is not None:
            return await self._exchange(request, principal, api, forwarded)
        self.proxy.counts.passed += 1
        return self.proxy.pass_on(forwarded)

    async def _exchange(self, request: Request, principal: Principal, api: RecordedApi, given: Forwarded) -> Answer:
        is_large = len(given.body) > _LARGE
        try:
            asked = await off_loop(is_large, read_request, api, principal, given.body, dict(request.headers))
        except InvalidInputError as error:
            return self._unreadable(error, given)
        return self.proxy.exchange(self.log(request), asked, given._replace(body=asked.body))

    def _unreadable(self, error: InvalidInputError, given: Forwarded) -> Answer:
        """What cannot be read cannot be recorded. The provider would refuse most of it, too."""
        if self.proxy.settings.unrecorded == "refuse":
            self.proxy.counts.refused += 1
            raise error
        logger.warning("a request through the proxy goes on unrecorded: %s", error)
        self.proxy.counts.unrecorded += 1
        return self.proxy.pass_on(given)
