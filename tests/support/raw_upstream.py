"""An upstream that answers each request with the bytes that it was given, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

END = b"\r\n\r\n"


class RawUpstream:
    """Listens on loopback while the block runs. `requests` are the bytes that came; the connection ends after each.
    `sent` is how many `parts` of the last answer have gone out."""

    def __init__(self, *parts: bytes, pause: float = 0.0) -> None:
        self.parts = parts
        self.sent = 0
        self._pause = pause
        self._server: asyncio.Server | None = None
        self.requests: list[bytes] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """What takes the place of a provider's address."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(END)
        lines = [line.split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line]
        length = next((int(value) for name, value in lines if name.lower() == b"content-length"), 0)
        self.requests.append(head + await reader.readexactly(length))
        self.sent = 0
        with suppress(ConnectionError):
            for part in self.parts:
                writer.write(part)
                await writer.drain()
                self.sent += 1
                await asyncio.sleep(self._pause)
        writer.close()
