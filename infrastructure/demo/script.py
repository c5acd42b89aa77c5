"""The conversations that the demo plays, as `script.json` has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).resolve().parent / "script.json"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, and the recorded streams that answer, one a request, in order.

    `delay` is in seconds before each chunk; None is as recorded.
    """

    user: str
    streams: tuple[str, ...]
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A system message, and the turns in order."""

    system: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """What a tool answers. One that runs long answers `pending` first, at once."""

    final: str
    pending: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """The conversations in order, and every tool that they call, by name."""

    conversations: tuple[Conversation, ...]
    tools: Mapping[str, Tool] = field(hash=False)


def load_script() -> Script:
    """The script that ships with turnlog."""
    data = json.loads(_SCRIPT.read_bytes())
    return Script(
        conversations=tuple(_conversation(each) for each in data["conversations"]),
        tools={name: Tool(final=tool["final"], pending=tool["pending"]) for name, tool in data["tools"].items()},
    )


def _conversation(data: Mapping[str, Any]) -> Conversation:
    turns = (Turn(turn["user"], tuple(turn["streams"])) for turn in data["turns"])
    return Conversation(data["system"], tuple(turns))
