"""The commands: what a caller wants to happen. `decide` turns each into events, or refuses it.

Time and ids are arguments, so a decision that is made again after a conflict comes out the same. `Begin...` and
`End...` open and close a step; what goes into an open one is in `domain.step_appends`.

`known`, in several commands: the store has seen the id before, although the state no longer remembers it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from turnlog.domain.events import Content, Correction, FunctionCall, ResultStatus, Role, StepEnd, ToolCall, TurnEnd
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.state import Known
from turnlog.domain.step_appends import AnyStepAppend
from turnlog.domain.values import JsonObject


@dataclass(frozen=True, slots=True)
class StartSession:
    at: datetime
    user_id: str | None
    title: str | None = None
    metadata: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AssignOwner:
    at: datetime
    user_id: str


@dataclass(frozen=True, slots=True)
class SetTitle:
    at: datetime
    title: str
    only_if_empty: bool = False


@dataclass(frozen=True, slots=True)
class SetMetadata:
    at: datetime
    patch: JsonObject


@dataclass(frozen=True, slots=True)
class IncrementCounter:
    """`id` tells two equal increments apart."""

    at: datetime
    id: str
    counter: str
    key: str
    by: int
    known: bool = False


@dataclass(frozen=True, slots=True)
class AddMessage:
    at: datetime
    message_id: str
    role: Role
    content: Content | None
    name: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    function_call: FunctionCall | None = None
    known: bool = False
    queue: bool = False
    """Whether a message that comes while a turn is in hand has a turn of its own after that one."""
    stops: str | None = None
    """Why the turn in hand is stopped, if the message is new. None: it is not."""
    begin: BeginTurn | None = None
    """What begins with the message, in the same append. If a turn or a step is in the way, the message is refused."""
    joins: bool = False
    """The message is added all the same then: to the turn in hand, or to the queue."""

    def beginning(self, begin: BeginTurn) -> AddMessage:
        """The message, with which a turn begins."""
        return replace(self, begin=begin)


@dataclass(frozen=True, slots=True)
class BeginCompletion:
    """Refused while another open step is alive. Open steps that are not alive are abandoned.

    A step of this `writer` is alive if it is in `live`. That collection may change until the decision is made: of two
    completions that begin at once, either may be decided first. A step of another writer is alive unless the writer
    is in `gone`: these writers' leases have run out, and are never renewed. A step without a writer is not alive.

    `over` is the step whose end was waited for, in order to take over from it. The command is refused if that step has
    finished, because its writer was alive, and if another step has begun since: the same would be answered twice.

    `run` is the run of the turn in hand that the step belongs to. Without one it is refused while a turn is in hand
    whose owner is alive, by the same rules as for a step; with `live` holding the runs, too. `known` is
    how the talk stood when the prompt was made: if it is not so any more, the command is refused with NewsError. A step
    of the same turn that broke off just before is superseded; or `continues`: the response goes on with it.
    """

    at: datetime
    step_id: str
    model: str | None = None
    live: Collection[str] = frozenset()
    writer: str = ""
    lease_seconds: float | None = None
    gone: frozenset[str] = frozenset()
    over: str | None = None
    run: str = ""
    known: Known | None = None
    continues: bool = False


@dataclass(frozen=True, slots=True)
class EndCompletion:
    """`end` is the event that closes the step."""

    end: StepEnd


@dataclass(frozen=True, slots=True)
class BeginTurn:
    """Begins the turn `turn_id`, or goes on with it, as `run`. None is the turn whose turn it is (`turns.next_turn`).
    Where there is none, but there is news, it is one with the id of the run; and with `anyway` also without news.

    Refused as BeginCompletion is, while a turn or a step is open and alive. TurnClosedError, if it is not this turn's
    turn, or if there is nothing to do.
    """

    at: datetime
    turn_id: str | None
    run: str
    writer: str
    lease_seconds: float | None = None
    live: Collection[str] = frozenset()
    gone: frozenset[str] = frozenset()
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class EndTurn:
    """Ends a run. `known`: refused with NewsError if the talk does not stand so any more."""

    at: datetime
    run: str
    status: TurnEnd
    reason: str = ""
    known: Known | None = None


@dataclass(frozen=True, slots=True)
class StartTool:
    """The tool of a call begins to run."""

    at: datetime
    run: str
    step_id: str
    index: int


@dataclass(frozen=True, slots=True)
class RequestApproval:
    """A call has to be allowed before its tool runs."""

    at: datetime
    run: str
    step_id: str
    index: int


@dataclass(frozen=True, slots=True)
class DecideApproval:
    """Allows a call, or refuses it: then `refusal` is its result. `step_id` is as in AddToolResult."""

    at: datetime
    call_id: str
    step_id: str | None
    approved: bool
    by: str
    reason: str = ""
    for_turn: bool = False
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class CancelSteps:
    """Interrupts every open step, whoever writes it, and stops the turn: the one in hand, or else the one that waits,
    or else the first in the queue. With a `turn_id` only that one."""

    at: datetime
    reason: str
    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class AbandonSteps:
    """Ends the open steps and the turn of these writers as abandoned. Their leases have run out."""

    at: datetime
    writers: frozenset[str]
    reason: str


@dataclass(frozen=True, slots=True)
class AddToolResult:
    """`step_id` is the step that made the call; None means the latest one that waits for a result of this call id.
    `answered` is the fingerprint of the final result that the store has for the call, if any.

    With an `index` it is that call of the step, whatever its id. `run` is the run of the owner of the turn, who has run
    the tool: it is refused when somebody else owns the turn by now. Without one it is refused while an owner runs the
    tool."""

    at: datetime
    call_id: str
    status: ResultStatus
    content: Content
    answered: str | None = None
    step_id: str | None = None
    index: int | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class ReportUsage:
    """`id` tells two equal reports apart."""

    at: datetime
    id: str
    usage: JsonObject
    model: str | None = None
    known: bool = False


@dataclass(frozen=True, slots=True)
class ImportMessage:
    """A foreign message, as it came."""

    at: datetime
    message_id: str
    format: ForeignFormat
    message: JsonObject
    known: bool = False


@dataclass(frozen=True, slots=True)
class RepairSession:
    at: datetime
    repair_id: str
    upto: int
    corrections: tuple[Correction, ...]


@dataclass(frozen=True, slots=True)
class WithdrawRepair:
    at: datetime
    repair_id: str


@dataclass(frozen=True, slots=True)
class CompactContext:
    at: datetime
    summary: str
    upto: int


@dataclass(frozen=True, slots=True)
class MarkFork:
    at: datetime
    source: UUID
    upto: int


@dataclass(frozen=True, slots=True)
class DeleteSession:
    at: datetime


StepCommand = BeginCompletion | EndCompletion | AddToolResult
TurnCommand = BeginTurn | EndTurn | StartTool | RequestApproval | DecideApproval | CancelSteps | AbandonSteps
SessionCommand = (
    AssignOwner
    | SetTitle
    | SetMetadata
    | IncrementCounter
    | AddMessage
    | ReportUsage
    | ImportMessage
    | RepairSession
    | WithdrawRepair
    | CompactContext
    | MarkFork
    | DeleteSession
)
Command = AnyStepAppend | StepCommand | TurnCommand | SessionCommand | StartSession
