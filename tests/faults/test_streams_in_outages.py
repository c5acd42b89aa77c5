"""Postgres goes down under a hundred streams."""

from __future__ import annotations

import asyncio

from tests.support.killable_servers import KillableServers
from tests.support.recording import numbers, show
from tests.support.sessions import only_step
from turnlog import Session, SessionLog, Step, StoreUnavailableError


class Streams:
    """A hundred sessions, each with a recording; `shown` is what their consumers have seen."""

    def __init__(self, sessions: list[Session], chunks: int) -> None:
        self.sessions = sessions
        self.shown: list[list[str]] = [[] for _ in sessions]
        self.tasks = [
            asyncio.create_task(show(session.record(numbers(chunks, pause=0.02)), texts))
            for session, texts in zip(sessions, self.shown, strict=True)
        ]

    async def until_all_have_shown(self, count: int) -> None:
        for _ in range(3000):
            if min(map(len, self.shown)) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"a stream has not shown {count} deltas")


async def begin_streams(log: SessionLog, chunks: int, shown: int = 10) -> Streams:
    streams = Streams([await log.start_session("u1") for _ in range(100)], chunks)
    await streams.until_all_have_shown(shown)
    return streams


async def ended(session: Session) -> Step:
    """The session's only step, once it has ended: nobody but the log that wrote it sees to that here."""
    for _ in range(200):
        if (step := only_step(await session.view())).status != "open":
            return step
        await asyncio.sleep(0.1)
    raise AssertionError("the step is still open")


async def test_a_hundred_streams_go_on_after_postgres_was_restarted(
    killable: KillableServers,
) -> None:
    patient = killable.settings.model_copy(update={"store_timeout_seconds": 30})
    async with SessionLog.open(patient) as log:
        streams = await begin_streams(log, 60)
        killable.kill_postgres()
        await asyncio.to_thread(killable.start_again)
        assert min(map(len, streams.shown)) < 60
        await asyncio.gather(*streams.tasks)
        whole = [f"{number} " for number in range(60)]
        assert streams.shown == [whole] * 100
        for session in streams.sessions:
            step = only_step(await session.view())
            assert (step.status, step.message.content) == ("finished", "".join(whole))
            assert (await session.view()).version == 63


async def test_streams_without_postgres_get_an_error_in_time_and_their_ends_later(
    killable: KillableServers,
) -> None:
    # Long enough that the lease does not run out before Postgres is back, on a busy machine either.
    settings = killable.settings.model_copy(update={"lease_seconds": 36})
    async with SessionLog.open(settings) as log:
        streams = await begin_streams(log, 10_000, shown=50)  # so that several chunks of each are on their way
        killable.kill_postgres()
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*streams.tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
        await asyncio.to_thread(killable.start_again)
        for session, texts in zip(streams.sessions, streams.shown, strict=True):
            step = await ended(session)
            assert step.status == "failed"
            assert str(step.message.content).startswith("".join(texts))
