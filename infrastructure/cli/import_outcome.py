"""What became of the conversations of an import."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import get_args

from turnlog.domain.errors import InvalidInputError, TurnlogError
from turnlog.infrastructure.cli.import_file import LINE, Place
from turnlog.infrastructure.repair.importing import Became

BECAME: tuple[Became, ...] = get_args(Became)


@dataclass
class Outcome:
    """What became of the conversations: the sessions, the formats that they were read in, and the reasons why bad ones
    were not imported, with their places."""

    became: Counter[Became] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    branches: int = 0
    messages: int = 0
    sessions: list[tuple[Place, str]] = field(default_factory=list)
    bad: list[tuple[Place, str]] = field(default_factory=list)


def reason_of(error: TurnlogError) -> str:
    """Why a line was not imported, without the word "line", which is printed anyway."""
    return error.reason if isinstance(error, InvalidInputError) and error.field == LINE else str(error)
