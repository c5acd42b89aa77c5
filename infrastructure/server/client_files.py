"""`turnlog.js` and its types, for pages. They are public: a page that asks for a module does not say who asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response

from turnlog.infrastructure.server.static_files import static_file

FOLDER = Path(__file__).with_name("client")
MODULE = FOLDER / "turnlog.js"
TYPES = FOLDER / "turnlog.d.ts"

Seen = Annotated[str | None, Header(alias="If-None-Match")]


def client_files() -> APIRouter:
    """Routes of the files, for anybody."""
    router = APIRouter(include_in_schema=False)

    @router.get("/turnlog.js")
    async def module(seen: Seen = None) -> Response:
        return static_file(MODULE, "text/javascript", seen)

    @router.get("/turnlog.d.ts")
    async def types(seen: Seen = None) -> Response:
        return static_file(TYPES, "text/plain", seen)

    return router
