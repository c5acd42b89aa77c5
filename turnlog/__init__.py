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
    from turnlog.domain.errors import EmbeddedServersError as EmbeddedServersError
    from turnlog.domain.errors import EmbeddedServersMissingError as EmbeddedServersMissingError
    from turnlog.domain.errors import InvalidInputError as InvalidInputError
    from turnlog.domain.errors import LogClosedError as LogClosedError
    from turnlog.domain.errors import ProjectionError as ProjectionError
    from turnlog.domain.errors import PromptError as PromptError
    from turnlog.domain.errors import PromptTooLongError as PromptTooLongError
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
    from turnlog.domain.errors import TurnInProgressError as TurnInProgressError
    from turnlog.domain.errors import TurnlogError as TurnlogError
    from turnlog.domain.errors import UnknownToolCallError as UnknownToolCallError
    from turnlog.domain.errors import UnreadableEventError as UnreadableEventError
    from turnlog.domain.recorded import RecordedEvent as RecordedEvent
    from turnlog.infrastructure.append.completion import Completion as Completion
    from turnlog.infrastructure.append.recording import Recording as Recording
    from turnlog.infrastructure.follow.following import Following as Following
    from turnlog.infrastructure.follow.live import Deltas as Deltas
    from turnlog.infrastructure.follow.live import Live as Live
    from turnlog.infrastructure.log import SessionLog as SessionLog
    from turnlog.infrastructure.principal import SYSTEM as SYSTEM
    from turnlog.infrastructure.principal import Principal as Principal
    from turnlog.infrastructure.session import Session as Session
    from turnlog.infrastructure.settings import Settings as Settings
    from turnlog.infrastructure.tables.projection import Projection as Projection
    from turnlog.projections.deltas import Delta as Delta
    from turnlog.projections.deltas import FunctionCallFragment as FunctionCallFragment
    from turnlog.projections.deltas import MessageCame as MessageCame
    from turnlog.projections.deltas import SessionChanged as SessionChanged
    from turnlog.projections.deltas import SessionGone as SessionGone
    from turnlog.projections.deltas import StepEnded as StepEnded
    from turnlog.projections.deltas import StepStarted as StepStarted
    from turnlog.projections.deltas import TextFragment as TextFragment
    from turnlog.projections.deltas import ToolCallFragment as ToolCallFragment
    from turnlog.projections.deltas import ToolResultCame as ToolResultCame
    from turnlog.projections.prompt.policy import PromptPolicy as PromptPolicy
    from turnlog.projections.report import ReapedStep as ReapedStep
    from turnlog.projections.report import RepairReport as RepairReport
    from turnlog.projections.usage_report import UsageReport as UsageReport
    from turnlog.projections.usage_report import UsageRow as UsageRow
    from turnlog.projections.view import Fault as Fault
    from turnlog.projections.view import SessionPage as SessionPage
    from turnlog.projections.view import SessionSummary as SessionSummary
    from turnlog.projections.view import SessionView as SessionView
    from turnlog.projections.view import Step as Step
    from turnlog.projections.view import Turn as Turn

__version__ = "0.1.0"

_HOMES = {
    "Fault": "projections.view",
    "PromptPolicy": "projections.prompt.policy",
    "PromptTooLongError": "domain.errors",
    "ReapedStep": "projections.report",
    "RepairReport": "projections.report",
    "AppendConflictError": "domain.errors",
    "AppendRefusedError": "domain.errors",
    "Completion": "infrastructure.append.completion",
    "Delta": "projections.deltas",
    "Deltas": "infrastructure.follow.live",
    "EmbeddedServersError": "domain.errors",
    "EmbeddedServersMissingError": "domain.errors",
    "Following": "infrastructure.follow.following",
    "InvalidInputError": "domain.errors",
    "Live": "infrastructure.follow.live",
    "LogClosedError": "domain.errors",
    "Principal": "infrastructure.principal",
    "Projection": "infrastructure.tables.projection",
    "ProjectionError": "domain.errors",
    "PromptError": "domain.errors",
    "RecordedEvent": "domain.recorded",
    "Recording": "infrastructure.append.recording",
    "SYSTEM": "infrastructure.principal",
    "SchemaVersionError": "domain.errors",
    "Session": "infrastructure.session",
    "SessionExistsError": "domain.errors",
    "SessionLog": "infrastructure.log",
    "SessionNotFoundError": "domain.errors",
    "SessionOwnedError": "domain.errors",
    "SessionPage": "projections.view",
    "SessionSummary": "projections.view",
    "SessionView": "projections.view",
    "Settings": "infrastructure.settings",
    "Step": "projections.view",
    "StepClosedError": "domain.errors",
    "StepError": "domain.errors",
    "StoreError": "domain.errors",
    "StoreUnavailableError": "domain.errors",
    "ToolCallConflictError": "domain.errors",
    "ToolResultConflictError": "domain.errors",
    "ToolResultError": "domain.errors",
    "Turn": "projections.view",
    "TurnInProgressError": "domain.errors",
    "TurnlogError": "domain.errors",
    "UnknownToolCallError": "domain.errors",
    "UnreadableEventError": "domain.errors",
    "UsageReport": "projections.usage_report",
    "UsageRow": "projections.usage_report",
    "FunctionCallFragment": "projections.deltas",
    "MessageCame": "projections.deltas",
    "SessionChanged": "projections.deltas",
    "SessionGone": "projections.deltas",
    "StepEnded": "projections.deltas",
    "StepStarted": "projections.deltas",
    "TextFragment": "projections.deltas",
    "ToolCallFragment": "projections.deltas",
    "ToolResultCame": "projections.deltas",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 the names are strings


def __getattr__(name: str) -> Any:
    # Loaded at first use: the drivers take longer to import than most commands take to run.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'turnlog' has no attribute {name!r}")
    value = getattr(import_module(f"turnlog.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
