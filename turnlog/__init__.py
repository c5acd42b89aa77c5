"""turnlog: an event-sourced log for LLM conversations.

    from turnlog import SessionLog, SYSTEM

Every error derives from `TurnlogError`; the tree is in `turnlog.domain.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnlog.domain.errors import AppendConflictError as AppendConflictError
    from turnlog.domain.errors import AppendRefusedError as AppendRefusedError
    from turnlog.domain.errors import DatabaseEncodingError as DatabaseEncodingError
    from turnlog.domain.errors import DatabaseVersionError as DatabaseVersionError
    from turnlog.domain.errors import EmbeddedServersError as EmbeddedServersError
    from turnlog.domain.errors import EmbeddedServersMissingError as EmbeddedServersMissingError
    from turnlog.domain.errors import InvalidInputError as InvalidInputError
    from turnlog.domain.errors import LimitExceededError as LimitExceededError
    from turnlog.domain.errors import LogClosedError as LogClosedError
    from turnlog.domain.errors import MissingPrivilegeError as MissingPrivilegeError
    from turnlog.domain.errors import OwnTurnError as OwnTurnError
    from turnlog.domain.errors import PoolerError as PoolerError
    from turnlog.domain.errors import ProjectionError as ProjectionError
    from turnlog.domain.errors import PromptError as PromptError
    from turnlog.domain.errors import PromptTooLongError as PromptTooLongError
    from turnlog.domain.errors import ReadOnlyDatabaseError as ReadOnlyDatabaseError
    from turnlog.domain.errors import SchemaVersionError as SchemaVersionError
    from turnlog.domain.errors import SessionExistsError as SessionExistsError
    from turnlog.domain.errors import SessionNotFoundError as SessionNotFoundError
    from turnlog.domain.errors import SessionOwnedError as SessionOwnedError
    from turnlog.domain.errors import StepClosedError as StepClosedError
    from turnlog.domain.errors import StepError as StepError
    from turnlog.domain.errors import StoreError as StoreError
    from turnlog.domain.errors import StoreUnavailableError as StoreUnavailableError
    from turnlog.domain.errors import ToolCallConflictError as ToolCallConflictError
    from turnlog.domain.errors import ToolResultConflictError as ToolResultConflictError
    from turnlog.domain.errors import ToolResultError as ToolResultError
    from turnlog.domain.errors import ToolRunningError as ToolRunningError
    from turnlog.domain.errors import TurnClosedError as TurnClosedError
    from turnlog.domain.errors import TurnInProgressError as TurnInProgressError
    from turnlog.domain.errors import TurnlogError as TurnlogError
    from turnlog.domain.errors import UnfitDatabaseError as UnfitDatabaseError
    from turnlog.domain.errors import UnknownPositionError as UnknownPositionError
    from turnlog.domain.errors import UnknownToolCallError as UnknownToolCallError
    from turnlog.domain.errors import UnreadableEventError as UnreadableEventError
    from turnlog.domain.errors import WrongLoopError as WrongLoopError
    from turnlog.domain.errors import WrongProcessError as WrongProcessError
    from turnlog.domain.foreign.exports import conversations_in as conversations_in
    from turnlog.domain.recorded import RecordedEvent as RecordedEvent
    from turnlog.infrastructure.answer.answer import Answer as Answer
    from turnlog.infrastructure.answer.outcome import AnswerOutcome as AnswerOutcome
    from turnlog.infrastructure.answer.tool_context import ToolContext as ToolContext
    from turnlog.infrastructure.answer.tool_result import Pending as Pending
    from turnlog.infrastructure.answer.tools import Tool as Tool
    from turnlog.infrastructure.append.completion import Completion as Completion
    from turnlog.infrastructure.append.held_turn import HeldTurn as HeldTurn
    from turnlog.infrastructure.append.message_id import MessageId as MessageId
    from turnlog.infrastructure.append.recording import Recording as Recording
    from turnlog.infrastructure.follow.event_streams import EventStreams as EventStreams
    from turnlog.infrastructure.follow.following import Following as Following
    from turnlog.infrastructure.follow.live import Deltas as Deltas
    from turnlog.infrastructure.follow.live import Live as Live
    from turnlog.infrastructure.log import SessionLog as SessionLog
    from turnlog.infrastructure.principal import SYSTEM as SYSTEM
    from turnlog.infrastructure.principal import Principal as Principal
    from turnlog.infrastructure.repair.importing import Conversation as Conversation
    from turnlog.infrastructure.repair.importing import ImportReport as ImportReport
    from turnlog.infrastructure.server.proxy.proxy_settings import ProxySettings as ProxySettings
    from turnlog.infrastructure.server.proxy.router import turnlog_proxy as turnlog_proxy
    from turnlog.infrastructure.server.router import turnlog_router as turnlog_router
    from turnlog.infrastructure.session import Session as Session
    from turnlog.infrastructure.settings import Settings as Settings
    from turnlog.infrastructure.tables.projection import Projection as Projection
    from turnlog.projections.deltas import ApprovalDecided as ApprovalDecided
    from turnlog.projections.deltas import ApprovalRequested as ApprovalRequested
    from turnlog.projections.deltas import Delta as Delta
    from turnlog.projections.deltas import FunctionCallFragment as FunctionCallFragment
    from turnlog.projections.deltas import MessageCame as MessageCame
    from turnlog.projections.deltas import PartExtended as PartExtended
    from turnlog.projections.deltas import PartFragment as PartFragment
    from turnlog.projections.deltas import PartStarted as PartStarted
    from turnlog.projections.deltas import SessionChanged as SessionChanged
    from turnlog.projections.deltas import SessionGone as SessionGone
    from turnlog.projections.deltas import StepEnded as StepEnded
    from turnlog.projections.deltas import StepStarted as StepStarted
    from turnlog.projections.deltas import TextFragment as TextFragment
    from turnlog.projections.deltas import ToolCallFragment as ToolCallFragment
    from turnlog.projections.deltas import ToolResultCame as ToolResultCame
    from turnlog.projections.deltas import ToolStarted as ToolStarted
    from turnlog.projections.deltas import TurnEnded as TurnEnded
    from turnlog.projections.deltas import TurnStarted as TurnStarted
    from turnlog.projections.parts import Part as Part
    from turnlog.projections.prompt.policy import PromptPolicy as PromptPolicy
    from turnlog.projections.report import ReapedStep as ReapedStep
    from turnlog.projections.report import RepairReport as RepairReport
    from turnlog.projections.turn import OpenToolCall as OpenToolCall
    from turnlog.projections.usage_report import UsageReport as UsageReport
    from turnlog.projections.usage_report import UsageRow as UsageRow
    from turnlog.projections.view import Fault as Fault
    from turnlog.projections.view import SessionPage as SessionPage
    from turnlog.projections.view import SessionSummary as SessionSummary
    from turnlog.projections.view import SessionView as SessionView
    from turnlog.projections.view import Step as Step
    from turnlog.projections.view import Turn as Turn
    from turnlog.projections.view import UnfinishedTurn as UnfinishedTurn
    from turnlog.projections.view import WaitingToolCall as WaitingToolCall

__version__ = "0.1.0"

_NAMES = {
    "domain.errors": """
        AppendConflictError AppendRefusedError DatabaseEncodingError DatabaseVersionError EmbeddedServersError
        EmbeddedServersMissingError InvalidInputError LimitExceededError LogClosedError MissingPrivilegeError
        OwnTurnError PoolerError ProjectionError PromptError PromptTooLongError ReadOnlyDatabaseError
        SchemaVersionError SessionExistsError SessionNotFoundError SessionOwnedError StepClosedError StepError
        StoreError StoreUnavailableError ToolCallConflictError ToolResultConflictError ToolResultError
        ToolRunningError TurnClosedError TurnInProgressError TurnlogError UnfitDatabaseError UnknownPositionError
        UnknownToolCallError UnreadableEventError WrongLoopError WrongProcessError
    """,
    "domain.foreign.exports": "conversations_in",
    "domain.recorded": "RecordedEvent",
    "infrastructure.answer.answer": "Answer",
    "infrastructure.answer.outcome": "AnswerOutcome",
    "infrastructure.answer.tool_context": "ToolContext",
    "infrastructure.answer.tool_result": "Pending",
    "infrastructure.answer.tools": "Tool",
    "infrastructure.append.completion": "Completion",
    "infrastructure.append.held_turn": "HeldTurn",
    "infrastructure.append.message_id": "MessageId",
    "infrastructure.append.recording": "Recording",
    "infrastructure.follow.event_streams": "EventStreams",
    "infrastructure.follow.following": "Following",
    "infrastructure.follow.live": "Deltas Live",
    "infrastructure.log": "SessionLog",
    "infrastructure.principal": "Principal SYSTEM",
    "infrastructure.repair.importing": "Conversation ImportReport",
    "infrastructure.server.proxy.proxy_settings": "ProxySettings",
    "infrastructure.server.proxy.router": "turnlog_proxy",
    "infrastructure.server.router": "turnlog_router",
    "infrastructure.session": "Session",
    "infrastructure.settings": "Settings",
    "infrastructure.tables.projection": "Projection",
    "projections.deltas": """
        ApprovalDecided ApprovalRequested Delta FunctionCallFragment MessageCame PartExtended PartFragment PartStarted
        SessionChanged SessionGone StepEnded StepStarted TextFragment ToolCallFragment ToolResultCame ToolStarted
        TurnEnded TurnStarted
    """,
    "projections.parts": "Part",
    "projections.prompt.policy": "PromptPolicy",
    "projections.report": "ReapedStep RepairReport",
    "projections.turn": "OpenToolCall",
    "projections.usage_report": "UsageReport UsageRow",
    "projections.view": """
        Fault SessionPage SessionSummary SessionView Step Turn UnfinishedTurn WaitingToolCall
    """,
}
"""The public names by the module that has them. A test holds this table to the imports above, which are for type
checkers."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

_OF_EXTRAS = {"ProxySettings", "turnlog_proxy", "turnlog_router"}
"""Names that need an extra. `import *` does without them, or it would fail where the extra is not installed."""

__all__ = ["__version__", *sorted(_HOMES.keys() - _OF_EXTRAS)]  # noqa: PLE0604 the names are strings


def __getattr__(name: str) -> Any:
    # Loaded at first use: the drivers take longer to import than most commands take to run.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'turnlog' has no attribute {name!r}")
    value = getattr(import_module(f"turnlog.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *_OF_EXTRAS]
