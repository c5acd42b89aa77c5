"""Chat Completions streams without a server: read, decided and folded by the pure functions alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.support.histories import AT, ID, recorded
from turnlog.domain import commands as c
from turnlog.domain import events as e
from turnlog.domain.decide import decide
from turnlog.domain.evolve import evolve
from turnlog.domain.state import initial_state
from turnlog.infrastructure.append.chunks import ChatReader
from turnlog.infrastructure.append.reported import reported
from turnlog.projections.projector import Projector
from turnlog.projections.view import SessionView, Step

Json = dict[str, Any]


def delta(finish_reason: str | None = None, **fields: Any) -> Json:
    """A chunk with this delta."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish_reason}
    return {"id": "r-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def fragment(
    index: int | None = None, call_id: str | None = None, name: str | None = None, text: str | None = None, **more: Any
) -> Json:
    """A chunk with a fragment of a call. What is None is not there."""
    function = {key: value for key, value in (("name", name), ("arguments", text)) if value is not None}
    entry = {key: value for key, value in (("index", index), ("id", call_id)) if value is not None}
    return delta(tool_calls=[{**entry, "type": "function", "function": function, **more}])


def events_of(chunks: Iterable[Any]) -> list[e.SessionEvent]:
    """The events that a recording of these chunks stores, with those that are before them."""
    reader = ChatReader("s1", lambda: AT)
    state, events = initial_state(ID), list[e.SessionEvent]()

    def do(command: c.Command) -> None:
        nonlocal state
        for event in decide(state, command):
            events.append(event)
            state = evolve(state, event)

    do(c.StartSession(AT, "u1"))
    do(c.AddMessage(AT, "m1", "user", "Hello"))
    do(c.BeginCompletion(AT, "s1"))
    for chunk in chunks:
        for commands in reader.read(chunk):
            for command in commands:
                do(command)
    said: Json = {"at": AT, "step_id": "s1", **reported(reader)}
    error = reader.error or reader.missing_end()
    if error is None:
        do(c.EndCompletion(e.CompletionFinished(**said, finish_reason=reader.finish_reason)))
    else:
        do(c.EndCompletion(e.CompletionFailed(**said, error=error, failure=reader.failure)))
    return events


def view_of(chunks: Iterable[Any]) -> SessionView:
    """The view after a recording of these chunks."""
    return Projector(ID).apply_all(recorded(events_of(chunks))).view()


def step_of(chunks: Iterable[Any]) -> Step:
    """The step that a recording of these chunks is."""
    return view_of(chunks).turns[-1].steps[-1]


def calls_of(chunks: Iterable[Any]) -> list[tuple[str, str, str]]:
    """The calls of that step: id, name and arguments."""
    return [(call.id, call.name, call.arguments) for call in step_of(chunks).message.tool_calls]
