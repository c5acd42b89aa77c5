"""Decisions: given what happened, when somebody wants something, then this happens, or is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import any_event
from turnlog.domain import commands as c
from turnlog.domain import errors
from turnlog.domain import events as e
from turnlog.domain import step_appends as appends
from turnlog.domain.decide import FORKED, decide
from turnlog.domain.decide_step import ABANDONED
from turnlog.domain.evolve import evolve
from turnlog.domain.state import MEMORY_LIMIT, SessionState, initial_state
from turnlog.domain.values import fingerprint

ID = UUID(int=7)
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
STARTED = e.SessionStarted(at=AT, user_id="u1")
OPEN = e.CompletionStarted(at=AT, step_id="s1")
CALL = e.ToolCallStarted(at=AT, step_id="s1", index=0, id="c1", name="find")
FINISHED = e.CompletionFinished(at=AT, step_id="s1", finish_reason="stop")


def state_after(events: Iterable[e.SessionEvent]) -> SessionState:
    state = initial_state(ID)
    for event in events:
        state = evolve(state, event)
    return state


class Given:
    """given(events).when(command).then(events) or .refused(error)."""

    def __init__(self, *events: e.SessionEvent) -> None:
        self.state = state_after(events)

    def when(self, command: c.Command) -> Given:
        self.command = command
        return self

    def then(self, *expected: e.SessionEvent) -> None:
        assert decide(self.state, self.command) == expected

    def refused(self, error: type[Exception]) -> None:
        with pytest.raises(error):
            decide(self.state, self.command)


def result(content: str = "21 C", status: str = "final", **known: str) -> c.AddToolResult:
    return c.AddToolResult(AT, "c1", status, content, **known)  # type: ignore[arg-type]


def added(
    content: str = "21 C", status: str = "final", step_id: str = "s1", index: int = 0, *, late: bool = False
) -> e.ToolResultAdded:
    return e.ToolResultAdded(
        at=AT,
        step_id=step_id,
        index=index,
        call_id="c1",
        status=status,  # type: ignore[arg-type]
        content=content,
        late=late,
    )


def test_a_session_starts_once() -> None:
    Given().when(c.StartSession(AT, "u1")).then(STARTED)
    Given(STARTED).when(c.StartSession(AT, "u1")).then()
    Given(STARTED).when(c.StartSession(AT, "u2")).refused(errors.SessionExistsError)


def test_nothing_can_be_done_with_a_session_that_is_not_there_or_no_more() -> None:
    say = c.AddMessage(AT, "m1", "user", "hi")
    Given().when(say).refused(errors.SessionNotFoundError)
    Given(STARTED, e.SessionDeleted(at=AT)).when(say).refused(errors.SessionNotFoundError)
    Given(STARTED, e.SessionDeleted(at=AT)).when(c.StartSession(AT, "u1")).refused(errors.SessionExistsError)


def test_a_message_id_counts_once() -> None:
    hello = e.MessageAdded(at=AT, message_id="m1", role="user", content="hi")
    Given(STARTED).when(c.AddMessage(AT, "m1", "user", "hi")).then(hello)
    Given(STARTED, hello).when(c.AddMessage(AT, "m1", "user", "hi")).then()
    Given(STARTED).when(c.AddMessage(AT, "m1", "user", "hi", known=True)).then()


def test_a_second_completion_is_refused_while_the_first_is_alive() -> None:
    begin = c.BeginCompletion(AT, "s2", "m", frozenset({"s1"}))
    Given(STARTED, OPEN).when(begin).refused(errors.TurnInProgressError)


def test_a_step_whose_writer_is_gone_is_closed_as_abandoned_by_the_next_one() -> None:
    Given(STARTED, OPEN).when(c.BeginCompletion(AT, "s2", "m")).then(
        e.CompletionAbandoned(at=AT, step_id="s1", reason=ABANDONED),
        e.CompletionStarted(at=AT, step_id="s2", model="m"),
    )


def test_a_step_of_another_writer_is_in_the_way_until_its_lease_runs_out() -> None:
    theirs = e.CompletionStarted(at=AT, step_id="s1", writer="w1", lease_seconds=30)
    begin = c.BeginCompletion(AT, "s2", None, frozenset(), "w2", 10)
    Given(STARTED, theirs).when(begin).refused(errors.TurnInProgressError)
    Given(STARTED, theirs).when(replace(begin, gone=frozenset({"w1"}))).then(
        e.CompletionAbandoned(at=AT, step_id="s1", reason=ABANDONED),
        e.CompletionStarted(at=AT, step_id="s2", writer="w2", lease_seconds=10),
    )


def test_a_takeover_is_of_the_step_that_was_waited_for_and_of_no_other() -> None:
    theirs = e.CompletionStarted(at=AT, step_id="s1", writer="w1", lease_seconds=30)
    begin = c.BeginCompletion(AT, "s3", None, frozenset(), "w3", 10, frozenset({"w1"}), over="s1")
    abandoned = e.CompletionAbandoned(at=AT, step_id="s1", reason=ABANDONED)
    started = e.CompletionStarted(at=AT, step_id="s3", writer="w3", lease_seconds=10)
    Given(STARTED, theirs).when(begin).then(abandoned, started)
    Given(STARTED, theirs, abandoned).when(begin).then(started)  # by the reaper
    finished = e.CompletionFinished(at=AT, step_id="s1", finish_reason="stop")
    Given(STARTED, theirs, finished).when(begin).refused(errors.TurnInProgressError)
    other = e.CompletionStarted(at=AT, step_id="s2", writer="w2", lease_seconds=10)
    interrupted = e.CompletionInterrupted(at=AT, step_id="s2", reason="stop")
    Given(STARTED, theirs, abandoned, other, interrupted).when(begin).refused(errors.TurnInProgressError)


def test_a_step_of_the_same_writer_is_alive_only_while_that_writes_it() -> None:
    ours = e.CompletionStarted(at=AT, step_id="s1", writer="w1", lease_seconds=30)
    begin = c.BeginCompletion(AT, "s2", None, frozenset({"s1"}), "w1", 30)
    Given(STARTED, ours).when(begin).refused(errors.TurnInProgressError)
    Given(STARTED, ours).when(replace(begin, live=frozenset())).then(
        e.CompletionAbandoned(at=AT, step_id="s1", reason=ABANDONED),
        e.CompletionStarted(at=AT, step_id="s2", writer="w1", lease_seconds=30),
    )


def test_the_steps_of_writers_that_are_gone_are_abandoned_and_no_other() -> None:
    first, second = (
        e.CompletionStarted(at=AT, step_id=f"s{number}", writer=f"w{number}", lease_seconds=30) for number in (1, 2)
    )
    abandon = c.AbandonSteps(AT, frozenset({"w1", "w3"}), "gone")
    ended = e.CompletionAbandoned(at=AT, step_id="s1", reason="gone")
    Given(STARTED, first, second).when(abandon).then(ended)
    Given(STARTED, first, second, ended).when(abandon).then()


def test_a_fork_leaves_no_step_open() -> None:
    Given(STARTED, OPEN).when(c.MarkFork(AT, ID, 2)).then(
        e.SessionForked(at=AT, source=ID, upto=2), e.CompletionAbandoned(at=AT, step_id="s1", reason=FORKED)
    )


def test_an_increment_and_a_usage_report_count_once_each_by_their_own_ids() -> None:
    counted = e.CounterIncremented(at=AT, id="i1", counter="runs", key="g", by=1)
    reported = e.UsageReported(at=AT, id="i1", usage={"prompt_tokens": 1})
    increment = c.IncrementCounter(AT, "i1", "runs", "g", 1)
    report = c.ReportUsage(AT, "i1", {"prompt_tokens": 1})
    Given(STARTED, reported).when(increment).then(counted)
    Given(STARTED, counted).when(increment).then()
    Given(STARTED).when(replace(increment, known=True)).then()
    Given(STARTED, counted).when(report).then(reported)
    Given(STARTED, reported).when(report).then()
    Given(STARTED).when(replace(report, known=True)).then()


def test_a_result_that_names_its_step_answers_the_call_of_that_step() -> None:
    again = [
        FINISHED,
        e.CompletionStarted(at=AT, step_id="s2"),
        e.ToolCallStarted(at=AT, step_id="s2", index=0, id="c1", name="find"),
    ]
    both = Given(STARTED, OPEN, CALL, *again)
    both.when(result(step_id="s1")).then(added(step_id="s1", late=True))
    both.when(result()).then(added(step_id="s2"))
    answered = Given(STARTED, OPEN, CALL, added(), *again)
    answered.when(result(step_id="s1")).then()
    answered.when(result("another", step_id="s1")).refused(errors.ToolResultConflictError)
    answered.when(result(step_id="s3")).refused(errors.UnknownToolCallError)
    Given(STARTED, OPEN, CALL, added(), *again, added(step_id="s2")).when(result(step_id="s1")).then()


def test_a_closed_step_takes_nothing_more() -> None:
    Given(STARTED, OPEN, FINISHED).when(appends.AppendText(AT, "s1", "x")).refused(errors.StepClosedError)
    Given(STARTED, OPEN, FINISHED).when(c.EndCompletion(FINISHED)).refused(errors.StepClosedError)
    Given(STARTED).when(appends.AppendText(AT, "s1", "x")).refused(errors.StepClosedError)


def test_an_empty_delta_is_no_event() -> None:
    Given(STARTED, OPEN).when(appends.AppendText(AT, "s1", "")).then()
    Given(STARTED, OPEN).when(appends.AppendText(AT, "s1", "x")).then(e.TextDelta(at=AT, step_id="s1", text="x"))


def test_a_fragment_opens_a_call_and_the_next_ones_go_on_with_it() -> None:
    first = appends.AppendToolCall(AT, "s1", 0, "c1", "find", '{"a')
    delta = e.ToolCallArgumentsDelta(at=AT, step_id="s1", index=0, arguments='{"a')
    Given(STARTED, OPEN).when(first).then(CALL, delta)
    more = appends.AppendToolCall(AT, "s1", 0, "c1", "find", '":1}')
    Given(STARTED, OPEN, CALL, delta).when(more).then(delta.model_copy(update={"arguments": '":1}'}))


def test_a_name_goes_on_until_arguments_come_and_an_id_may_come_late() -> None:
    nameless = e.ToolCallStarted(at=AT, step_id="s1", index=0, id="", name="fi")
    named = e.ToolCallNamed(at=AT, step_id="s1", index=0, id="c1", name="find")
    Given(STARTED, OPEN, nameless).when(appends.AppendToolCall(AT, "s1", 0, "c1", "nd")).then(named)
    delta = e.ToolCallArgumentsDelta(at=AT, step_id="s1", index=0, arguments="{")
    Given(STARTED, OPEN, CALL, delta).when(appends.AppendToolCall(AT, "s1", 0, "", "other")).then()


def test_a_whole_call_counts_once_and_its_id_names_one_call_in_a_step() -> None:
    whole = appends.AppendWholeToolCall(AT, "s1", e.ToolCall(id="c1", name="find", arguments="{}"))
    delta = e.ToolCallArgumentsDelta(at=AT, step_id="s1", index=0, arguments="{}")
    Given(STARTED, OPEN).when(whole).then(CALL, delta)
    Given(STARTED, OPEN, CALL, delta).when(whole).then()
    other = appends.AppendWholeToolCall(AT, "s1", e.ToolCall(id="c1", name="find", arguments="{ }"))
    Given(STARTED, OPEN, CALL, delta).when(other).refused(errors.ToolCallConflictError)


def test_a_result_answers_the_latest_step_that_waits_for_it() -> None:
    again = [event.model_copy(update={"step_id": "s2"}) for event in (OPEN, CALL, FINISHED)]
    Given(STARTED, OPEN, CALL, FINISHED, *again).when(result()).then(added(step_id="s2"))
    answered = Given(STARTED, OPEN, CALL, FINISHED, *again, added(step_id="s2"))
    answered.when(result("x")).then(added("x", step_id="s1", late=True))


def test_two_calls_of_one_id_in_a_step_are_answered_one_after_the_other() -> None:
    twin = CALL.model_copy(update={"index": 1})
    Given(STARTED, OPEN, CALL, twin).when(result()).then(added())
    Given(STARTED, OPEN, CALL, twin, added()).when(result("x")).then(added("x", index=1))


def test_a_pending_result_is_replaced_and_a_final_one_stands() -> None:
    pending, final = added("started", "pending"), added()
    Given(STARTED, OPEN, CALL, pending).when(result("started", "pending")).then()
    Given(STARTED, OPEN, CALL, pending).when(result()).then(final)
    Given(STARTED, OPEN, CALL, final).when(result()).then()
    Given(STARTED, OPEN, CALL, final).when(result("started", "pending")).then()
    Given(STARTED, OPEN, CALL, final).when(result("other")).refused(errors.ToolResultConflictError)
    Given(STARTED, OPEN, CALL, final).when(result(status="error")).refused(errors.ToolResultConflictError)


def test_what_the_store_remembers_of_an_answer_counts_as_if_it_were_fresh() -> None:
    Given(STARTED).when(result()).refused(errors.UnknownToolCallError)
    Given(STARTED).when(result(answered=fingerprint("final", "21 C"))).then()
    Given(STARTED).when(result(answered="other")).refused(errors.ToolResultConflictError)


def test_a_title_is_set_only_if_it_changes_something() -> None:
    titled = e.SessionTitled(at=AT, title="A")
    Given(STARTED).when(c.SetTitle(AT, "A", only_if_empty=True)).then(titled)
    Given(STARTED, titled).when(c.SetTitle(AT, "B", only_if_empty=True)).then()
    Given(STARTED, titled).when(c.SetTitle(AT, "A")).then()
    Given(STARTED, titled).when(c.SetTitle(AT, "B")).then(e.SessionTitled(at=AT, title="B"))


def test_an_owner_is_assigned_once() -> None:
    unowned = e.SessionStarted(at=AT, user_id=None)
    Given(unowned).when(c.AssignOwner(AT, "u1")).then(e.OwnerAssigned(at=AT, user_id="u1"))
    Given(STARTED).when(c.AssignOwner(AT, "u1")).refused(errors.SessionOwnedError)


@given(st.lists(any_event, max_size=30))
def test_evolve_takes_any_event(events: list[e.SessionEvent]) -> None:
    state_after([STARTED, *events])
    state_after(events)


def test_the_state_stays_small_however_many_messages_come() -> None:
    messages = [
        e.MessageAdded(at=AT + timedelta(seconds=i), message_id=f"m{i}", role="user", content="x")
        for i in range(3 * MEMORY_LIMIT)
    ]
    state = state_after([STARTED, *messages])

    assert state.kind == "active"
    assert len(state.memory.message_ids) <= MEMORY_LIMIT
    assert not state.memory.complete
    assert len(state.to_json()) < 500


def state_of(*commands: Any) -> Any:
    state = initial_state(ID)
    for command in (c.StartSession(AT, "u1"), *commands):
        for event in decide(state, command):
            state = evolve(state, event)
    return state


def test_a_step_of_no_writer_is_in_no_writers_way() -> None:
    began = decide(state_of(c.BeginCompletion(AT, "s1")), c.BeginCompletion(AT, "s2", writer="w"))
    assert [type(event) for event in began] == [e.CompletionAbandoned, e.CompletionStarted]


def test_a_whole_call_without_arguments_that_is_delivered_twice_is_one() -> None:
    whole = appends.AppendWholeToolCall(AT, "s1", e.ToolCall(id="c1", name="find", arguments=""))
    assert decide(state_of(c.BeginCompletion(AT, "s1"), whole), whole) == ()


def test_a_call_that_came_in_fragments_and_is_then_delivered_whole_is_one() -> None:
    fragments = [
        appends.AppendToolCall(AT, "s1", 0, "c1", "find"),
        appends.AppendToolCall(AT, "s1", 0, arguments='{"a":'),
        appends.AppendToolCall(AT, "s1", 0, arguments=" 1}"),
    ]
    whole = appends.AppendWholeToolCall(AT, "s1", e.ToolCall(id="c1", name="find", arguments='{"a":1}'))
    assert decide(state_of(c.BeginCompletion(AT, "s1"), *fragments), whole) == ()
