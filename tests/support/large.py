"""Histories that are large in one respect, and how their costs grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.histories import AT, calls_made_by
from turnlog.domain import events as e

FEW, MANY = 50, 200


def grows_in_proportion(work: Callable[[int], Callable[[], Any]]) -> bool:
    """Whether four times as much costs about four times as much, in calls of functions. `work` prepares the work of a
    size, whose preparation is not counted. A square would be sixteen times."""
    return calls_made_by(work(MANY)) < 6 * calls_made_by(work(FEW))


def response_of_calls(count: int, call_id: str = "c{}", result: str | None = "done") -> list[e.SessionEvent]:
    """A response that calls tools, and the result of each call; without a `result` none."""
    begun = [
        e.SessionStarted(at=AT, user_id="u1"),
        e.MessageAdded(at=AT, message_id="m1", role="user", content="go on"),
        e.CompletionStarted(at=AT, step_id="s1"),
    ]
    calls, answers = list[e.SessionEvent](), list[e.SessionEvent]()
    for index in range(count):
        own_id = call_id.format(index)
        calls.append(e.ToolCallStarted(at=AT, step_id="s1", index=index, id=own_id, name="find"))
        calls.append(e.ToolCallArgumentsDelta(at=AT, step_id="s1", index=index, arguments="{}"))
        if result is not None:
            answers.append(
                e.ToolResultAdded(at=AT, step_id="s1", index=index, call_id=own_id, status="final", content=result)
            )
    ended = e.CompletionFinished(at=AT, step_id="s1", finish_reason="tool_calls")
    return [*begun, *calls, ended, *answers]


def attempts(count: int) -> list[e.SessionEvent]:
    """Answers that follow each other without anything between them."""
    steps = list[e.SessionEvent]()
    for number in range(count):
        steps.append(e.CompletionStarted(at=AT, step_id=f"s{number}"))
        steps.append(e.TextDelta(at=AT, step_id=f"s{number}", text="more "))
        steps.append(e.CompletionInterrupted(at=AT, step_id=f"s{number}", reason="stopped"))
    return [*response_of_calls(0)[:2], *steps]


def talk(count: int) -> list[e.SessionEvent]:
    """A conversation of many turns."""
    turns = [response_of_calls(0)[0]]
    for number in range(count):
        turns.append(e.MessageAdded(at=AT, message_id=f"m{number}", role="user", content="and?"))
        turns.append(e.CompletionStarted(at=AT, step_id=f"s{number}"))
        turns.append(e.CompletionFinished(at=AT, step_id=f"s{number}", finish_reason="stop"))
    return turns


def owned_turns(count: int) -> list[e.SessionEvent]:
    """A turn in which many calls are asked about, allowed and run, with as many messages queued behind it: half of them
    are stopped there, and half answered one after the other. Then the results of the calls come, late."""
    begun: list[e.SessionEvent] = [
        e.SessionStarted(at=AT, user_id="u1"),
        e.MessageAdded(at=AT, message_id="m", role="user", content="go on"),
        e.TurnStarted(at=AT, turn_id="m", run="r", writer="w"),
        *response_of_calls(count, result=None)[2:],
    ]
    called = {"at": AT, "step_id": "s1"}
    for index in range(count):
        call = {**called, "index": index, "call_id": f"c{index}"}
        begun.append(e.MessageAdded(at=AT, message_id=f"q{index}", role="user", content="and?", queued=True))
        begun.append(e.ApprovalRequested(**call, run="r"))
        begun.append(e.ApprovalDecided(**call, approved=True, by="u1"))
        begun.append(e.ToolStarted(**call, run="r", attempt=1))
        begun.append(e.ToolResultAdded(**call, status="pending", content="started"))
    begun.append(e.TurnEnded(at=AT, turn_id="m", run="r", status="waiting"))
    for number in range(count):
        if number % 2:
            begun.append(e.TurnEnded(at=AT, turn_id=f"q{number}", run="", status="stopped"))
            continue
        begun.append(e.TurnStarted(at=AT, turn_id=f"q{number}", run=f"r{number}", writer="w"))
        begun.append(e.CompletionStarted(at=AT, step_id=f"q{number}", turn_id=f"q{number}"))
        begun.append(e.CompletionFinished(at=AT, step_id=f"q{number}", finish_reason="stop"))
        begun.append(e.TurnEnded(at=AT, turn_id=f"q{number}", run=f"r{number}", status="finished"))
    late = [
        e.ToolResultAdded(**called, index=n, call_id=f"c{n}", status="final", content="done", late=True)
        for n in range(count)
    ]
    return [*begun, *late]
