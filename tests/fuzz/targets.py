"""The fuzzers, by name. Each takes any bytes, and raises if something else than a typed error comes out of them, or a
result that is not valid."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from io import BytesIO
from types import SimpleNamespace
from typing import Any, get_args

import click
from openai._models import construct_type
from openai.types.chat import ChatCompletionChunk

from tests.fuzz.cached import cache_entries
from tests.fuzz.command_line import parse
from tests.fuzz.folding import AT, ID, LIMIT, MAPPER, Conversation, check_history
from tests.fuzz.pages import text_lane
from tests.fuzz.source import Source
from turnlog.domain import commands as c
from turnlog.domain import events as e
from turnlog.domain import step_appends as appends
from turnlog.domain.errors import InvalidInputError, TurnlogError, UnreadableEventError
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.inputs import AUTO, checked_content, checked_foreign, checked_object
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import json_copy
from turnlog.infrastructure.append.checked_commands import (
    checked_increment,
    checked_message,
    checked_tool_result,
    checked_usage,
)
from turnlog.infrastructure.append.chunks import ChatReader
from turnlog.infrastructure.cli.chunk_file import chunks as chunks_of_file
from turnlog.infrastructure.cli.import_file import Wanted, found_in_file
from turnlog.infrastructure.cli.script_file import read_script
from turnlog.infrastructure.repair.exported_lines import is_header, parsed_events, parsed_header
from turnlog.infrastructure.repair.importing import checked_conversation
from turnlog.projections.prompt.image_size import image_size
from turnlog.projections.prompt.media_tokens import MEDIA_TOKENS
from turnlog.projections.prompt.tokens import TOKENS_PER_MESSAGE, estimated_tokens

Target = Callable[[bytes], None]

CHUNK = ("choices", "delta", "content", "tool_calls", "index", "id", "function", "name", "arguments", "finish_reason")
MORE_OF_A_CHUNK = (
    "usage", "model", "error", "message", "object", "type", "refusal", "reasoning", "reasoning_content", "text",
    "reasoning_details", "signature", "data", "thinking", "function_call", "custom", "input", "annotations", "role",
    "audio", "transcript", "images", "extra_content", "detail", "code", "logprobs", "object", "error", "plan",
)  # fmt: skip
MESSAGE = ("role", "content", "tool_calls", "tool_call_id", "id", "function", "name", "arguments", "type", "text")
MORE_OF_A_MESSAGE = (
    "refusal", "function_call", "tool_use_id", "input", "is_error", "source", "media_type", "data", "url", "image_url",
    "call_id", "output", "summary", "parts", "kind", "mapping", "author", "content_type", "parent", "parentId",
    "parentUuid", "uuid", "message", "history", "currentId", "current_node", "chat_messages", "isCreatedByUser", "lc",
    "kwargs", "toolInvocations", "toolCallId", "state", "part_kind", "functionCall", "contents", "children",
    "recipient", "messageId", "parentMessageId", "timestamp", "tool_call", "think", "extracted_content", "files",
    "attachments", "encrypted_content", "thinking", "signature", "sequence", "session_id", "sender",
    "created_at", "messages", "user_id", "title", "format", "file", "file_id", "cache_control", "status", "phase",
)  # fmt: skip
FORMATS: tuple[ForeignFormat, ...] = get_args(ForeignFormat)


def chunks(data: bytes) -> None:
    """A stream of a provider, in chunks of any shape: JSON, objects with attributes, or models of openai's package."""
    source = Source(data)
    shape = source.pick((*[_as_it_is] * 5, as_objects, as_objects, _as_model))
    _record([shape(_chunk(source)) for _ in range(1 + source.byte() % 6)], finish=not source.chance(4))


def _as_it_is(value: Any) -> Any:
    return value


def as_objects(value: Any, depth: int = 6) -> Any:
    """The value with objects in place of dicts, down to some depth."""
    if isinstance(value, dict) and depth:
        return SimpleNamespace(**{name: as_objects(item, depth - 1) for name, item in value.items()})
    return [as_objects(item, depth - 1) for item in value] if isinstance(value, list) and depth else value


def _as_model(value: Any) -> Any:
    """What the openai package makes of a chunk, which it does not check."""
    with suppress(Exception):
        return construct_type(type_=ChatCompletionChunk, value=value)
    return value


