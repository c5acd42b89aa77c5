"""`turnlog.js` and its types, for pages. They are public: a page that asks for a module does not say who asks."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response

FOLDER = Path(__file__).with_name("client")
MODULE = FOLDER / "turnlog.js"
TYPES = FOLDER / "turnlog.d.ts"

_HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
"""A browser keeps the file, and asks each time whether it has changed."""

Seen = Annotated[str | None, Header(alias="If-None-Match")]


def client_files() -> APIRouter:
    """Routes of the files, for anybody."""
    router = APIRouter(include_in_schema=False)

    @router.get("/turnlog.js")
    async def module(seen: Seen = None) -> Response:
        return _file(MODULE, "text/javascript", seen)

    @router.get("/turnlog.d.ts")
    async def types(seen: Seen = None) -> Response:
        return _file(TYPES, "text/plain", seen)

    return router


def _file(path: Path, media_type: str, seen: str | None) -> Response:
    content, tag = _read(path)
    headers = _HEADERS | {"ETag": tag}
    if seen is not None and tag in (one.strip().removeprefix("W/") for one in seen.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


@cache
def _read(path: Path) -> tuple[bytes, str]:
    content = path.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
