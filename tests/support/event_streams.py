"""Recorded streams of typed events, of the Responses API and of Anthropic's, and what is read of them without a store.

Each file is a stream, one event a line, written after the shapes of public recordings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

from turnlog import RecordedEvent, SessionView, Step
from turnlog.domain.commands import AddMessage, BeginCompletion, Command, StartSession
from turnlog.domain.decide import decide
from turnlog.domain.events import (
    CompletionFinished,
    CompletionInterrupted,
    MessageAdded,
    SessionEvent,
    ToolResultAdded,
)
from turnlog.domain.evolve import evolve
from turnlog.domain.state import initial_state
from turnlog.infrastructure.append.chunks import StreamReader, reader_for
from turnlog.projections.parts import Part
from turnlog.projections.projector import Projector

EventApi = Literal["responses", "anthropic"]
ID = UUID(int=15)
AT = datetime(2026, 1, 1, tzinfo=UTC)
_DATA = Path(__file__).resolve().parent.parent / "data"


class EventStream(NamedTuple):
    """A recorded stream."""

    api: EventApi
    name: str
    events: list[dict[str, Any]]

    def __str__(self) -> str:
        return f"{self.api}: {self.name}"


@cache
def event_streams(api: EventApi) -> list[EventStream]:
    """The streams of an API."""
    files = sorted((_DATA / api).glob("*.jsonl"))
    return [EventStream(api, file.stem, [json.loads(line) for line in file.read_text().splitlines()]) for file in files]


EVENT_STREAMS = [*event_streams("responses"), *event_streams("anthropic")]


class Read(NamedTuple):
    """What was read: the events, how many there were after each chunk, the step as it was then, and what the reader
    had to say for its end; and the reader."""

    events: list[RecordedEvent]
    counts: list[int]
    after: list[Step]
    reported: list[Any]
    reader: StreamReader

    @property
    def step(self) -> Step:
        return self.after[-1]


_REPORTED = ("model", "response_id", "finish_reason", "usage", "error", "failure")


_READ = dict[str, Read]()


def asked_again(events: Sequence[RecordedEvent], reader: StreamReader) -> SessionView:
    """The session after these events of a stream: its step has ended, as its provider says or broken off, its whole
    calls have results, and the user has said more."""
    last, kept = len(events), [recorded.event for recorded in events]
    whole = reader.finish_reason is not None
    kept.append(
        CompletionFinished(at=AT, step_id="s1", finish_reason=reader.finish_reason)
        if whole
        else CompletionInterrupted(at=AT, step_id="s1", reason="stopped")
    )
    view = Projector(ID).apply_all(_numbered(kept)).view()
    kept += (
        ToolResultAdded(at=AT, step_id="s1", index=call.index, call_id=call.id, status="final", content="ok")
        for call in view.turns[-1].steps[-1].message.tool_calls
        if not call.cut_off
    )
    kept.append(MessageAdded(at=AT, message_id=f"m{last}", role="user", content="And?"))
    return Projector(ID).apply_all(_numbered(kept)).view()


def _numbered(events: Iterable[SessionEvent]) -> list[RecordedEvent]:
    return [RecordedEvent(ID, at, at, event) for at, event in enumerate(events, 1)]


def read_again(stream: EventStream) -> Read:
    """What is read of a stream of the corpus, as dicts."""
    if str(stream) not in _READ:
        _READ[str(stream)] = read(stream.events)
    return _READ[str(stream)]


def read(chunks: Iterable[Any]) -> Read:
    """Reads a stream into a step in memory."""
    state, events, counts, after = initial_state(ID), list[RecordedEvent](), list[int](), list[Step]()
    projector, reported = Projector(ID), list[Any]()

    def do(*commands: Command) -> None:
        nonlocal state
        for command in commands:
            for event in decide(state, command):
                state = evolve(state, event)
                recorded = RecordedEvent(ID, len(events) + 1, len(events) + 1, event)
                events.append(recorded)
                projector.apply(recorded)

    do(StartSession(AT, "u1"), AddMessage(AT, "m1", "user", "Go."), BeginCompletion(AT, "s1"))
    reader: StreamReader | None = None
    for chunk in chunks:
        reader = reader or reader_for(chunk, "s1", lambda: AT)
        for piece in reader.read(chunk):
            do(*piece)
        view = projector.view()
        assert view.faults == ()
        after.append(view.turns[-1].steps[-1])
        counts.append(len(events))
        reported.append([getattr(reader, name) for name in _REPORTED])
    assert reader is not None
    return Read(events, counts, after, reported, reader)


def text_of_parts(parts: Iterable[Part], kind: str) -> str:
    """The texts of the parts of a kind."""
    return "".join(part.text or "" for part in parts if part.kind == kind)


def blocks_of(step: Step) -> list[dict[str, Any]]:
    """The blocks of an answer of Anthropic's, put together from its parts."""
    return [_block(part, step) for part in step.message.parts if "type" in part.data]


def _block(part: Part, step: Step) -> dict[str, Any]:
    data = {name: value for name, value in part.data.items() if name not in ("input_json", "deltas")}
    if part.kind == "tool_call":
        call = next(call for call in step.message.tool_calls if call.index == part.call)
        return {"input": {}, **data, "id": call.id, "name": call.name} | _input(call.arguments)
    texts = {"text": "text", "thinking": "thinking"}
    return data | ({texts[data["type"]]: part.text} if data["type"] in texts else {})


def _input(arguments: str) -> dict[str, Any]:
    try:
        return {"input": json.loads(arguments)}
    except ValueError:
        return {}


def items_of(step: Step) -> list[dict[str, Any]]:
    """The items of an answer of the Responses API, put together from its parts."""
    items = list[dict[str, Any]]()
    messages = dict[Any, dict[str, Any]]()
    for part in step.message.parts:
        data = {name: value for name, value in part.data.items() if name not in ("deltas", "item", "item_id")}
        if "item" in part.data:
            item = messages[part.data["item"].get("id")] = {**part.data["item"], "content": []}
            items.append(item)
        if part.kind == "tool_call":
            call = next(call for call in step.message.tool_calls if call.index == part.call)
            whole = {"input": call.arguments} if call.custom else {"arguments": call.arguments}
            items.append({**data, "call_id": call.id, "name": call.name, **whole})
        elif part.kind in ("text", "refusal"):
            if "type" in data or part.text:
                held = part.data["item"].get("id") if "item" in part.data else part.data["item_id"]
                kind = "output_text" if part.kind == "text" else "refusal"
                content = {"type": kind, **data, "text" if part.kind == "text" else "refusal": part.text}
                messages[held]["content"].append(content)
        elif "type" in data:
            items.append(data)
    return items


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values in a JSON value that are neither objects nor lists, nor empty, and where each stands."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    elif value not in (None, ""):
        yield path, value


def plain(value: Any) -> Any:
    """Without what is null or empty, which a message may have or not."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if item not in (None, [])}
    return [plain(item) for item in value] if isinstance(value, list) else value


def outcome(done: Read) -> dict[str, Any]:
    """What a stream has come to."""
    message = done.step.message
    parts = [plain(part.model_dump()) for part in message.parts]
    return {"parts": parts, "calls": message.tool_calls, "reported": plain(done.reported[-1])}
