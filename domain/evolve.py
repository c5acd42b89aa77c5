"""evolve(state, event) -> state: what an event changes for later decisions. No event makes it raise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, assert_never

from turnlog.domain.calls import AwaitedCall, AwaitedCalls, CallHead
from turnlog.domain.events import (
    STATUS_OF_END,
    ApprovalDecided,
    ApprovalRequested,
    CompletionEnded,
    CompletionFinished,
    CompletionStarted,
    ContextCompacted,
    CounterIncremented,
    FunctionCallDelta,
    MessageAdded,
    MessageImported,
    MetadataSet,
    OwnerAssigned,
    PartDelta,
    PartExtended,
    PartStarted,
    ReasoningDelta,
    RefusalDelta,
    RepairWithdrawn,
    SessionDeleted,
    SessionEvent,
    SessionForked,
    SessionRepaired,
    SessionStarted,
    SessionTitled,
    StepEnd,
    TextDelta,
    ToolCall,
    ToolCallArgumentsDelta,
    ToolCallNamed,
    ToolCallStarted,
    ToolResultAdded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    UsageReported,
    imported_step_id,
)
from turnlog.domain.evolve_turn import evolve_turn
from turnlog.domain.finish_reasons import CUT, meaning_of
from turnlog.domain.foreign import ForeignCall, ForeignMessage
from turnlog.domain.state import Active, Deleted, LatestStep, Memory, OpenStep, SessionState, Unborn
from turnlog.domain.turns import joined_turn
from turnlog.domain.values import fingerprint, merge_patch

WITHOUT_EFFECT: tuple[type[SessionEvent], ...] = (
    TextDelta,
    ReasoningDelta,
    RefusalDelta,
    FunctionCallDelta,
    PartStarted,
    PartDelta,
    PartExtended,
)
"""Events that change no state. Nearly all are such."""


def evolve(state: SessionState, event: SessionEvent) -> SessionState:
    """The state after `event`. An event that does not fit the state changes nothing."""
    if isinstance(event, TextDelta):  # nearly all are
        return state
    if isinstance(state, Active):
        return _evolve_active(state, event)
    if isinstance(state, Unborn) and isinstance(event, SessionStarted):
        return Active(
            session_id=state.session_id,
            user_id=event.user_id,
            title=event.title,
            started_at=event.at,
            memory=Memory(complete=True),
            metadata=event.metadata,
        )
    return state


def _evolve_active(state: Active, event: SessionEvent) -> SessionState:
    match event:
        case TextDelta() | ReasoningDelta() | RefusalDelta() | FunctionCallDelta():
            return state  # as WITHOUT_EFFECT says
        case PartStarted() | PartDelta() | PartExtended():
            return state
        case ToolCallArgumentsDelta():
            return _arguments_came(state, event)
        case ToolCallStarted():
            return _call_started(state, event)
        case ToolCallNamed():
            return _call_named(state, event)
        case CompletionStarted():
            return _step_began(state, event)
        case CompletionEnded():
            return _ended(state, event)
        case MessageAdded():
            return _message_added(state, event)
        case ToolResultAdded():
            return _result_added(state, event)
        case TurnStarted() | TurnEnded() | ToolStarted() | ApprovalRequested() | ApprovalDecided():
            return evolve_turn(state, event)
        case OwnerAssigned():
            return state.model_copy(update={"user_id": event.user_id})
        case SessionTitled():
            return state.model_copy(update={"title": event.title})
        case SessionDeleted():
            return Deleted(session_id=state.session_id)
        case MessageImported():
            return _message_imported(state, event)
        case ContextCompacted():
            return state.model_copy(update={"compacted": (event.upto, fingerprint(event.summary))})
        case SessionRepaired():
            return state.model_copy(update={"repairs": (*state.repairs, event.repair_id)})
        case RepairWithdrawn():
            repairs = tuple(repair for repair in state.repairs if repair != event.repair_id)
            return state.model_copy(update={"repairs": repairs})
        case CounterIncremented() | UsageReported():
            memory = state.memory.with_report(report_key(event))
            if isinstance(event, UsageReported):
                return state.model_copy(update={"memory": memory})
            counters = state.counters.plus((event.counter, event.key), True)
            return state.model_copy(update={"memory": memory, "counters": counters})
        case MetadataSet():
            return state.model_copy(update={"metadata": merge_patch(state.metadata, event.patch)})
        case SessionStarted() | SessionForked():
            return state
        case _:
            assert_never(event)


def _step_began(state: Active, event: CompletionStarted) -> Active:
    step = OpenStep(step_id=event.step_id, since=event.at, writer=event.writer)
    # Message ids and step ids share a namespace: an answer that is stored again under its step's id is known.
    memory = state.memory.with_message(event.step_id)
    latest = LatestStep(step_id=event.step_id, since=event.at, writer=event.writer, turn_id=event.turn_id)
    steps = {**state.open_steps, event.step_id: step}
    changed = _response_began(state, is_owned=bool(event.turn_id))
    return changed.model_copy(update={"open_steps": steps, "latest": latest, "memory": memory})


def _response_began(state: Active, *, is_owned: bool) -> Active:
    """The state in which a request has had all that was there. A step without an owner answers what is queued, too."""
    changes: dict[str, Any] = {"responses": state.responses + 1, "news": 0, "results": 0, "asked": None}
    turn = state.in_hand
    if turn is not None and not turn.has_begun:
        changes |= {"turn": turn.model_copy(update={"has_begun": True})}
    if not is_owned:
        changes |= {"queue": ()} | ({"turn": None} if turn is None else {})
    return state.model_copy(update=changes)


def _call_started(state: Active, event: ToolCallStarted) -> Active:
    step = state.open_steps.get(event.step_id)
    if step is None or step.calls.get(event.index) is not None:
        return state
    head = CallHead(index=event.index, id=event.id, name=event.name)
    turn_id = "" if state.in_hand is None else state.in_hand.turn_id
    awaited = AwaitedCall(event.step_id, event.index, event.id, response=state.responses, turn_id=turn_id)
    return _with_head(state, step, head).model_copy(update={"awaited": state.awaited.plus_all([awaited])})


def _made(awaited: AwaitedCalls, step_id: str, calls: Iterable[ToolCall | ForeignCall], response: int) -> AwaitedCalls:
    """The awaited calls with those of a whole message."""
    made = [AwaitedCall(step_id, index, call.id, response=response) for index, call in enumerate(calls)]
    return awaited.plus_all(made) if made else awaited


def _call_named(state: Active, event: ToolCallNamed) -> Active:
    step = state.open_steps.get(event.step_id)
    head = step.calls.get(event.index) if step else None
    if step is None or head is None:
        return state
    named = _with_head(state, step, replace(head, id=event.id, name=event.name))
    call = state.awaited.get(event.step_id, event.index)
    if call is None or call.call_id == event.id:
        return named
    return named.model_copy(update={"awaited": state.awaited.plus(replace(call, call_id=event.id))})


def _arguments_came(state: Active, event: ToolCallArgumentsDelta) -> Active:
    step = state.open_steps.get(event.step_id)
    head = step.calls.get(event.index) if step else None
    is_named = head is not None and bool(head.name)
    if step is None or head is None or (head.has_arguments and head.whole is None and head.is_named == is_named):
        return state
    # A call that came in one piece has exactly one arguments event. Its fingerprint identifies a second delivery.
    whole = None if head.has_arguments else fingerprint(event.arguments)
    return _with_head(state, step, replace(head, has_arguments=True, whole=whole, is_named=is_named))


def _with_head(state: Active, step: OpenStep, head: CallHead) -> Active:
    changed = step.model_copy(update={"calls": step.calls.plus(head)})
    return state.model_copy(update={"open_steps": {**state.open_steps, step.step_id: changed}})


def _ended(state: Active, event: StepEnd) -> Active:
    steps = {key: step for key, step in state.open_steps.items() if key != event.step_id}
    latest = state.latest
    if latest is not None and latest.step_id == event.step_id:
        is_cut_off = isinstance(event, CompletionFinished) and meaning_of(event.finish_reason) in CUT
        latest = latest.model_copy(update={"status": STATUS_OF_END[type(event)], "cut_off": is_cut_off})
    return state.model_copy(update={"open_steps": steps, "latest": latest})


def _message_added(state: Active, event: MessageAdded) -> Active:
    memory = state.memory.with_message(event.message_id)
    if event.role == "assistant":
        state = _response_began(state, is_owned=False)
        awaited = _made(state.awaited, event.message_id, event.tool_calls, state.responses)
        return state.model_copy(update={"awaited": awaited, "memory": memory})
    if event.role != "user":
        return state.model_copy(update={"memory": memory})
    if event.queued:
        return state.model_copy(update={"queue": (*state.queue, event.message_id), "memory": memory})
    return _asked(state, event.message_id).model_copy(update={"memory": memory})


def _asked(state: Active, message_id: str) -> Active:
    """The state with a message of the user that has to be answered: in the turn that is to be gone on with, or in the
    first of the queue, or in one of its own."""
    if state.unfinished is None and state.queue:
        return state
    asked = state.asked if joined_turn(state) is not None else state.asked or message_id
    return state.model_copy(update={"news": state.news + 1, "asked": asked})


def _message_imported(state: Active, event: MessageImported) -> Active:
    for number, item in enumerate(event.reading.items):
        item_id = imported_step_id(event.message_id, number)
        if not isinstance(item, ForeignMessage):
            answered = state.awaited.find(item.call_id)
            if answered is not None:
                awaited = state.awaited.minus(answered.step_id, answered.index)
                state = state.model_copy(update={"awaited": awaited})
        elif item.role == "user":
            state = _asked(state, item_id)
        elif item.role == "assistant":
            state = _response_began(state, is_owned=False)
            awaited = _made(state.awaited, item_id, item.calls, state.responses)
            state = state.model_copy(update={"awaited": awaited})
    return state.model_copy(update={"memory": state.memory.with_message(event.message_id)})


def awaited_call(awaited: AwaitedCalls, call_id: str, step_id: str | None = None) -> AwaitedCall | None:
    """The call that a result is for: see AwaitedCalls.find."""
    return awaited.find(call_id, step_id)


def _result_added(state: Active, event: ToolResultAdded) -> Active:
    latest = state.latest
    if latest is not None and latest.step_id == event.step_id and not latest.answered:
        state = state.model_copy(update={"latest": latest.model_copy(update={"answered": True})})
    if event.status == "pending":
        call = state.awaited.get(event.step_id, event.index)
        if call is None:
            return state
        pending = replace(call, pending=fingerprint(event.content))
        return state.model_copy(update={"awaited": state.awaited.plus(pending)})
    memory, digest = state.memory, result_fingerprint(event)
    for step_id in (None, event.step_id):
        memory = memory.with_answer(answer_key(event.call_id, step_id), digest)
    awaited = state.awaited.minus(event.step_id, event.index)
    # The next turn in the queue has it anyway.
    is_news = state.unfinished is not None or not state.queue
    counted = {"news": state.news + is_news} if event.late else {"results": state.results + is_news}
    return state.model_copy(update={"awaited": awaited, "memory": memory, **counted})


def answer_key(call_id: str, step_id: str | None) -> str:
    """The key under which the final result of a call is remembered: of the call in this step, or without a step of the
    latest call with the id."""
    return call_id if step_id is None else fingerprint(step_id, call_id)


def report_key(event: CounterIncremented | UsageReported) -> str:
    """The key under which an increment or a usage report is remembered."""
    return f"{event.topic}:{event.id}"


def result_fingerprint(event: ToolResultAdded) -> str:
    """The fingerprint that two deliveries of one final result share."""
    return fingerprint(event.status, event.content)
