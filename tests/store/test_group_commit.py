"""Group commit: batches, order, conflicts that stay with their session, lost answers, back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.support.proxy import Cut, Proxy
from tests.support.sessions import positions
from turnlog.domain.errors import StoreUnavailableError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings


@pytest.fixture
async def proxied(settings: Settings, proxy: Proxy) -> AsyncIterator[SessionLog]:
    through = settings.model_copy(update={"database_url": proxy.url, "store_timeout_seconds": 3.0})
    async with SessionLog.open(through) as log:
        yield log


async def texts(session: Session) -> list[str]:
    return [message["content"] for message in (await session.view()).messages]


async def test_handlers_that_append_together_share_a_commit(log: SessionLog) -> None:
    sessions = [await log.start_session(user_id="u1") for _ in range(50)]
    commits = log.writer_statistics.commits

    await asyncio.gather(*(session.say("hi") for session in sessions))

    assert log.writer_statistics.commits - commits == 1


async def test_appends_of_a_session_are_stored_in_the_order_of_the_calls(log: SessionLog, session: Session) -> None:
    await asyncio.gather(*(session.say(str(number)) for number in range(500)))

    assert await texts(session) == [str(number) for number in range(500)]


async def test_a_conflict_stays_with_its_session_and_is_decided_again(settings: Settings) -> None:
    async with SessionLog.open(settings) as log, SessionLog.open(settings) as other:
        sessions = [await log.start_session(user_id="u1") for _ in range(5)]
        for session in sessions:
            await session.say("first")
        await other.session(sessions[2].id, "u1").say("from elsewhere")

        await asyncio.gather(*(session.say("second") for session in sessions))

        for number, session in enumerate(sessions):
            elsewhere = ["from elsewhere"] if number == 2 else []
            assert await texts(session) == ["first", *elsewhere, "second"]
            assert await positions(session) == list(range(1, 4 + len(elsewhere)))


async def test_many_appends_under_way_are_stored_in_order_after_a_conflict(settings: Settings) -> None:
    async with SessionLog.open(settings) as log, SessionLog.open(settings) as other:
        session = await log.start_session(user_id="u1")
        await other.session(session.id, "u1").say("from elsewhere")

        await asyncio.gather(*(session.say(str(number)) for number in range(100)))

        assert await texts(session) == ["from elsewhere", *(str(number) for number in range(100))]


@pytest.mark.parametrize("cut", ["commit", "answer"])
async def test_an_append_whose_commit_or_answer_is_lost_is_stored_once(
    proxied: SessionLog, proxy: Proxy, cut: Cut
) -> None:
    sessions = [await proxied.start_session(user_id="u1") for _ in range(3)]
    proxy.cut_next = cut

    await asyncio.gather(*(session.say("once") for session in sessions))
    await sessions[0].increment("runs", "g")
    await sessions[0].increment("runs", "g")

    assert proxy.cuts == 1
    for session in sessions:
        assert await texts(session) == ["once"]
    assert (await sessions[0].view()).counters == {"runs": {"g": 2}}


async def test_a_lost_answer_in_the_middle_of_a_stream_loses_and_repeats_nothing(
    proxied: SessionLog, proxy: Proxy
) -> None:
    session = await proxied.start_session(user_id="u1")
    async with session.completion() as completion:
        for number in range(60):
            if number % 10 == 5:
                proxy.cut_next = "answer" if number % 20 == 5 else "commit"
            await completion.text(f"{number} ")
        await completion.finish()

    assert proxy.cuts == 6
    assert (await texts(session)) == ["".join(f"{number} " for number in range(60))]


async def test_while_postgres_is_away_appends_fail_and_afterwards_they_work(proxied: SessionLog, proxy: Proxy) -> None:
    session = await proxied.start_session(user_id="u1")
    proxy.refuses = True
    proxy.cut_all()
    with pytest.raises(StoreUnavailableError):
        await session.say("lost?", message_id="m-1")
    with pytest.raises(StoreUnavailableError):
        await session.view()

    proxy.refuses = False
    await session.say("lost?", message_id="m-1")
    await session.say("back")

    assert await texts(session) == ["lost?", "back"]


async def test_increments_and_usage_reports_with_an_id_count_once(
    proxied: SessionLog, proxy: Proxy, settings: Settings
) -> None:
    session = await proxied.start_session(user_id="u1")
    proxy.refuses = True
    proxy.cut_all()
    sent = (session.increment("runs", "g", id="r-1"), session.add_usage(prompt_tokens=3, id="r-1"))
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
    proxy.refuses = False

    async def send(log: SessionLog) -> None:
        ours = log.session(session.id, "u1")
        await ours.increment("runs", "g", id="r-1")
        await ours.add_usage(prompt_tokens=3, id="r-1")
        await ours.say("r-1", message_id="r-1")

    await send(proxied)
    await send(proxied)
    await proxied._parts.store.kept.save(await proxied._parts.views.load(session.id))
    async with SessionLog.open(settings) as other:  # which starts from the kept head, without a memory of ids
        await send(other)
        await send(proxied)
    await session.increment("runs", "g", id="r-2")
    await session.increment("runs", "g")

    view = await session.view()
    assert view.counters == {"runs": {"g": 3}}
    assert (view.usage.prompt_tokens, len(view.messages)) == (3, 1)


async def test_a_slow_database_slows_the_producers(settings: Settings) -> None:
    bounded = settings.model_copy(update={"max_queued_events": 100})
    assert settings.database_url is not None
    async with SessionLog.open(bounded) as log:
        sessions = [await log.start_session(user_id="u1") for _ in range(20)]
        with psycopg.connect(settings.database_url) as blocker:
            blocker.execute(f"lock table {settings.database_schema}.turnlog_events in exclusive mode")
            tasks = [asyncio.create_task(session.say("x")) for session in sessions for _ in range(50)]
            await asyncio.sleep(0.2)
            waiting = log._parts.group_commit._events
            assert not any(task.done() for task in tasks)
        await asyncio.gather(*tasks)

        # One append of each session may be between the check and the queue.
        assert 100 <= waiting <= 100 + len(tasks) // 50
        for session in sessions:
            assert len(await texts(session)) == 50


async def test_a_cancelled_caller_leaves_the_append_and_its_followers_alone(log: SessionLog, session: Session) -> None:
    tasks = [asyncio.create_task(session.say(str(number))) for number in range(10)]
    await asyncio.sleep(0)
    tasks[4].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    stored = await texts(session)
    assert [number for number in stored if number != "4"] == [str(number) for number in range(10) if number != 4]


async def test_an_append_of_one_event_takes_a_position_and_does_not_set_the_sequence(settings: Settings) -> None:
    """Setting it would be a third of what a stream alone writes ahead."""
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
        async with session.completion() as answer:
            await asyncio.gather(*(answer.text("together ") for _ in range(5)))
            for _ in range(3):
                await answer.text("alone ")
            with psycopg.connect(settings.database_url or "") as other:
                other.execute(f"set search_path to {settings.database_schema}".encode())
                found = other.execute("select log_cnt, last_value from turnlog_events_positions").fetchone()
                last = other.execute("select max(notification_id), count(*) from turnlog_events").fetchone()
            await answer.finish()
    assert found is not None
    assert last == (found[1], 10)
    assert found[0] == 32 - 3 + 1
