"""What Prometheus reads."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from turnlog.infrastructure.server.asking import Asking
from turnlog.infrastructure.server.problems import NO_METRICS, RefusedError
from turnlog.infrastructure.server.routes import Routes
from turnlog.infrastructure.telemetry import Exposition

routes = Routes("log")

HERE = "turnlog_exposition"
"""The name in the state of the application under which its metrics are."""
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_GIVES = {200: {"description": "The metrics, as Prometheus reads them.", "content": {"text/plain": {}}}}


@routes.add("GET", "/metrics", refuses=(403, 404), responses=_GIVES)
async def metrics(request: Request, asking: Asking) -> Response:
    """The metrics of all processes of the server, for the system alone."""
    asking.check_system()
    exposition: Exposition | None = getattr(request.app.state, HERE, None)
    if exposition is None:
        raise RefusedError(NO_METRICS)
    return Response(await exposition.text(), media_type=_TEXT)