def _chunk(source: Source) -> Any:
    keys = CHUNK + MORE_OF_A_CHUNK
    shape = source.byte() % 8
    if shape == 0:
        return source.json(keys)
    delta: Any = source.object(keys, 3)
    if shape > 4:
        call = {"index": source.json((), 0) if shape == 7 else source.byte() % 3, "id": source.text()}
        call["function"] = {"name": source.text(), "arguments": source.json(keys, 2)}
        delta["tool_calls"] = [call, *source.many(lambda: source.json(keys, 2), 2)]
    choice = {"delta": delta, "finish_reason": source.text() or None}
    return {"choices": [choice, *source.many(lambda: source.json(keys, 3), 1)], **source.object(MORE_OF_A_CHUNK, 2, 2)}


def chunk_files(data: bytes) -> None:
    """A file that is given to `turnlog record`."""
    try:
        found = [chunk for _, chunk in chunks_of_file(BytesIO(data))]
    except TurnlogError:
        return
    _record(found[:50], finish=True)


def _record(stream: list[Any], *, finish: bool) -> None:
    talk, reader = Conversation(), ChatReader("s1", lambda: AT)
    talk.do(c.BeginCompletion(AT, "s1"))
    for chunk in stream:
        try:
            pieces: Iterable[Any] = reader.read(chunk)
            for piece in pieces:
                talk.do(*(piece if isinstance(piece, list) else [piece]))
        except TurnlogError:
            break
    if finish:
        finished = e.CompletionFinished(
            at=AT, step_id="s1", finish_reason=reader.finish_reason, usage=reader.usage, model=reader.model
        )
        talk.do(c.EndCompletion(finished))
    talk.check()


def importers(data: bytes) -> None:
    """Messages of another system, of any shape."""
    source = Source(data)
    format_ = source.pick(FORMATS)
    keys = MESSAGE + MORE_OF_A_MESSAGE
    _import([source.json(keys) if source.chance(16) else _message(source) for _ in range(source.byte() % 7)], format_)


def _message(source: Source) -> Any:
    keys = MESSAGE + MORE_OF_A_MESSAGE
    message: dict[str, Any] = {
        "role": source.pick(("user", "assistant", "tool", "system", "developer", "function", "x")),
        "content": "",
    }
    if source.chance(2):
        message["content"] = source.many(lambda: source.object(keys, 2), 4)
    if source.chance(3):
        message["tool_calls"] = source.many(lambda: source.object(keys, 2), 3)
    return message | source.object(keys, 3, 4)


def import_lines(data: bytes) -> None:
    """A line of a file that is given to `turnlog import`."""
    format_ = FORMATS[data[0] % 4] if data and data[0] < 128 else AUTO
    with suppress(TurnlogError):
        for _, read in found_in_file(BytesIO(data[1:]), Wanted(format_, None, branches=False, limit=LIMIT)):
            found = checked_conversation(read().conversation, LIMIT)
            _import(found.messages[:20], found.format)


def _import(messages: list[Any], format_: ForeignFormat) -> None:
    try:
        given = checked_foreign(messages, format_, LIMIT)
    except TurnlogError:
        return
    imports = [c.ImportMessage(AT, f"imported-{at}", format_, message) for at, message in enumerate(given, 1)]
    talk = Conversation()
    assert talk.do(*imports)
    talk.check()


def calls(data: bytes) -> None:
    """What callers give to a session, of any type."""
    source, talk = Source(data), Conversation()
    while source and len(talk.events) < 60:
        with suppress(TurnlogError):
            talk.do(_call(source, talk.open_step))
    talk.check()


def _call(source: Source, step: str | None) -> Any:
    value = partial(source.json, MESSAGE + MORE_OF_A_MESSAGE, 3)
    match source.byte() % 10:
        case 0:
            role = source.pick(("user", "system", "assistant", "function", "developer"))
            return checked_message(role, value(), source.text() or None, None, None, value(), value(), LIMIT)
        case 1:
            return checked_message(value(), value(), value(), value(), value(), None, None, LIMIT)
        case 2:
            return checked_tool_result(source.text(), value(), source.pick(("final", "pending", "error")), step, LIMIT)
        case 3:
            return checked_increment(value(), value(), source.number(), source.text() or None)
        case 4:
            return checked_usage(value(), value(), source.text() or None, {"prompt_tokens": source.number()})
        case 5:
            return c.SetMetadata(AT, checked_object(value(), "patch"))
        case 6:
            return c.BeginCompletion(AT, f"s{source.byte()}")
        case 7:
            return appends.AppendToolCall(
                AT, step or "s", source.byte() % 3, source.text(), source.text(), source.text()
            )
        case 8:
            return c.EndCompletion(e.CompletionFinished(at=AT, step_id=step or "s", finish_reason=source.text()))
        case _:
            return c.AddMessage(AT, source.text(), "user", checked_content(value(), LIMIT))


