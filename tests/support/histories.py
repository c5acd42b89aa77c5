"""Histories without a server: messages imported, replayed and repaired, by the pure functions alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from turnlog.domain import commands as c
from turnlog.domain import events as e
from turnlog.domain import step_appends as appends
from turnlog.domain.decide import decide
from turnlog.domain.errors import ToolResultError
from turnlog.domain.evolve import evolve
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.inputs import checked_foreign
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import initial_state
from turnlog.projections.projector import Projector
from turnlog.projections.repair import corrections_of

ID = UUID(int=7)
AT = datetime(2026, 3, 1, tzinfo=UTC)
Json = dict[str, Any]
History = list[RecordedEvent]


def recorded(events: Iterable[e.SessionEvent], after: int = 0) -> History:
    """The events at the positions that they would have."""
    return [RecordedEvent(ID, position, position, event) for position, event in enumerate(events, after + 1)]


def imported(messages: list[Json], format: ForeignFormat = "chat") -> History:  # noqa: A002 the field's name
    """The events of an import."""
    given = checked_foreign(messages, format, 1 << 24)
    events: list[e.SessionEvent] = [e.SessionStarted(at=AT, user_id="u1")]
    events += [
        e.MessageImported(at=AT, message_id=f"imported-{number}", format=format, message=message)
        for number, message in enumerate(given, 1)
    ]
    return recorded(events)


def replayed(messages: list[Json]) -> History:
    """The events that a handler would have recorded, delta by delta. What is refused is not there."""
    state, events = initial_state(ID), list[e.SessionEvent]()
    for command in _commands(messages):
        with suppress(ToolResultError):
            for event in decide(state, command):
                events.append(event)
                state = evolve(state, event)
    return recorded(events)


def _commands(messages: list[Json]) -> Iterable[c.Command]:
    yield c.StartSession(AT, "u1")
    for number, message in enumerate(messages):
        content = message.get("content")
        if message["role"] == "tool":
            yield c.AddToolResult(AT, message["tool_call_id"], "final", _content(content))
        elif message["role"] == "assistant" and isinstance(content, str | None) and "name" not in message:
            yield from _step(f"s{number}", content, message.get("tool_calls") or [])
        else:
            calls = tuple(
                e.ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
                for call in message.get("tool_calls") or ()
            )
            yield c.AddMessage(
                AT, f"m{number}", message["role"], _content(content), message.get("name"), tool_calls=calls
            )


def _content(content: Any) -> Any:
    return tuple(content) if isinstance(content, list) else content


def _step(step: str, content: str | None, calls: list[Json]) -> Iterable[c.Command]:
    yield c.BeginCompletion(AT, step)
    for text in _cut(content or ""):
        yield appends.AppendText(AT, step, text)
    for index, call in enumerate(calls):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        yield appends.AppendToolCall(AT, step, index, call["id"], name)
        for fragment in _cut(arguments):
            yield appends.AppendToolCall(AT, step, index, arguments=fragment)
    yield c.EndCompletion(e.CompletionFinished(at=AT, step_id=step, finish_reason="stop"))


def _cut(text: str) -> list[str]:
    """The text in a few deltas: its first character, what is in the middle, and its last."""
    return [part for part in (text[:1], text[1:-1], text[1:][-1:]) if part]


def folded(events: History) -> Projector:
    """The fold of the events."""
    return Projector(events[0].session_id).apply_all(events)


def repaired(projector: Projector, repair_id: str = "r") -> tuple[e.Correction, ...]:
    """Repairs what the projector has folded, and returns the corrections."""
    corrections = tuple(correction for turn in projector.raw_turns() for correction in corrections_of(turn))
    event = e.SessionRepaired(at=AT, repair_id=repair_id, upto=projector.version, corrections=corrections)
    if corrections:
        projector.apply(RecordedEvent(projector.session_id, projector.version + 1, 0, event))
    return corrections


def alike(value: Any) -> Any:
    """The value with a list of one plain text as the text, which is the same to every API."""
    if isinstance(value, list):
        listed = [alike(item) for item in value]
        only = listed[0] if len(listed) == 1 and isinstance(listed[0], dict) else {}
        return only["text"] if set(only) == {"type", "text"} else listed
    return {key: alike(item) for key, item in value.items()} if isinstance(value, dict) else value


def calls_made_by(work: Callable[[], object]) -> int:
    """How many functions are called: a measure of time that is the same on every machine."""
    count = 0

    def counted(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
