"""Files of the package, as they are served to anybody. A browser keeps one, and asks whether it has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fastapi.responses import Response

_HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


def static_file(path: Path, media_type: str, seen: str | None, headers: Mapping[str, str] | None = None) -> Response:
    """The file, or 304 to whoever has it: `seen` is the If-None-Match of the request. It is read once."""
    content, tag = _read(path)
    sent = {**_HEADERS, "ETag": tag, **(headers or {})}
    if seen is not None and tag in (one.strip().removeprefix("W/") for one in seen.split(",")):
        return Response(status_code=304, headers=sent)
    return Response(content, headers=sent, media_type=media_type)


@cache
def _read(path: Path) -> tuple[bytes, str]:
    content = path.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
