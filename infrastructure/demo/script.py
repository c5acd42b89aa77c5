"""The conversations that the demo plays, as `corpus/demo.json` scripts them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_DEMO = Path(__file__).resolve().parent / "corpus" / "demo.json"


@dataclass(frozen=True, slots=True)
class DemoTurn:
    """What the user says and the streams that answer, one a completion request, in order.

    `then_final` names the tools whose final result arrives after the turn.
    """

    user: str
    streams: tuple[str, ...]
    then_final: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DemoConversation:
    """A title, a system message and the turns in order."""

    title: str
    system: str
    turns: tuple[DemoTurn, ...]


@dataclass(frozen=True, slots=True)
class DemoTool:
    """What a tool answers; `pending` comes first, and at once, when it is one that runs long."""

    final: str
    pending: str | None = None


@dataclass(frozen=True, slots=True)
class Demo:
    """The conversations in order, and every tool that they call, by name."""

    conversations: tuple[DemoConversation, ...]
    tools: Mapping[str, DemoTool] = field(hash=False)


def load_demo() -> Demo:
    """The demo that ships with the package."""
    data = json.loads(_DEMO.read_bytes())
    return Demo(
        conversations=tuple(_conversation(each) for each in data["conversations"]),
        tools={name: DemoTool(final=tool["final"], pending=tool["pending"]) for name, tool in data["tools"].items()},
    )


def _conversation(data: Mapping[str, Any]) -> DemoConversation:
    return DemoConversation(data["title"], data["system"], tuple(_turn(turn) for turn in data["turns"]))


def _turn(data: Mapping[str, Any]) -> DemoTurn:
    return DemoTurn(data["user"], tuple(data["streams"]), tuple(data["then_final"]))
