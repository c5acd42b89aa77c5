"""The class of all routes: who asks is known before the body is read, a body has a limit, and whatever is refused is a
problem. It works in any application, which need not know the log's errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.server import problems
from turnlog.infrastructure.server.asking import Desk
from turnlog.infrastructure.server.problems import MALFORMED, MEDIA, TOO_LARGE, RefusedError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

GONE = 499
"""The status of an answer to somebody who has hung up. Nobody sees it."""


def route_class(desk: Desk) -> type[APIRoute]:
    """The class of the routes of this desk."""

    class DeskRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def answered(request: Request) -> Response:
                return await _answered(desk, handle, request)

            return answered

    return DeskRoute


async def _answered(desk: Desk, handle: Handler, request: Request) -> Response:
    try:
        asked = await desk.admit(request)
        with asked.log.traced(request.headers):
            return await handle(LimitedRequest(request.scope, request.receive, desk.max_body_bytes))
    except TurnlogError as error:
        return problems.of_error(error)
    except RequestValidationError as error:
        return problems.of_validation(list(error.errors()))
    except HTTPException as error:
        return problems.of_exception(error)
    except ClientDisconnect:
        return Response(status_code=GONE)


class LimitedRequest(Request):
    """A request whose body is JSON of at most so many bytes, unless a route reads it as a stream."""

    def __init__(self, scope: Scope, receive: Receive, limit: int) -> None:
        super().__init__(scope, receive)
        self.limit = limit

    async def body(self) -> bytes:
        """The body. Raises RefusedError for one that is too large, or is not said to be JSON."""
        if not hasattr(self, "_body"):
            self._body = await self.read()
            if self._body and not _is_json(self.headers.get("content-type", "")):
                raise RefusedError(MEDIA, "JSON is taken here: application/json")
        return self._body

    async def json(self) -> Any:
        """The body as JSON. Raises RefusedError for what is none."""
        if not hasattr(self, "_json"):
            self._json = parsed(await self.body())
        return self._json

    async def read(self) -> bytes:
        """The body, of whatever type. Raises RefusedError for one that is too large."""
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 15 or int(declared) > self.limit):
            self._refuse_size()
        read = bytearray()
        async for piece in self.stream():
            read += piece
            if len(read) > self.limit:
                self._refuse_size()
        return bytes(read)

    def _refuse_size(self) -> NoReturn:
        raise RefusedError(TOO_LARGE, f"at most {self.limit:,} bytes are taken", limit=self.limit)


def parsed(data: bytes) -> Any:
    """A JSON text. Raises RefusedError for what is none, what is nested without end, and numbers that JSON lacks."""
    try:
        return json.loads(data, parse_constant=_refused)
    except RecursionError:
        raise RefusedError(MALFORMED, "the JSON is nested too deep") from None
    except ValueError as error:
        raise RefusedError(MALFORMED, f"this is no JSON: {error}") from None


def _refused(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
