"""The log over HTTP: a router for any FastAPI application, and `turnlog serve`. Needs the extra `server`."""

from __future__ import annotations

try:
    import fastapi as fastapi
except ModuleNotFoundError as error:
    raise ImportError('FastAPI is not installed: pip install "turnlog[server]"', name=error.name) from error
