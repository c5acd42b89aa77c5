"""Several processes on one log: they append at once, are frozen, taken over, and give results later."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack

import pytest

from tests.support import programs
from tests.support.processes import Child
from tests.support.rules import check_prompts
from turnlog import Session, SessionLog, Settings, TurnInProgressError


@pytest.mark.parametrize("processes", [2, 4, 16])
async def test_processes_that_append_to_one_session_get_one_order_and_no_error(
    session: Session, settings: Settings, processes: int
) -> None:
    count = 96 // processes
    names = [chr(ord("a") + number) for number in range(processes)]
    with ExitStack() as stack:
        children = [stack.enter_context(Child(programs.append, settings, session.id, name, count)) for name in names]
        assert await asyncio.gather(*(child.hear() for child in children)) == ["ready"] * processes
        for child in children:
            child.say("go")
        assert await asyncio.gather(*(child.hear() for child in children)) == ["done"] * processes
    events = [event async for event in session.events()]
    assert [event.position for event in events] == list(range(1, 2 + 2 * processes * count))
    assert [event.log_position for event in events] == sorted(event.log_position for event in events)
    view = await session.view()
    assert view.counters == {"said": dict.fromkeys(names, count)}
    said = [str(message["content"]) for message in view.messages]
    for name in names:
        assert [text for text in said if text.startswith(name)] == [f"{name}-{number}" for number in range(count)]


# Frozen, and taken over


async def take_over(session: Session) -> None:
    async with session.completion(takeover=True) as completion:
        await completion.text("I take over.")
        await completion.finish("stop")


async def check_taken_over(session: Session, version: int) -> None:
    """Nothing but the takeover's own events came after the events up to `version`."""
    events = [event async for event in session.events()]
    assert [event.topic for event in events if event.position > version] == [
        "completion-abandoned.v1",
        "completion-started.v1",
        "text-delta.v1",
        "completion-finished.v1",
    ]
    first, second = [step for turn in (await session.view()).turns for step in turn.steps]
    assert (first.status, second.status) == ("abandoned", "finished")
    assert second.message.content == "I take over."
    check_prompts(await session.view())


LEASE_SECONDS = 0.6


@pytest.fixture
def brief(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_seconds": LEASE_SECONDS})


async def test_a_writer_frozen_past_its_lease_writes_nothing_after_a_takeover(
    session: Session, brief: Settings
) -> None:
    with Child(programs.record, brief, session.id, 0.005) as child:
        shown = [await child.hear() for _ in range(20)]
        with pytest.raises(TurnInProgressError):
            await take_over(session)
        child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.1)  # what was on its way to Postgres arrives
        version = (await session.view()).version
        await take_over(session)
        child.send_signal(signal.SIGCONT)
        *more, error = await child.rest()
        assert error == "StepClosedError"
        assert await child.left() == 0
    await check_taken_over(session, version)
    step = (await session.view()).turns[0].steps[0]
    assert str(step.message.content).startswith("".join(shown + more))


@pytest.mark.parametrize("attempt", range(3))
async def test_what_a_frozen_writer_had_queued_is_not_stored_after_a_takeover(
    session: Session, brief: Settings, attempt: int
) -> None:
    """Frozen at any point of handing over: gathered, queued, in a commit, or in deciding again."""
    with Child(programs.write_in_bursts, brief, session.id) as child:
        assert await child.hear() == "open"
        await asyncio.sleep(0.05 + attempt * 0.007)
        child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.2)
        version = (await session.view()).version
        await take_over(session)
        child.send_signal(signal.SIGCONT)
        assert await child.rest() == [["StepClosedError"]]
    await check_taken_over(session, version)


async def test_a_writer_frozen_past_its_lease_does_not_wake_up_as_the_owner(
    session: Session, log: SessionLog, brief: Settings
) -> None:
    with Child(programs.record, brief, session.id, 0.005) as child:
        await child.hear()
        child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.5 * LEASE_SECONDS)
        child.send_signal(signal.SIGCONT)
        assert (await child.rest())[-1] == "StepClosedError"
    assert [step.status for step in (await session.view()).turns[0].steps] == ["abandoned"]


# Results of tools that ran for long


async def test_a_final_result_from_another_process_counts_once(
    session: Session, log: SessionLog, settings: Settings
) -> None:
    with Child(programs.give_results, settings, session.id) as worker:
        for turn in range(2):  # the call id comes back in the second turn
            await session.say(f"Report {turn}")
            async with session.completion() as completion:
                await completion.tool_call("call_1", "report", "{}")
                await completion.finish("tool_calls")
            if turn == 0:
                first = completion.step_id
                await session.add_tool_result("call_1", "started", status="pending")
            async with session.completion() as completion:
                await completion.text("It is being written.")
                await completion.finish("stop")

        async def give(**result: str) -> str:
            worker.say({"call_id": "call_1", **result})
            return str(await worker.hear())

        assert await give(content="levels rose", step_id=first) == "accepted"
        assert await give(content="levels rose", step_id=first) == "accepted"  # a redelivery
        assert await give(content="levels fell", step_id=first) == "ToolResultConflictError"
        assert await give(content="started", status="pending", step_id=first) == "accepted"  # only late
        assert await give(content="levels rose", step_id="no such step") == "UnknownToolCallError"
        await log._parts.store.kept.save(await log._parts.views.load(session.id))
        # Another worker starts from the kept head, without a memory of results.
        with Child(programs.give_results, settings, session.id) as other:
            other.say({"call_id": "call_1", "content": "levels rose", "step_id": first})
            assert await other.hear() == "accepted"
        view = await session.view()
        assert [[result.content for result in step.tool_results] for turn in view.turns for step in turn.steps] == [
            ["levels rose"], [], [], []
        ]  # fmt: skip
        assert view.faults == ()
        check_prompts(view)
        await log.delete_session(session.id, "u1")
        assert await give(content="late") == "SessionNotFoundError"
        worker.say(None)
        assert await worker.left() == 0
