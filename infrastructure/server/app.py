"""The application of `turnlog serve`: the router, with a log of its own, for as long as the server runs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from threading import Thread
from uuid import UUID

from fastapi import Depends, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from turnlog import __version__
from turnlog.domain.errors import SessionNotFoundError, TurnlogError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.server import metrics, problems
from turnlog.infrastructure.server.pages import add_pages
from turnlog.infrastructure.server.proxy.proxy import Proxy
from turnlog.infrastructure.server.proxy.router import proxy_router
from turnlog.infrastructure.server.router import turnlog_router
from turnlog.infrastructure.server.serve_settings import IN_WORKERS, ServeSettings
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.telemetry import RunningExposition, exposition_for

_NO_SESSION = UUID(int=0)
_PARENT_SECONDS = 0.5


def turnlog_app(settings: Settings, serve: ServeSettings, exposition: RunningExposition | None = None) -> FastAPI:
    """The application. It opens the log when it starts, and closes it when it ends. `exposition` has its metrics."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if exposition is not None:
                setattr(app.state, metrics.HERE, await stack.enter_async_context(exposition))
            app.state.log = await stack.enter_async_context(SessionLog.open(settings))
            yield

    app = FastAPI(
        title="turnlog",
        version=__version__,
        description="An event-sourced log for LLM conversations, over HTTP.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.include_router(
        turnlog_router(
            _log_of,
            authenticate=serve.authenticate(),
            max_body_bytes=serve.max_body_bytes,
            heartbeat_seconds=serve.heartbeat_seconds,
        ),
        # For the description alone, whose readers then know where a token goes.
        dependencies=[] if serve.trusted_header else [Depends(HTTPBearer(auto_error=False))],
    )
    if serve.proxy is not None:
        withheld = [] if serve.trusted_header is None else [serve.trusted_header]
        app.state.proxy = Proxy(serve.proxy, serve.max_body_bytes, withheld)
        app.include_router(proxy_router(_log_of, serve.authenticate_proxied(), app.state.proxy))
    add_pages(app)
    _add_probes(app)
    _add_refusals(app)
    if serve.origins:
        _allow(app, serve.origins)
    return app


def app_of_worker() -> FastAPI:
    """The application in a worker process, as its parent says in the environment. It ends when the parent is gone:
    else, where that was killed, the worker would keep the port."""
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    settings, serve = Settings.from_env(), ServeSettings.model_validate_json(os.environ[IN_WORKERS])
    return turnlog_app(settings, serve, exposition_for(settings, serve.metrics_folder))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _log_of(request: Request) -> SessionLog:
    log: SessionLog = request.app.state.log
    return log


def _add_probes(app: FastAPI) -> None:
    @app.get("/health", tags=["server"], summary="Whether the process answers.")
    async def health() -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    @app.get("/ready", tags=["server"], summary="Whether the log answers.", responses=_UNREADY)
    async def ready(request: Request) -> Response:
        try:
            await _log_of(request).session(_NO_SESSION, SYSTEM).cursor()
        except SessionNotFoundError:  # as it has to be: the log has been asked
            return JSONResponse({"status": "ok"})
        except TurnlogError as error:
            return problems.of_error(error)
        return JSONResponse({"status": "ok"})


_UNREADY: dict[int | str, dict[str, str]] = {503: {"description": "The log cannot be read."}}


def _add_refusals(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        return problems.of_exception(error)

    async def failed(_: Request, error: Exception) -> Response:  # noqa: ARG001 it is logged, and tells a client nothing
        return problems.answer(problems.FAILED)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, failed)


def _allow(app: FastAPI, origins: tuple[str, ...]) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["authorization", "content-type", "idempotency-key", "if-none-match", "last-event-id"],
        expose_headers=["etag"],
    )


def openapi() -> str:
    """The description of all routes, as it is served."""
    serve = ServeSettings()
    return json.dumps(turnlog_app(Settings(), serve).openapi(), indent=1)
