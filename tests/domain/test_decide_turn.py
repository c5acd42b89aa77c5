"""Decisions about a turn with an owner: who may begin it, what its owner may do, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar
from uuid import UUID

import pytest

from tests.domain.test_decide import AT, STARTED, Given
from turnlog.domain import commands as c
from turnlog.domain import errors
from turnlog.domain import events as e
from turnlog.domain.decide import decide
from turnlog.domain.decide_turn import NewsError
from turnlog.domain.evolve import evolve
from turnlog.domain.state import Active, SessionState, initial_state
from turnlog.domain.turns import RESUMABLE, next_turn, turn_status

T = TypeVar("T", c.BeginCompletion, c.EndTurn)

ASKED = e.MessageAdded(at=AT, message_id="m1", role="user", content="hi")
QUEUED = e.MessageAdded(at=AT, message_id="m2", role="user", content="and?", queued=True)
BEGUN = e.TurnStarted(at=AT, turn_id="m1", run="r1", writer="w1")
STEP = e.CompletionStarted(at=AT, step_id="s1", writer="w1", turn_id="m1")
CALL = e.ToolCallStarted(at=AT, step_id="s1", index=0, id="c1", name="find")
FINISHED = e.CompletionFinished(at=AT, step_id="s1", finish_reason="tool_calls")
ENDED = e.TurnEnded(at=AT, turn_id="m1", run="r1", status="finished")
STEP_DONE = FINISHED.model_copy(update={"finish_reason": "stop"})
ANSWERED = (STARTED, ASKED, BEGUN, STEP, STEP_DONE, ENDED)
CALLED = (STARTED, ASKED, BEGUN, STEP, CALL, FINISHED)
BEGIN = c.BeginTurn(AT, None, "r2", "w2")
STEP_OF_R1 = c.BeginCompletion(AT, "s2", writer="w1", run="r1")
END_OF_R1 = c.EndTurn(AT, "r1", "finished")


def state_after(*events: e.SessionEvent) -> Active:
    state: SessionState = initial_state(UUID(int=1))
    for event in events:
        state = evolve(state, event)
    assert isinstance(state, Active)
    return state


def knowing(command: T, *events: e.SessionEvent) -> T:
    """The command of somebody who knows no more than these events."""
    return replace(command, known=state_after(*events).known)


def begun(turn_id: str, run: str = "r2", writer: str = "w2") -> e.TurnStarted:
    return e.TurnStarted(at=AT, turn_id=turn_id, run=run, writer=writer)


def ended(status: str, reason: str = "", run: str = "r1", turn_id: str = "m1") -> e.TurnEnded:
    return e.TurnEnded(at=AT, turn_id=turn_id, run=run, status=status, reason=reason)  # type: ignore[arg-type]


def test_a_turn_has_one_owner_until_that_one_is_gone() -> None:
    Given(STARTED, ASKED).when(BEGIN).then(begun("m1"))
    Given(STARTED, ASKED, BEGUN).when(BEGIN).refused(errors.TurnInProgressError)
    Given(STARTED, ASKED, BEGUN).when(replace(BEGIN, gone=frozenset({"w1"}))).then(begun("m1"))
    mine = replace(BEGIN, writer="w1")
    Given(STARTED, ASKED, BEGUN).when(replace(mine, live={"r1"})).refused(errors.TurnInProgressError)
    Given(STARTED, ASKED, BEGUN).when(mine).then(begun("m1", writer="w1"))
    Given(STARTED, ASKED, BEGUN).when(replace(BEGIN, run="r1")).then()


def test_a_turn_begins_only_when_there_is_something_to_answer() -> None:
    Given(STARTED).when(BEGIN).refused(errors.TurnClosedError)
    Given(STARTED).when(replace(BEGIN, anyway=True)).then(begun("r2"))
    Given(*ANSWERED).when(BEGIN).refused(errors.TurnClosedError)
    Given(*ANSWERED).when(replace(BEGIN, turn_id="m1")).refused(errors.TurnClosedError)
    Given(STARTED, ASKED, BEGUN, ENDED).when(BEGIN).then(begun("m1"))  # nothing was asked
    Given(STARTED, ASKED, BEGUN, ended("failed")).when(replace(BEGIN, turn_id="m1")).then(begun("m1"))
    Given(STARTED, ASKED, BEGUN, ended("abandoned")).when(BEGIN).then(begun("m1"))
    Given(STARTED, ASKED).when(replace(BEGIN, turn_id="m7")).refused(errors.TurnClosedError)


def test_the_turns_of_queued_messages_come_one_after_the_other() -> None:
    third = QUEUED.model_copy(update={"message_id": "m3"})
    events = (STARTED, ASKED, BEGUN, QUEUED, third, ENDED)
    Given(*events).when(BEGIN).then(begun("m2"))
    Given(*events).when(replace(BEGIN, turn_id="m3")).refused(errors.TurnClosedError)
    second = (*events, begun("m2"), ended("finished", run="r2", turn_id="m2"))
    Given(*second).when(replace(BEGIN, run="r3")).then(begun("m3", "r3"))
    # What was abandoned comes before the queue.
    Given(STARTED, ASKED, BEGUN, QUEUED, ended("abandoned")).when(BEGIN).then(begun("m1"))


def test_a_message_is_queued_only_behind_a_turn() -> None:
    queue = c.AddMessage(AT, "m2", "user", "and?", queue=True)
    plain = QUEUED.model_copy(update={"queued": False})
    Given(STARTED).when(queue).then(plain)
    Given(STARTED, ASKED, BEGUN).when(queue).then(QUEUED)
    Given(STARTED, ASKED, BEGUN, ENDED).when(queue).then(plain)
    Given(STARTED, ASKED, BEGUN, QUEUED, ENDED).when(replace(queue, message_id="m3")).then(
        QUEUED.model_copy(update={"message_id": "m3"})
    )
    assert state_after(STARTED, ASKED, BEGUN, QUEUED).queue == ("m2",)


def test_a_message_and_its_turn_begin_together_or_the_message_joins_what_is_in_hand() -> None:
    ask = c.AddMessage(AT, "m2", "user", "and?", begin=BEGIN)
    plain = QUEUED.model_copy(update={"queued": False})
    Given(STARTED).when(ask).then(plain, begun("m2"))
    Given(STARTED, ASKED, BEGUN).when(ask).refused(errors.TurnInProgressError)
    Given(STARTED, ASKED, BEGUN).when(replace(ask, joins=True)).then(plain)
    Given(STARTED, ASKED, BEGUN).when(replace(ask, joins=True, queue=True)).then(QUEUED)
    Given(STARTED, plain).when(ask).then()  # a retry begins nothing
    stop = replace(ask, stops="another message")
    Given(STARTED, ASKED, BEGUN).when(stop).then(ended("stopped", "another message"), plain, begun("m2"))
    Given(STARTED, ASKED, BEGUN, plain).when(stop).then()  # nor does it stop anything


def test_a_step_of_a_turn_is_its_owners() -> None:
    step = e.CompletionStarted(at=AT, step_id="s2", writer="w1", turn_id="m1")
    mine = knowing(STEP_OF_R1, STARTED, ASKED, BEGUN)
    Given(STARTED, ASKED, BEGUN).when(mine).then(step)
    Given(STARTED, ASKED, BEGUN).when(replace(mine, run="", writer="w2")).refused(errors.TurnInProgressError)
    Given(STARTED, ASKED, BEGUN, begun("m1")).when(mine).refused(errors.TurnClosedError)
    Given(STARTED, ASKED, BEGUN, ENDED).when(mine).refused(errors.TurnClosedError)
    # Its lease has run out: whoever takes the turn over does not know the new writer.
    Given(STARTED, ASKED, BEGUN).when(replace(mine, writer="w1 again")).refused(errors.TurnClosedError)
    gone = replace(mine, run="", writer="w2", gone=frozenset({"w1"}))
    without_turn = e.CompletionStarted(at=AT, step_id="s2", writer="w2")
    Given(STARTED, ASKED, BEGUN).when(gone).then(ended("abandoned", "another completion was started"), without_turn)


def test_an_owner_does_not_ask_without_the_latest_news_and_does_not_finish_without_it() -> None:
    steered = QUEUED.model_copy(update={"queued": False})
    answered = (STARTED, ASKED, BEGUN, STEP, FINISHED)
    step, end = knowing(STEP_OF_R1, *answered), knowing(END_OF_R1, *answered)
    Given(*answered).when(end).then(ENDED)
    Given(*answered, steered).when(end).refused(NewsError)
    Given(*answered, steered).when(step).refused(NewsError)
    Given(*answered, steered).when(knowing(STEP_OF_R1, *answered, steered)).then(
        e.CompletionStarted(at=AT, step_id="s2", writer="w1", turn_id="m1")
    )
    Given(*answered, steered).when(END_OF_R1).then(ENDED)
    assert turn_status(state_after(*answered, steered, ENDED)) == "queued"
    assert next_turn(state_after(*answered, steered, ENDED)) == "m1"


def test_an_owner_to_whom_the_end_of_an_answer_is_not_known_neither_asks_nor_finishes() -> None:
    """It was lost in an outage, and is stored all the same, or somebody else has ended the answer."""
    open_ = (STARTED, ASKED, BEGUN, STEP, CALL)
    for end in (FINISHED, *BREAKS):
        Given(*open_, end).when(knowing(STEP_OF_R1, *open_)).refused(NewsError)
        Given(*open_, end).when(knowing(END_OF_R1, *open_)).refused(NewsError)
    for other in BREAKS:
        Given(*open_, other).when(knowing(END_OF_R1, *open_, FINISHED)).refused(NewsError)
    Given(*open_).when(knowing(END_OF_R1, *open_)).refused(NewsError)


BREAKS = (
    e.CompletionFailed(at=AT, step_id="s1", error="x"),
    e.CompletionInterrupted(at=AT, step_id="s1", reason="x"),
    e.CompletionAbandoned(at=AT, step_id="s1", reason="x"),
)


@pytest.mark.parametrize("end", BREAKS)
def test_the_next_step_supersedes_one_that_broke_off_or_goes_on_with_it(end: e.StepEnd) -> None:
    broken = (STARTED, ASKED, BEGUN, STEP, CALL, end)
    step = e.CompletionStarted(at=AT, step_id="s2", writer="w1", turn_id="m1")
    ask = knowing(STEP_OF_R1, *broken)
    Given(*broken).when(ask).then(step.model_copy(update={"supersedes": "s1"}))
    Given(*broken).when(replace(ask, continues=True)).then(step.model_copy(update={"continues": "s1"}))
    result = e.ToolResultAdded(at=AT, step_id="s1", index=0, call_id="c1", status="final", content="x")
    Given(*broken, result).when(knowing(STEP_OF_R1, *broken, result)).then(step)


def test_a_tool_starts_once_a_run_and_only_for_the_owner() -> None:
    start = c.StartTool(AT, "r1", "s1", 0)
    started = e.ToolStarted(at=AT, step_id="s1", index=0, call_id="c1", run="r1", attempt=1)
    Given(*CALLED).when(start).then(started)
    Given(*CALLED, started).when(start).then()
    Given(*CALLED, begun("m1")).when(start).refused(errors.TurnClosedError)
    again = started.model_copy(update={"run": "r2", "attempt": 2})
    Given(*CALLED, started, begun("m1")).when(replace(start, run="r2")).then(again)


def test_the_result_of_a_tool_that_runs_is_its_owners() -> None:
    started = e.ToolStarted(at=AT, step_id="s1", index=0, call_id="c1", run="r1", attempt=1)
    result = c.AddToolResult(AT, "c1", "final", "21 C")
    added = e.ToolResultAdded(at=AT, step_id="s1", index=0, call_id="c1", status="final", content="21 C")
    Given(*CALLED).when(result).then(added)  # somebody else's tool, which nobody runs here
    Given(*CALLED, started).when(result).refused(errors.ToolRunningError)
    Given(*CALLED, started).when(replace(result, run="r1")).then(added)
    Given(*CALLED, started, begun("m1")).when(replace(result, run="r1")).refused(errors.TurnClosedError)
    pending = added.model_copy(update={"status": "pending", "content": "started"})
    Given(*CALLED, started, pending).when(result).then(added)


def test_a_call_is_allowed_or_refused_by_somebody_and_a_refusal_is_its_result() -> None:
    asked = e.ApprovalRequested(at=AT, step_id="s1", index=0, call_id="c1", run="r1")
    request = c.RequestApproval(AT, "r1", "s1", 0)
    allow = c.DecideApproval(AT, "c1", None, True, "ada")
    refuse = c.DecideApproval(AT, "c1", None, False, "ada", "no", refusal="It was refused: no")
    allowed = e.ApprovalDecided(at=AT, step_id="s1", index=0, call_id="c1", approved=True, by="ada")
    refused = allowed.model_copy(update={"approved": False, "reason": "no"})
    result = e.ToolResultAdded(at=AT, step_id="s1", index=0, call_id="c1", status="error", content="It was refused: no")
    Given(*CALLED).when(request).then(asked)
    Given(*CALLED, asked).when(request).then()
    Given(*CALLED).when(allow).refused(errors.UnknownToolCallError)
    Given(*CALLED, asked).when(allow).then(allowed)
    Given(*CALLED, asked, allowed).when(allow).then()
    Given(*CALLED, asked, allowed).when(refuse).refused(errors.ToolResultConflictError)
    Given(*CALLED, asked).when(refuse).then(refused, result)
    Given(*CALLED, asked, refused, result).when(refuse).then()
    Given(*CALLED, asked, refused, result).when(allow).refused(errors.ToolResultConflictError)
    waiting = (*CALLED, asked, ended("waiting"))
    assert turn_status(state_after(*waiting)) == "waiting"
    assert turn_status(state_after(*waiting, allowed)) == "queued"
    assert turn_status(state_after(*waiting, refused, result)) == "queued"


def test_a_stop_ends_the_turn_in_whichever_state_it_is() -> None:
    stop, stopped = c.CancelSteps(AT, "stop"), ended("stopped", "stop")
    Given(STARTED, ASKED).when(stop).then()
    Given(STARTED, ASKED, BEGUN).when(stop).then(stopped)
    interrupted = e.CompletionInterrupted(at=AT, step_id="s1", reason="stop")
    Given(STARTED, ASKED, BEGUN, STEP).when(stop).then(interrupted, stopped)
    Given(*CALLED, ended("waiting")).when(stop).then()  # nothing is waited for
    pending = e.ToolResultAdded(at=AT, step_id="s1", index=0, call_id="c1", status="pending", content="started")
    Given(*CALLED, pending, ended("waiting")).when(stop).then(stopped)
    Given(STARTED, ASKED, BEGUN, STEP, STEP_DONE, QUEUED, ENDED).when(stop).then(ended("stopped", "stop", "", "m2"))
    Given(STARTED, ASKED, BEGUN, QUEUED).when(stop).then(stopped)
    Given(STARTED, ASKED, BEGUN, QUEUED).when(replace(stop, turn_id="m2")).then(ended("stopped", "stop", "", "m2"))
    Given(STARTED, ASKED, BEGUN, QUEUED).when(replace(stop, turn_id="m9")).then()
    Given(STARTED, ASKED, BEGUN, stopped).when(stop).then()


def test_the_reaper_ends_the_turns_of_the_gone() -> None:
    reap = c.AbandonSteps(AT, frozenset({"w1"}), "gone")
    Given(STARTED, ASKED, BEGUN).when(reap).then(ended("abandoned", "gone"))
    Given(STARTED, ASKED, begun("m1")).when(reap).then()
    closed = e.CompletionAbandoned(at=AT, step_id="s1", reason="gone")
    Given(STARTED, ASKED, BEGUN, STEP).when(reap).then(closed, ended("abandoned", "gone"))


def test_a_result_is_late_when_the_model_has_gone_on() -> None:
    result = c.AddToolResult(AT, "c1", "final", "21 C", step_id="s1")
    pending = e.ToolResultAdded(at=AT, step_id="s1", index=0, call_id="c1", status="pending", content="started")
    final = pending.model_copy(update={"status": "final", "content": "21 C"})
    Given(*CALLED, pending).when(result).then(final)
    gone_on = e.CompletionStarted(at=AT, step_id="s2", writer="w1", turn_id="m1")
    Given(*CALLED, pending, gone_on).when(result).then(final.model_copy(update={"late": True}))
    after = state_after(*CALLED, pending, gone_on, FINISHED.model_copy(update={"step_id": "s2"}), ended("waiting"))
    assert (turn_status(after), next_turn(after)) == ("waiting", None)
    late = evolve(after, final.model_copy(update={"late": True}))
    assert isinstance(late, Active)
    assert (turn_status(late), next_turn(late)) == ("queued", "m1")


FORKED = "the session was forked in the middle of it"
LATE = e.ToolResultAdded(at=AT, step_id="s1", index=0, call_id="c1", status="final", content="done", late=True)
WAITING = (*CALLED, e.ApprovalRequested(at=AT, step_id="s1", index=0, call_id="c1", run="r1"), ended("waiting"))
ALLOWED = e.ApprovalDecided(at=AT, step_id="s1", index=0, call_id="c1", approved=True, by="anna")


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ((STARTED, ASKED), ()),
        ((STARTED, ASKED, BEGUN), (ended("failed", FORKED),)),
        ((STARTED, ASKED, BEGUN, ended("abandoned")), (ended("failed", FORKED),)),
        ((STARTED, ASKED, BEGUN, QUEUED), (ended("failed", FORKED), ended("stopped", FORKED, "", "m2"))),
        ((*ANSWERED, QUEUED), (ended("stopped", FORKED, "", "m2"),)),
        (ANSWERED, ()),
        ((*ANSWERED, ASKED.model_copy(update={"message_id": "m3"})), ()),
        (WAITING, ()),
        ((*WAITING, ALLOWED), (ended("failed", FORKED),)),
        ((*ANSWERED, LATE), (ended("failed", FORKED),)),
    ],
    ids=[
        "asked", "in hand", "abandoned", "queued behind it", "queued", "finished", "asked again", "waiting", "allowed",
        "a late result",
    ],
)  # fmt: skip
def test_a_fork_is_in_nobodys_hand_and_nobody_goes_on_with_it_unasked(
    history: tuple[e.SessionEvent, ...], expected: tuple[e.SessionEvent, ...]
) -> None:
    state = state_after(*history)
    forked, *events = decide(state, c.MarkFork(AT, UUID(int=2), 3))
    assert isinstance(forked, e.SessionForked)
    assert tuple(events) == expected
    assert turn_status(state_after(*history, forked, *events)) not in RESUMABLE


STEERED = QUEUED.model_copy(update={"queued": False})
PENDING = e.ToolResultAdded(at=AT, step_id="s1", index=0, call_id="c1", status="pending", content="begun")


@pytest.mark.parametrize(
    ("before", "answers"),
    [
        ((STARTED, ASKED, BEGUN, STEP, STEP_DONE, ended("abandoned")), "m1"),
        ((STARTED, ASKED, BEGUN, STEP, STEERED.model_copy(update={"message_id": "m0"}), STEP_DONE, ENDED), "m1"),
        ((*CALLED, PENDING, ended("waiting"), PENDING.model_copy(update={"status": "final"})), "m1"),
        ((*CALLED, PENDING, ended("waiting")), "m2"),
        ((STARTED, ASKED, BEGUN, STEP, STEP_DONE, ended("failed")), "m2"),
        ((STARTED, ASKED, BEGUN, STEP, STEP_DONE, ended("stopped")), "m2"),
        (ANSWERED, "m2"),
    ],
    ids=["abandoned", "a message unread", "a result unread", "waiting", "failed", "stopped", "finished"],
)
def test_a_message_goes_to_the_turn_that_has_to_be_gone_on_with(
    before: tuple[e.SessionEvent, ...], answers: str
) -> None:
    after = state_after(*before, STEERED)
    assert next_turn(after) == answers
    assert after.asked == (None if answers == "m1" else "m2")
    ask = c.AddMessage(AT, "m2", "user", "and?", begin=BEGIN)
    Given(*before).when(ask).then(STEERED, begun(answers))


def test_a_message_can_be_queued_behind_a_turn_that_was_abandoned() -> None:
    left = (STARTED, ASKED, BEGUN, ended("abandoned"))
    Given(*left).when(c.AddMessage(AT, "m2", "user", "and?", queue=True, begin=BEGIN)).then(QUEUED, begun("m1"))


def test_a_turn_waits_for_its_own_calls_and_runs_its_own_tools() -> None:
    waiting = (*CALLED, PENDING, ended("waiting"), STEERED)
    assert turn_status(state_after(*CALLED, PENDING, ended("waiting"))) == "waiting"
    second = (begun("m2"), STEP.model_copy(update={"step_id": "s2", "turn_id": "m2"}))
    done = STEP_DONE.model_copy(update={"step_id": "s2"})
    end = ended("finished", run="r2", turn_id="m2")
    assert turn_status(state_after(*waiting, *second, done, end)) == "finished"
    assert not state_after(*waiting, *second, done).is_waiting
    Given(*waiting, *second, done, end).when(c.CancelSteps(AT, "stopped")).then()
    unanswered = (*CALLED, e.ApprovalRequested(at=AT, step_id="s1", index=0, call_id="c1", run="r1"), ended("stopped"))
    assert turn_status(state_after(*unanswered, STEERED, begun("m2"))) == "answering"


def test_a_pending_result_changes_nothing_of_what_is_late() -> None:
    step = e.CompletionStarted(at=AT, step_id="s2", writer="w1", turn_id="m1")
    add = c.AddToolResult(AT, "c1", "pending", "still at it", step_id="s1", index=0)
    late = PENDING.model_copy(update={"content": "still at it", "late": True})
    gone_on = (*CALLED, PENDING, step)
    Given(*gone_on).when(add).then(late)
    final = late.model_copy(update={"status": "final", "content": "done"})
    Given(*gone_on, late).when(replace(add, status="final", content="done")).then(final)


@pytest.mark.parametrize("end", BREAKS)
def test_what_the_user_has_answered_since_is_not_superseded(end: e.StepEnd) -> None:
    step = e.CompletionStarted(at=AT, step_id="s2", writer="w1", turn_id="m1")
    steered = (STARTED, ASKED, BEGUN, STEP, end, STEERED)
    Given(*steered).when(knowing(STEP_OF_R1, *steered)).then(step)


@pytest.mark.parametrize("status", ["stopped", "failed"])
def test_of_a_turn_that_was_stopped_or_has_failed_nothing_is_left_to_be_answered(status: str) -> None:
    after = state_after(STARTED, ASKED, BEGUN, ended(status))
    assert (turn_status(after), next_turn(after), after.unread) == (status, None, 0)
