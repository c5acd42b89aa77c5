"""A proxy in front of Postgres that counts the statements that go through it: whatever driver a system uses."""

from __future__ import annotations

import asyncio
import shutil
import struct
import tempfile
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_PORT = 5432  # only names the socket
_STATEMENTS = frozenset(b"QEF")  # Query, Execute, FunctionCall
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_READ_BYTES = 65_536
_PATIENCE_SECONDS = 10.0


class StatementCounter:
    """Connections to `url` reach the database of the given one. It runs on a thread of its own, for callers block."""

    def __init__(self, url: str) -> None:
        self.statements = 0
        self.given = 0
        """Bytes that the server gave."""
        self._server = conninfo_to_dict(url)
        self._folder = tempfile.mkdtemp(prefix="turnlog-wire-")
        self.url = make_conninfo(url, host=self._folder, port=_PORT, sslmode="disable", gssencmode="disable")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="turnlog-wire", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        path = str(Path(self._folder, f".s.PGSQL.{_PORT}"))
        listening = asyncio.start_unix_server(self._accept, path)
        self._listener = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _stop(self) -> None:
        """Whoever used it has closed its connections: what is under way is their end."""
        self._listener.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_PATIENCE_SECONDS)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 for the type checker
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self._connections.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until either side ends."""
        server_reader, server_writer = await self._connect()
        sides = [
            asyncio.create_task(_until_it_ends(self._count(reader, writer, server_writer))),
            asyncio.create_task(_until_it_ends(self._pump(server_reader, writer))),
        ]
        await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        server_writer.close()
        writer.close()
        await asyncio.wait(sides)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = str(self._server.get("host") or "localhost"), int(self._server.get("port") or _PORT)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _count(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        """The client's side: the startup packet has no type, all later messages do."""
        head = await reader.readexactly(8)
        size, code = struct.unpack("!II", head)
        while code in (_SSL_REQUEST, _GSS_REQUEST):
            writer.write(b"N")
            size, code = struct.unpack("!II", head := await reader.readexactly(8))
        server.write(head + await reader.readexactly(size - 8))
        while True:
            head = await reader.readexactly(5)
            self.statements += head[0] in _STATEMENTS
            server.write(head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4))
            await server.drain()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ_BYTES):
            self.given += len(data)
            writer.write(data)
            await writer.drain()


async def _until_it_ends(side: Coroutine[None, None, None]) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        await side