def stored_events(data: bytes) -> None:
    """Bodies that the log holds, of any topic and shape, and the fold of those that can be read."""
    source, talk = Source(data), Conversation()
    kinds = [kind for kind in e.EVENT_TYPES if kind is not e.SessionStarted]
    while source and len(talk.events) < 40:
        kind = source.pick(kinds)
        body = {"at": "2026-01-01T00:00:00Z", "step_id": source.pick(("s1", "s2", "s3"))}
        body |= {name: source.json(MESSAGE, 3) for name in kind.model_fields if name not in body}
        with suppress(UnreadableEventError, RecursionError, ValueError):  # the latter two of json.dumps
            written = json.dumps(body, ensure_ascii=source.chance(2), allow_nan=False).encode("utf-8", "replace")
            event = MAPPER.event(kind.topic, written)
            talk.events.append(RecordedEvent(ID, len(talk.events) + 1, 0, event))
    check_history(talk.events, as_written=False)


def broken_bodies(data: bytes) -> None:
    """A row of the log with any topic and body."""
    topic = e.EVENT_TYPES[data[0] % len(e.EVENT_TYPES)].topic if data else "x"
    with suppress(UnreadableEventError):
        MAPPER.event(topic, data[1:])
    with suppress(UnreadableEventError):
        MAPPER.event(data[:20].decode("latin-1"), data[1:])


def exported_lines(data: bytes) -> None:
    """A file that `turnlog import` takes for an export: a header and events, in any bytes."""
    lines = data.split(b"\n")
    for line in lines:
        is_header(line)
        with suppress(InvalidInputError):
            parsed_header(line)
    source = Source(data)
    with suppress(UnreadableEventError, InvalidInputError, RecursionError, ValueError):  # the latter two of json.dumps
        body = {name: source.json(MESSAGE, 3) for name in ("at", "user_id", "title", "content", "text", "calls")}
        kind = source.pick(e.EVENT_TYPES)
        line = json.dumps({"position": source.pick((1, 2, True, "1")), "topic": kind.topic, "event": body})
        (one, *_) = parsed_events([line, *lines], after=0)
        MAPPER.event(one.topic, one.event)


def token_counts(data: bytes) -> None:
    """Messages of any shape, as they are counted for a window."""
    source = Source(data)
    parts = [{"type": source.pick(tuple(MEDIA_TOKENS)), **_fields(source)} for _ in range(1 + source.byte() % 3)]
    messages = [{"role": "user", "content": parts}, _fields(source)]
    try:
        messages = json_copy(messages, "messages")  # a prompt has nothing deeper
    except InvalidInputError:
        return
    assert estimated_tokens(messages) >= 2 * TOKENS_PER_MESSAGE
    image_size(source.pick((b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF0000WEBPVP8X")) + source.rest())


def _fields(source: Source) -> dict[str, Any]:
    return {source.pick(MORE_OF_A_MESSAGE): source.json(MORE_OF_A_MESSAGE, 4) for _ in range(source.byte() % 4)}


def scripts(data: bytes) -> None:
    """A file that is given to `turnlog provider`."""
    with suppress(TurnlogError):
        read_script(BytesIO(data))


def options(data: bytes) -> None:
    """The command line: any words after a command, up to where it would open a log."""
    with suppress(click.ClickException, click.exceptions.Exit, TurnlogError):
        parse(Source(data))


TARGETS: dict[str, Target] = {
    "chunks": chunks,
    "chunk_files": chunk_files,
    "importers": importers,
    "import_lines": import_lines,
    "calls": calls,
    "stored_events": stored_events,
    "broken_bodies": broken_bodies,
    "exported_lines": exported_lines,
    "token_counts": token_counts,
    "cache_entries": cache_entries,
    "text_lane": text_lane,
    "scripts": scripts,
    "options": options,
}
