"""The events: what happened, in the past tense, one frozen model each.

A topic such as `text-delta.v1` is a stored name and never follows a rename of the class. To change the shape of an
event, add a class with the next version, and an upcaster from the old shape (see infrastructure/store/mapper).
"""

from __future__ import annotations

from turnlog.domain.events.base import (
    Content,
    Event,
    FunctionCall,
    ResultStatus,
    Role,
    ToolCall,
)
from turnlog.domain.events.message import (
    MessageAdded,
    MessageImported,
    imported_step_id,
)
from turnlog.domain.events.session import (
    ContextCompacted,
    Correction,
    CorrectionAction,
    CounterIncremented,
    MetadataSet,
    OwnerAssigned,
    RepairWithdrawn,
    SessionDeleted,
    SessionForked,
    SessionRepaired,
    SessionStarted,
    SessionTitled,
    UsageReported,
)
from turnlog.domain.events.step import (
    CompletionAbandoned,
    CompletionEnded,
    CompletionFailed,
    CompletionFinished,
    CompletionInterrupted,
    CompletionStarted,
    FunctionCallDelta,
    PartDelta,
    PartExtended,
    PartStarted,
    ReasoningDelta,
    RefusalDelta,
    StepStatus,
    TextDelta,
    ToolCallArgumentsDelta,
    ToolCallNamed,
    ToolCallStarted,
    ToolResultAdded,
)
from turnlog.domain.events.turn import (
    ApprovalDecided,
    ApprovalRequested,
    ToolStarted,
    TurnEnd,
    TurnEnded,
    TurnStarted,
)

Fragment = TextDelta | RefusalDelta | ReasoningDelta | ToolCallArgumentsDelta | FunctionCallDelta | PartDelta
"""The deltas that only continue a text of their step. Nearly all events are fragments."""
StepDelta = Fragment | ToolCallStarted | ToolCallNamed | PartStarted | PartExtended
"""What a response brings between the start and the end of its step."""
StepEnd = CompletionFinished | CompletionInterrupted | CompletionFailed | CompletionAbandoned
STATUS_OF_END: dict[type[StepEnd], StepStatus] = {
    CompletionFinished: "finished",
    CompletionInterrupted: "interrupted",
    CompletionFailed: "failed",
    CompletionAbandoned: "abandoned",
}
TurnEvent = TurnStarted | TurnEnded | ToolStarted | ApprovalRequested | ApprovalDecided
"""What only turns with an owner have."""
SessionEvent = (
    SessionStarted
    | OwnerAssigned
    | SessionTitled
    | MetadataSet
    | CounterIncremented
    | MessageAdded
    | CompletionStarted
    | StepDelta
    | StepEnd
    | ToolResultAdded
    | TurnEvent
    | UsageReported
    | MessageImported
    | SessionRepaired
    | RepairWithdrawn
    | ContextCompacted
    | SessionForked
    | SessionDeleted
)

EVENT_TYPES: tuple[type[SessionEvent], ...] = SessionEvent.__args__
STEP_DELTAS: tuple[type[StepDelta], ...] = StepDelta.__args__
FRAGMENTS: tuple[type[Fragment], ...] = Fragment.__args__

__all__ = [
    "EVENT_TYPES",
    "FRAGMENTS",
    "STATUS_OF_END",
    "STEP_DELTAS",
    "ApprovalDecided",
    "ApprovalRequested",
    "CompletionAbandoned",
    "CompletionEnded",
    "CompletionFailed",
    "CompletionFinished",
    "CompletionInterrupted",
    "CompletionStarted",
    "Content",
    "ContextCompacted",
    "Correction",
    "CorrectionAction",
    "CounterIncremented",
    "Event",
    "Fragment",
    "FunctionCall",
    "FunctionCallDelta",
    "MessageAdded",
    "MessageImported",
    "MetadataSet",
    "OwnerAssigned",
    "PartDelta",
    "PartExtended",
    "PartStarted",
    "ReasoningDelta",
    "RefusalDelta",
    "RepairWithdrawn",
    "ResultStatus",
    "Role",
    "SessionDeleted",
    "SessionEvent",
    "SessionForked",
    "SessionRepaired",
    "SessionStarted",
    "SessionTitled",
    "StepDelta",
    "StepEnd",
    "StepStatus",
    "TextDelta",
    "ToolCall",
    "ToolCallArgumentsDelta",
    "ToolCallNamed",
    "ToolCallStarted",
    "ToolResultAdded",
    "ToolStarted",
    "TurnEnd",
    "TurnEnded",
    "TurnEvent",
    "TurnStarted",
    "UsageReported",
    "imported_step_id",
]
