"""A TCP proxy in front of a server's Unix socket, which does to connections what networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Cut = Literal["half_request", "request", "answer", "half_answer"]
"""What of the next exchange gets lost. The connection is reset with it."""

_PAUSE = 0.01


@dataclass(slots=True)
class Rules:
    """What happens to what passes. The defaults let everything through."""

    delay: float = 0.0
    """Seconds before each piece is passed on."""
    drip: int = 0
    """Bytes that are passed on at a time; 0 for all."""
    loses_requests: bool = False
    """Nothing goes to the server; the connections stay open."""
    loses_answers: bool = False
    refuses: bool = False
    """New connections are reset."""
    is_deaf: bool = False
    """New connections are accepted, and nobody answers."""
    cut: Cut | None = None
    cuts_appends: bool = False
    """Only exchanges of connections that have sent an append are cut."""


class _Link:
    """One connection through the proxy."""

    def __init__(self, ends: tuple[asyncio.StreamWriter, ...]) -> None:
        self.ends = ends
        self.appends = False
        self.cut: Cut | None = None

    def reset(self) -> None:
        for end in self.ends:
            with suppress(OSError, AttributeError):
                linger = struct.pack("ii", 1, 0)  # closing sends a reset
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            end.transport.abort()

    def close(self) -> None:
        for end in self.ends:
            with suppress(OSError):
                end.close()


class Proxy:
    """Runs on a loop and thread of its own. `target` is the server's socket, and may change."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.rules = Rules()
        self.cuts = 0
        self.port = 0
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()
        self._server = self._wait(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def heal(self) -> None:
        """Lets everything through again."""
        self.rules = Rules()

    def reset_all(self) -> int:
        """Resets every connection. Returns their number."""
        return self._call(_Link.reset)

    def close_all(self) -> int:
        """Closes every connection as a server does that ends. Returns their number."""
        return self._call(_Link.close)

    def stop(self) -> None:
        """Ends the proxy and its connections."""
        self.reset_all()
        self._wait(self._ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _ended(self) -> None:
        self._server.close()
        ours = asyncio.all_tasks() - {asyncio.current_task()}
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)

    def cut_one(self, cut: Cut, *, appends: bool, seconds: float) -> bool:
        """Cuts the next exchange (with `appends`: of a connection that appends), if there is one in time."""
        before = self.cuts
        self.rules.cuts_appends, self.rules.cut = appends, cut
        deadline = time.monotonic() + seconds
        while self.cuts == before and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        self.rules.cut = None
        return self.cuts > before

    def _call(self, what: Any) -> int:
        async def on_all() -> int:
            links = list(self._links)
            for link in links:
                what(link)
            return len(links)

        return self._wait(on_all())

    def _wait(self, work: Awaitable[T]) -> T:
        async def run() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link((writer,))
        self._links.add(link)
        try:
            if self.rules.refuses:
                link.reset()
            elif await self._until_heard():
                await self._connect(link, reader, writer)
        except OSError:
            link.reset()
        finally:
            link.close()
            self._links.discard(link)

    async def _until_heard(self) -> bool:
        while self.rules.is_deaf:
            await asyncio.sleep(_PAUSE)
        return True

    async def _connect(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self.target)
        link.ends = (writer, to_server)
        ways = (self._requests(link, reader, to_server), self._answers(link, from_server, writer))
        tasks = [asyncio.create_task(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _requests(self, link: _Link, reader: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                link.appends = link.appends or b"_append" in data
                if (cut := self._taken_cut(link)) is not None:
                    link.cut = cut
                    if cut in ("request", "half_request"):
                        sink.write(data[: len(data) // 2] if cut == "half_request" else b"")
                        await asyncio.sleep(_PAUSE)
                        link.reset()
                        return
                while self.rules.loses_requests:
                    await asyncio.sleep(_PAUSE)
                await self._pass(data, sink)

    async def _answers(self, link: _Link, reader: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if link.cut is not None:
                    if link.cut == "half_answer":
                        sink.write(data[: len(data) // 2])
                        await asyncio.sleep(_PAUSE)
                    link.reset()
                    return
                while self.rules.loses_answers:
                    await asyncio.sleep(_PAUSE)
                await self._pass(data, sink)

    def _taken_cut(self, link: _Link) -> Cut | None:
        cut = self.rules.cut
        if cut is None or (self.rules.cuts_appends and not link.appends):
            return None
        self.rules.cut = None
        self.cuts += 1
        return cut

    async def _pass(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        if self.rules.delay:
            await asyncio.sleep(self.rules.delay)
        while (size := self.rules.drip) and data:
            sink.write(data[:size])
            data = data[size:]
            await sink.drain()
            await asyncio.sleep(0.001)
        sink.write(data)
        await sink.drain()
