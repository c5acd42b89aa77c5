"""Two processes write to one session: nothing is lost, repeated or reordered, and each sees what the other did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from tests.support.sessions import answer, call_tools, checked_prompt, contents, roles, stored_events
from turnlog import SYSTEM, Session, SessionLog, SessionNotFoundError, Settings
from turnlog.infrastructure.append.aggregate import LONGEST_PAUSE, PendingAppend


async def say_one_after_the_other(session: Session, writer: str, count: int) -> None:
    for number in range(count):
        await session.say(f"{writer} {number}")


async def say_all_at_once(session: Session, writer: str, count: int) -> None:
    await asyncio.gather(*(session.say(f"{writer} {number}") for number in range(count)))


@pytest.mark.parametrize("say", [say_one_after_the_other, say_all_at_once])
async def test_two_processes_appending_to_one_session_lose_reorder_and_repeat_nothing(
    session: Session, other_log: SessionLog, say: Callable[[Session, str, int], Awaitable[None]]
) -> None:
    theirs = other_log.session(session.id, "u1")
    await asyncio.gather(say(session, "a", 40), say(theirs, "b", 40), say(session, "c", 40), say(theirs, "d", 40))
    events = await stored_events(session)
    assert [event.position for event in events] == list(range(1, 162))
    said = contents((await session.view()).messages)
    for writer in "abcd":
        assert [text for text in said if text[0] == writer] == [f"{writer} {number}" for number in range(40)]
    assert await theirs.view() == await session.view()


async def test_a_stream_and_another_process_in_one_session_leave_each_other_whole(
    session: Session, other_log: SessionLog
) -> None:
    theirs = other_log.session(session.id, SYSTEM)
    await session.say("Count.")
    numbers = [f"{number} " for number in range(60)]
    await asyncio.gather(
        answer(session, *numbers),
        say_one_after_the_other(theirs, "note", 20),
        *(theirs.increment("runs", "graph-1") for _ in range(20)),
        *(session.increment("runs", "graph-1") for _ in range(20)),
    )
    view = await session.view()
    assert view.turns[0].steps[0].message.content == "".join(numbers)
    assert view.counters == {"runs": {"graph-1": 40}}
    assert [event.position for event in await stored_events(session)] == list(range(1, view.version + 1))
    assert contents(view.messages).count("note 7") == 1
    await checked_prompt(session)


async def test_positions_in_the_whole_log_have_no_gap_though_two_processes_write(
    log: SessionLog, other_log: SessionLog
) -> None:
    mine, theirs = await log.start_session("u1"), await other_log.start_session("u1")
    await asyncio.gather(say_all_at_once(mine, "a", 30), say_all_at_once(theirs, "b", 30))
    positions = [event.log_position for each in (mine, theirs) for event in await stored_events(each)]
    assert sorted(positions) == list(range(1, 63))


async def test_a_queue_that_is_full_slows_the_writers_and_loses_and_reorders_nothing(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"max_queued_events": 2})) as slow_log:
        session = await slow_log.start_session("u1")
        await asyncio.gather(*(say_one_after_the_other(session, writer, 10) for writer in "abcdefgh"))
        said = contents((await session.view()).messages)
    for writer in "abcdefgh":
        assert [text for text in said if text[0] == writer] == [f"{writer} {number}" for number in range(10)]


async def test_a_tool_result_of_megabytes_and_thousands_of_deltas_go_through(
    session: Session, other_log: SessionLog
) -> None:
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "\u20ac" * 1_000_000)
    numbers = [f"{number} " for number in range(6_000)]
    async with session.completion() as completion:
        await asyncio.gather(*(completion.text(number) for number in numbers))
        await completion.finish("stop")
    view = await other_log.session(session.id, "u1").view()
    assert contents(view.messages)[1:] == ["\u20ac" * 1_000_000, "".join(numbers)]


async def test_two_processes_that_start_one_session_at_once_start_it_once(
    log: SessionLog, other_log: SessionLog
) -> None:
    session_id = uuid4()
    await asyncio.gather(*(each.start_session("u1", session_id=session_id) for each in (log, other_log) * 3))
    assert len(await stored_events(log.session(session_id, "u1"))) == 1


# Titles


async def test_a_title_set_from_a_stale_copy_loses_no_message(session: Session, other_log: SessionLog) -> None:
    stale = other_log.session(session.id, "u1")
    await say_one_after_the_other(session, "early", 35)
    await stale.view()
    await say_one_after_the_other(session, "late", 66)
    await stale.set_title("Much to say")
    for reader in (session, stale):
        view = await reader.view()
        assert (view.title, len(view.messages)) == ("Much to say", 101)


async def test_a_title_that_another_process_changed_meanwhile_can_be_set_back(
    session: Session, other_log: SessionLog
) -> None:
    theirs = other_log.session(session.id, "u1")
    await theirs.set_title("Cats")
    await session.set_title("Dogs")
    await theirs.set_title("Cats")
    assert (await session.view()).title == "Cats"


async def test_a_rename_during_a_stream_loses_neither_a_message_nor_the_title(
    session: Session, other_log: SessionLog
) -> None:
    renaming = other_log.session(session.id, "u1")
    await renaming.view()
    for number in range(20):
        await session.say(f"question {number}")
        await answer(session, f"answer {number}")
    async with session.completion() as completion:
        await completion.text("Still ")
        await renaming.set_title("All of it")
        await completion.text("here.")
        await completion.finish("stop")
    for reader in (session, renaming):
        view = await reader.view()
        assert view.title == "All of it"
        assert roles(view.messages) == ["user", "assistant"] * 20
        assert view.messages[-1]["content"] == "answer 19Still here."
    await checked_prompt(session)


# What one process knows of the other's work


async def test_a_worker_answers_a_call_that_was_made_after_it_had_opened_the_session(
    session: Session, other_log: SessionLog
) -> None:
    worker = other_log.session(session.id, SYSTEM)
    for call_id in ("call-1", "call-2"):
        await session.say("Report, please.")
        await call_tools(session, call_id)
        await session.add_tool_result(call_id, "started", status="pending")
        await worker.add_tool_result(call_id, f"report of {call_id}")
    prompt = await checked_prompt(session)
    assert [message["content"] for message in prompt if message["role"] == "tool"] == [
        "report of call-1",
        "report of call-2",
    ]


async def test_a_session_is_found_once_another_process_has_started_it(log: SessionLog, other_log: SessionLog) -> None:
    session_id = uuid4()
    early = other_log.session(session_id, "u1")
    with pytest.raises(LookupError):
        await early.say("Hello?")
    await log.start_session("u1", session_id=session_id)
    await early.say("Hello!")
    assert contents((await early.view()).messages) == ["Hello!"]


async def test_a_new_owner_is_let_in_by_every_process(log: SessionLog, other_log: SessionLog) -> None:
    unowned = await log.start_session(None)
    worker = other_log.session(unowned.id, SYSTEM)
    await worker.say("Before.")
    await log.assign_owner(unowned.id, "u1")
    await other_log.session(unowned.id, "u1").say("Mine.")
    assert contents((await worker.view()).messages) == ["Before.", "Mine."]


async def test_a_pending_result_that_was_replaced_elsewhere_can_be_given_again(
    session: Session, other_log: SessionLog
) -> None:
    worker = other_log.session(session.id, SYSTEM)
    await call_tools(session, "call-1")
    await worker.add_tool_result("call-1", "10 %", status="pending")
    await session.add_tool_result("call-1", "20 %", status="pending")
    await worker.add_tool_result("call-1", "10 %", status="pending")
    assert (await checked_prompt(session))[-1]["content"] == "10 %"


async def test_what_another_process_did_meanwhile_is_seen_before_anything_is_refused(settings: Settings) -> None:
    async with SessionLog.open(settings) as log, SessionLog.open(settings) as other:
        session = await log.start_session(user_id="u1", title="A")
        elsewhere = other.session(session.id, "u1")
        async with elsewhere.completion() as completion:
            await completion.tool_call("call_1", "find", "{}")
            await completion.finish("tool_calls")
        await elsewhere.set_title("B")

        await session.set_title("A")
        await session.add_tool_result("call_1", "found")

        view = await session.view()
        assert view.title == "A"
        assert view.messages[-1]["content"] == "found"


async def test_a_handle_to_a_session_that_starts_later_finds_it(settings: Settings) -> None:
    async with SessionLog.open(settings) as log, SessionLog.open(settings) as other:
        session_id = uuid4()
        early = log.session(session_id, "u1")
        with pytest.raises(SessionNotFoundError):
            await early.say("too early")
        await other.start_session(user_id="u1", session_id=session_id)

        await early.say("hi")

        assert contents((await early.view()).messages) == ["hi"]


async def test_a_session_deleted_elsewhere_is_gone_here(settings: Settings) -> None:
    async with SessionLog.open(settings) as log, SessionLog.open(settings) as other:
        session = await log.start_session(user_id="u1")
        assert await other.delete_session(session.id, "u1")

        with pytest.raises(SessionNotFoundError):
            await session.say("late")
        with pytest.raises(SessionNotFoundError):
            await session
        with pytest.raises(SessionNotFoundError):
            [event async for event in session.events()]


# Deciding again


async def test_a_pause_between_two_tries_is_never_longer_than_the_tries_have_taken(session: Session) -> None:
    await session.say("hi")
    aggregate, loop = session._aggregate, asyncio.get_running_loop()
    entry = PendingAppend(aggregate, (), loop.create_future(), set())
    aggregate._pending.append(entry)
    assert aggregate._pause() == 0
    for tried, most in ((0.0, 0.01), (0.05, 0.06), (3600.0, LONGEST_PAUSE)):
        entry.conflict_since = loop.time() - tried
        pauses = [aggregate._pause() for _ in range(100)]
        assert 0 <= min(pauses) <= max(pauses) <= most
        assert max(pauses) > min(tried, LONGEST_PAUSE) / 2
    aggregate._pending.clear()


async def test_what_is_decided_again_waits_for_the_pause(session: Session) -> None:
    aggregate, loop = session._aggregate, asyncio.get_running_loop()
    aggregate._pause = lambda: 0.3  # type: ignore[method-assign]
    aggregate._lane = None  # as after a position that was taken
    began = loop.time()
    await session.say("hi")
    assert loop.time() - began >= 0.3


async def test_handles_of_one_session_in_a_log_read_nothing_of_each_others_appends(
    log: SessionLog, session: Session
) -> None:
    await session.say("hi")
    asked: list[str] = []
    fetch = log._parts.store.recorder.fetch
    log._parts.store.recorder.fetch = lambda name, *params: (asked.append(name), fetch(name, *params))[1]  # type: ignore[method-assign]
    await log.session(session.id, "u1").say("and?")
    await session.say("so?")
    assert asked == []
