"""Deltas: what a client has to be told of each event. Small models, one per event.

The position of a delta is the cursor with which a client comes back. A fragment says where in its block it belongs
(`offset`, in characters), so a client can insert it whatever it has already. A view at a position and the deltas after
it are equal to the view at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from turnlog.domain import events as e
from turnlog.domain.finish_reasons import EndMeaning, meaning_of
from turnlog.domain.parts import PartApi, PartKind
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.fold import note_of
from turnlog.projections.usage import token_counts


class _Delta(Frozen):
    """What all deltas have. `position` is that of the event: come back with it to go on after it."""

    kind: str
    position: int

    def to_sse(self, cursor: str = "") -> str:
        """The delta as a server-sent event. Its id is the position, or this cursor (`Deltas.cursor`); a browser sends
        it back as `Last-Event-ID`."""
        return f"id: {cursor or self.position}\nevent: {self.kind}\ndata: {self.model_dump_json()}\n\n"


class _Timed(_Delta):
    """What is no piece of an answer, of which there may be thousands, says when it was, too (`at`, UTC)."""

    at: datetime


class TurnStarted(_Timed):
    """Somebody begins to answer, or goes on: the message of the id `turn_id`, in this `run`. What that message and
    those before it in the queue had to wait for is over."""

    kind: Literal["turn_started"] = "turn_started"
    turn_id: str
    run: str
    writer: str = ""


class TurnEnded(_Timed):
    """A run of the turn is over: see `TurnRun`. A message that was queued is stopped in a run without an id."""

    kind: Literal["turn_ended"] = "turn_ended"
    turn_id: str
    run: str
    status: e.TurnEnd
    reason: Text


class StepStarted(_Timed):
    """An answer begins: in the turn `turn_id`, or without an owner. The text of the step that it `supersedes` is gone;
    that of the one that it `continues` stays, and this one goes on with it."""

    kind: Literal["step_started"] = "step_started"
    step_id: str
    model: Text | None
    turn_id: str | None = None
    supersedes: str | None = None
    continues: str | None = None


class TextFragment(_Delta):
    """A piece of the answer's text, reasoning or refusal. `details` are signed or encrypted blocks of reasoning."""

    kind: Literal["text", "reasoning", "refusal"]
    step_id: str
    offset: int
    text: Text
    details: tuple[JsonObject, ...] = ()


class ToolCallFragment(_Delta):
    """A piece of the call at `index`: of its arguments, or its id and name, which are whole; None where unchanged. The
    first piece of a call says whether it is `custom`."""

    kind: Literal["tool_call"] = "tool_call"
    step_id: str
    index: int
    id: Text | None = None
    name: Text | None = None
    custom: bool | None = None
    offset: int
    arguments: Text = ""


class PartStarted(_Delta):
    """A part of the answer begins: see `Part`. Pieces of text that follow belong to the part of their kind that began,
    or was extended, last. Answers of which nothing else is to be said have no parts."""

    kind: Literal["part_started"] = "part_started"
    step_id: str
    part: int
    part_kind: PartKind
    api: PartApi
    call: int | None
    data: JsonObject


class PartFragment(_Delta):
    """A piece of a text inside the data of a part, such as what is said in audio."""

    kind: Literal["part"] = "part"
    step_id: str
    part: int
    field: Text
    offset: int
    text: Text


class PartExtended(_Delta):
    """More data of a part: objects are merged, lists continued, other values replaced."""

    kind: Literal["part_extended"] = "part_extended"
    step_id: str
    part: int
    data: JsonObject


class FunctionCallFragment(_Delta):
    """A piece of the legacy function call: of its name and of its arguments."""

    kind: Literal["function_call"] = "function_call"
    step_id: str
    name: Text
    offset: int
    arguments: Text


class StepEnded(_Timed):
    """An answer has ended. `note` says why, unless it was finished; `failure` is what the provider said, and `details`
    what it said of the response besides. `meaning` is that of the finish reason; `tokens` are those of the usage, under
    the names of `Usage`."""

    kind: Literal["step_ended"] = "step_ended"
    step_id: str
    status: e.StepStatus
    finish_reason: Text | None
    meaning: EndMeaning | None = None
    note: Text | None
    model: Text | None
    usage: JsonObject | None
    failure: JsonObject | None = None
    response_id: Text | None = None
    details: JsonObject | None = None
    tokens: dict[str, int] | None = None


class MessageCame(_Timed):
    """A whole message. An assistant message is a step of its own, whose id is the message's. A `queued` one begins a
    turn of its own, after those that were there before it."""

    kind: Literal["message"] = "message"
    message_id: str
    role: e.Role
    content: e.Content | None
    name: Text | None
    refusal: Text | None
    tool_calls: tuple[e.ToolCall, ...]
    function_call: e.FunctionCall | None
    queued: bool = False


class ToolStarted(_Timed):
    """The tool of the call at `index` begins to run, for the `attempt`-th time."""

    kind: Literal["tool_started"] = "tool_started"
    step_id: str
    index: int
    call_id: Text
    run: str
    attempt: int


class ApprovalRequested(_Timed):
    """Somebody has to decide whether the tool of the call at `index` may run."""

    kind: Literal["approval_requested"] = "approval_requested"
    step_id: str
    index: int
    call_id: Text
    run: str


class ApprovalDecided(_Timed):
    """Somebody (`by`) has allowed the call at `index`, or refused it. `for_turn`: and all calls of its tool in the
    turn."""

    kind: Literal["approval_decided"] = "approval_decided"
    step_id: str
    index: int
    call_id: Text
    approved: bool
    by: Text
    reason: Text
    for_turn: bool


