"""Responses that go on for a while."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"

_LIVE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Nothing of it is kept, and no proxy holds it back."""


class StreamedResponse(StreamingResponse):
    """A stream to somebody who has said all that they had to say. What it is made from is closed when they leave."""

    def __init__(self, content: AsyncIterator[Any], media_type: str) -> None:
        super().__init__(content, media_type=media_type, headers=_LIVE)

    async def stream_response(self, send: Send) -> None:
        """As in Starlette, and closes what it sends from."""
        try:
            await super().stream_response(send)
        finally:
            close = getattr(self.body_iterator, "aclose", None)
            if close is not None:
                await close()


class DuplexResponse(Response):
    """A stream to somebody who is still sending: the request is read while this is written. (Starlette's own would take
    what comes for the sign that they have left.)"""

    def __init__(self, parts: AsyncGenerator[bytes], media_type: str) -> None:
        super().__init__(None, 200, dict(_LIVE), media_type)
        del self.headers["content-length"]
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI's signature
        """Sends the parts as they come."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._parts) as parts:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
