"""The words of a command line, parsed as far as no log is needed."""

from __future__ import annotations

from typing import Any

import click

from tests.fuzz.source import Source
from turnlog.domain.inputs import checked_day, checked_id, checked_range, checked_session_id
from turnlog.infrastructure.cli.app import COMMANDS, cli
from turnlog.infrastructure.cli.failures import masked

_LOADED = {name: cli.get_command(click.Context(cli), name) for name in COMMANDS if name != "demo"}
_WORDS = (
    "--json", "--after", "--limit", "--offset", "--user", "--since", "--until", "--by", "--model", "--dry-run", "--all",
    "--pace", "--session", "--title", "--format", "--api", "--max-tokens", "-", "--", "-1", "1e9", "nan", "inf",
    "2026-11-24", "00000000-0000-4000-8000-000000000000", "postgresql://u:p@h/d",
    "postgresql://u:p q@h:x/d?password=a b",
)  # fmt: skip


def parse(source: Source) -> None:
    """Parses the words of one command, and checks its values as the log would. Raises click's and turnlog's errors."""
    name = source.pick(sorted(_LOADED))
    command = _LOADED[name]
    assert command is not None
    words = [_word(source.text()) if source.chance(3) else source.pick(_WORDS) for _ in range(source.byte() % 7)]
    masked(" ".join(words))
    with command.make_context(name, words, resilient_parsing=False) as context:
        for field, value in context.params.items():
            _check(field, value)


def _word(text: str) -> str:
    """What a shell can pass of a text: bytes without NUL, of which those that are no UTF-8 arrive as surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8") + ("\udc80" if len(text) == 3 else "")


def _check(field: str, value: Any) -> None:
    match field:
        case "since" | "until":
            checked_day(value, field)
        case "session_id" if value is not None:
            checked_session_id(value)
        case "user" if value is not None:
            checked_id(value, field)
        case "limit" if value is not None:
            checked_range(value, field, 1, 100)
