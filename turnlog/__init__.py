"""turnlog: an event-sourced log for LLM conversations.

    from turnlog import SessionLog, SYSTEM

Every error derives from `TurnlogError`; the tree is in `turnlog.domain.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnlog.domain.errors import InvalidInputError as InvalidInputError
    from turnlog.domain.errors import SessionNotFoundError as SessionNotFoundError
    from turnlog.domain.errors import TurnlogError as TurnlogError
    from turnlog.domain.recorded import RecordedEvent as RecordedEvent
    from turnlog.infrastructure.completion import Completion as Completion
    from turnlog.infrastructure.completion import Recording as Recording
    from turnlog.infrastructure.log import SessionLog as SessionLog
    from turnlog.infrastructure.principal import SYSTEM as SYSTEM
    from turnlog.infrastructure.principal import Principal as Principal
    from turnlog.infrastructure.session import Session as Session
    from turnlog.infrastructure.settings import Settings as Settings
    from turnlog.projections.view import SessionPage as SessionPage
    from turnlog.projections.view import SessionSummary as SessionSummary
    from turnlog.projections.view import SessionView as SessionView
    from turnlog.projections.view import Step as Step
    from turnlog.projections.view import Turn as Turn

__version__ = "0.1.0"

_HOMES = {
    "Completion": "infrastructure.completion",
    "InvalidInputError": "domain.errors",
    "Principal": "infrastructure.principal",
    "RecordedEvent": "domain.recorded",
    "Recording": "infrastructure.completion",
    "SYSTEM": "infrastructure.principal",
    "Session": "infrastructure.session",
    "SessionLog": "infrastructure.log",
    "SessionNotFoundError": "domain.errors",
    "SessionPage": "projections.view",
    "SessionSummary": "projections.view",
    "SessionView": "projections.view",
    "Settings": "infrastructure.settings",
    "Step": "projections.view",
    "Turn": "projections.view",
    "TurnlogError": "domain.errors",
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
