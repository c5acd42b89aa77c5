"""Connections to Postgres that break at any answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.killable_servers import short_lived_folder
from tests.support.sessions import FEW_SECONDS, answer, positions
from turnlog import SessionLog, Settings


class CuttingProxy:
    """In front of Postgres' socket. Can throw away the server's next-but-n answer and hang up, after the server has
    done the work: what a broken network does to a commit."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._target = conninfo_to_dict(database_url)
        self._name = f".s.PGSQL.{self._target['port']}"
        self._folder = folder
        self.answers_until_cut: int | None = None
        self.cuts = 0

    @property
    def url(self) -> str:
        target = self._target
        return f"postgresql://{target['user']}@/{target['dbname']}?host={self._folder}&port={target['port']}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CuttingProxy]:
        server = await asyncio.start_unix_server(self._serve, self._folder / self._name)
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = os.path.join(str(self._target["host"]), self._name)  # noqa: PTH118 a str from a URL
        from_server, to_server = await asyncio.open_unix_connection(path)
        try:
            await asyncio.wait(
                {
                    asyncio.create_task(self._pass_on(reader, to_server)),
                    asyncio.create_task(self._pass_answers(from_server, writer)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            to_server.close()
            writer.close()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

    async def _pass_answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if self._is_cut():
                    return
                sink.write(data)
                await sink.drain()

    def _is_cut(self) -> bool:
        if self.answers_until_cut is None:
            return False
        self.answers_until_cut -= 1
        if self.answers_until_cut > 0:
            return False
        self.answers_until_cut = None
        self.cuts += 1
        return True


@pytest.fixture
async def answer_proxy(settings: Settings) -> AsyncIterator[CuttingProxy]:
    with short_lived_folder() as folder:
        async with CuttingProxy(folder, settings.database_url or "").running() as running:
            yield running


@pytest.mark.parametrize("answers", range(1, 6))
async def test_a_connection_that_breaks_at_any_answer_stores_once(
    settings: Settings, answer_proxy: CuttingProxy, log: SessionLog, answers: int
) -> None:
    through_proxy = settings.model_copy(update={"database_url": answer_proxy.url})
    async with SessionLog.open(through_proxy) as cut_log:
        session = await cut_log.start_session("u1")
        await session.say("before")
        answer_proxy.answers_until_cut = answers
        async with asyncio.timeout(FEW_SECONDS):
            await asyncio.gather(*(session.say(f"message {number}") for number in range(3)))
            await answer(session, "Hel", "lo")
        seen = await log.session(session.id, "u1").view()
        assert answer_proxy.cuts == 1
    said = ["before", "message 0", "message 1", "message 2", "Hello"]
    assert [message["content"] for message in seen.messages] == said
    assert await positions(log.session(session.id, "u1")) == list(range(1, 10))