class ToolResultCame(_Timed):
    """A result of the call at `index`. It replaces an earlier one. A `late` one came when the model had gone on; one
    that is not pending stands where it came, too, as a message in the turn (see `LateResult`)."""

    kind: Literal["tool_result"] = "tool_result"
    step_id: str
    index: int
    call_id: Text
    status: e.ResultStatus
    content: e.Content
    late: bool = False


class SessionChanged(_Timed):
    """Something else changed, which the topic names. `data` says what: the fields of the event (a title, a patch of the
    metadata, an owner, an increment, a usage report with its `tokens`, a compaction). It is None where only the view
    shows it: after an import or a repair."""

    kind: Literal["changed"] = "changed"
    topic: str
    data: JsonObject | None = None


class SessionGone(_Timed):
    """The session was deleted. Nothing follows."""

    kind: Literal["deleted"] = "deleted"


Delta = (
    TurnStarted
    | TurnEnded
    | StepStarted
    | TextFragment
    | ToolCallFragment
    | FunctionCallFragment
    | PartStarted
    | PartFragment
    | PartExtended
    | StepEnded
    | MessageCame
    | ToolStarted
    | ApprovalRequested
    | ApprovalDecided
    | ToolResultCame
    | SessionChanged
    | SessionGone
)
"""Any delta. `kind` tells which one it is, also to a type checker."""


_TOLD_AS: dict[type[e.SessionEvent], Callable[..., Delta]] = {
    e.MessageAdded: MessageCame,
    e.PartExtended: PartExtended,
    e.ToolResultAdded: ToolResultCame,
    e.TurnStarted: TurnStarted,
    e.TurnEnded: TurnEnded,
    e.ToolStarted: ToolStarted,
    e.ApprovalRequested: ApprovalRequested,
    e.ApprovalDecided: ApprovalDecided,
}
"""Events with a delta of the same fields."""


def delta_of(recorded: RecordedEvent, offset: int) -> Delta:
    """The delta of an event. `offset` is where its fragment belongs, see Offsets."""
    at, event = recorded.position, recorded.event
    match event:
        case e.TextDelta(step_id=step_id, text=text):
            return TextFragment(kind="text", position=at, step_id=step_id, offset=offset, text=text)
        case e.ReasoningDelta(step_id=step_id, text=text, details=details):
            return TextFragment(
                kind="reasoning", position=at, step_id=step_id, offset=offset, text=text, details=details
            )
        case e.RefusalDelta(step_id=step_id, text=text):
            return TextFragment(kind="refusal", position=at, step_id=step_id, offset=offset, text=text)
        case e.ToolCallStarted() | e.ToolCallNamed():
            return ToolCallFragment(
                position=at,
                step_id=event.step_id,
                index=event.index,
                id=event.id,
                name=event.name,
                custom=event.custom if isinstance(event, e.ToolCallStarted) else None,
                offset=offset,
            )
        case e.ToolCallArgumentsDelta(step_id=step_id, index=index, arguments=arguments):
            return ToolCallFragment(position=at, step_id=step_id, index=index, offset=offset, arguments=arguments)
        case e.PartDelta(step_id=step_id, part=part, field=field, text=text):
            return PartFragment(position=at, step_id=step_id, part=part, field=field, offset=offset, text=text)
        case e.FunctionCallDelta(step_id=step_id, name=name, arguments=arguments):
            return FunctionCallFragment(position=at, step_id=step_id, name=name, offset=offset, arguments=arguments)
        case _:
            return _whole(at, event)


def _whole(at: int, event: e.SessionEvent) -> Delta:
    match event:
        case e.CompletionStarted(step_id=step_id, model=model):
            return StepStarted(
                position=at,
                at=event.at,
                step_id=step_id,
                model=model,
                turn_id=event.turn_id or None,
                supersedes=event.supersedes or None,
                continues=event.continues or None,
            )
        case e.CompletionEnded():
            return _ended(at, event)
        case _ if (told := _TOLD_AS.get(type(event))) is not None:
            return told(position=at, **dict(event))
        case e.PartStarted():
            return PartStarted(position=at, part_kind=event.kind, **dict(event, kind="part_started"))
        case e.SessionDeleted():
            return SessionGone(position=at, at=event.at)
        case _:
            return SessionChanged(position=at, at=event.at, topic=event.topic, data=_facts_of(event))


_ONLY_IN_THE_VIEW = (e.MessageImported, e.SessionRepaired, e.RepairWithdrawn)


def _facts_of(event: e.SessionEvent) -> JsonObject | None:
    """What a client has to know of an event that has no delta of its own."""
    if isinstance(event, _ONLY_IN_THE_VIEW):
        return None
    facts = event.model_dump(exclude={"at", "id"})
    return facts | {"tokens": token_counts(event.usage)} if isinstance(event, e.UsageReported) else facts


def _ended(at: int, event: e.StepEnd) -> StepEnded:
    reason = event.finish_reason if isinstance(event, e.CompletionFinished) else None
    return StepEnded(
        position=at,
        at=event.at,
        step_id=event.step_id,
        status=e.STATUS_OF_END[type(event)],
        finish_reason=reason,
        meaning=meaning_of(reason),
        note=note_of(event),
        model=event.model,
        usage=event.usage,
        failure=event.failure if isinstance(event, e.CompletionFailed) else None,
        response_id=event.response_id,
        details=event.details,
        tokens=token_counts(event.usage) if event.usage else None,
    )
