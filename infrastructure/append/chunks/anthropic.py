"""Reading the events of Anthropic's Messages API, which are models of the anthropic package or plain dicts.

An answer consists of blocks, which events name by their index; each is a part. The data of a part is its block without
its text: `{**data, "text": text}` is the block again. What a block does not have stands under names of its own:
`input_json` is the input of a server's tool in the pieces in which it came, `deltas` are those that nothing is known
of.

The package's message stream gives events of its own between those of the API, which repeat them with what came so far:
they say nothing new.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from turnlog.domain.limits import MAX_CALL_ID_LENGTH
from turnlog.domain.parts import PartKind
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.append.chunks.events import EventReader, Opening, plain, rest_of, without
from turnlog.infrastructure.append.chunks.fields import (
    Fields,
    arguments_of,
    as_object,
    fields_of,
    short_text,
    text_of,
)
from turnlog.infrastructure.append.chunks.known import KnownPart
from turnlog.infrastructure.append.chunks.reader import Sized

EVENTS = (
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
)
"""The types with which a stream may begin, or may go on where another connection has left it."""
_REPEATING = ("text", "thinking", "signature", "citation", "input_json", "compaction")
"""The types of the events that a message stream adds."""
_OF_THE_MESSAGE = ("type", "role", "id", "model", "usage", "stop_reason")
_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""Deltas that continue a text, and the field that has it."""


class AnthropicReader(EventReader):
    """Reads the events of one message."""

    api = "anthropic"

    def __init__(self, step_id: str, now: Callable[[], datetime]) -> None:
        super().__init__(step_id, now)
        self._blocks = dict[Any, KnownPart]()
        self._has_arguments = set[int]()
        """The parts of tools whose input came in pieces."""

    def commands(self, chunk: Any) -> Iterator[Sized]:
        """See StreamReader."""
        event = fields_of(chunk)
        match event.get("type"):
            case "content_block_delta":
                yield from self._delta(event.get("index"), fields_of(event.get("delta")))
            case "content_block_start":
                index = event.get("index")
                self._blocks[index] = yield from self._block(as_object(event.get("content_block"), "chunk") or {})
            case "content_block_stop":
                yield from self._stop(self._blocks.get(event.get("index")))
            case "message_start":
                yield from self._message(fields_of(event.get("message")))
            case "message_delta":
                yield from self._message(fields_of(event.get("delta")))
                self._report(event.get("usage"))
                yield from self.tell_rest(rest_of(event, ("type", "delta", "usage")))
            case "message_stop":
                self._has_ended = True
            case "error":
                self.failed(event.get("error"), event)
            case "ping":
                pass
            case kind if kind not in _REPEATING:
                yield from self.keep(chunk)

    # The message

    def _message(self, message: Fields) -> Iterator[Sized]:
        """What is said of the message: with its beginning, and before its end."""
        self.model = self.model or short_text(message.get("model"), "model") or None
        self.response_id = self.response_id or short_text(message.get("id"), "id", MAX_CALL_ID_LENGTH) or None
        self.finish_reason = short_text(message.get("stop_reason"), "stop_reason") or self.finish_reason
        self._report(message.get("usage"))
        yield from self.tell_rest(rest_of(message, _OF_THE_MESSAGE))

    def _report(self, usage: Any) -> None:
        """The counts before the end are totals, too: they replace those of the beginning."""
        if (reported := as_object(usage)) is not None:
            told = {name: value for name, value in reported.items() if value is not None}
            self.usage = {**reported, **(self.usage or {}), **told}

    # Its blocks

    def _block(self, block: JsonObject) -> Opening:
        block = without(block, "parsed_output")  # it is the package's
        match block.get("type"):
            case "text" | "thinking" as name:
                kind: PartKind = "text" if name == "text" else "reasoning"
                part = yield from self.add_part(kind, without(block, name))
                yield from self.say(part, text_of(block.get(name)))
            case "redacted_thinking":
                part = yield from self.add_part("reasoning", block)
            case "tool_use":
                data = without(block, "id", "name") if block.get("input") else without(block, "id", "name", "input")
                part = yield from self.add_call(block.get("id"), block.get("name"), data)
            case name:
                if name == "fallback":  # the model that has answered in the end
                    served = fields_of(block.get("to")).get("model")
                    self.model = short_text(served, "model") or self.model
                part = yield from self.add_part(_kind(text_of(name)), block)
        return part

    def _delta(self, index: Any, delta: Fields) -> Iterator[Sized]:
        kind = delta.get("type")
        part = self._blocks.get(index)
        if part is None:  # its beginning was not in this stream
            part = self._blocks[index] = yield from self._block({"type": _BLOCKS.get(text_of(kind), "unknown")})
        if kind in _PIECES:
            field = _PIECES[kind]
            yield from self._piece(part, kind, arguments_of(delta.get(field)))
            if isinstance(delta, dict) and len(delta) > 2 and len(rest := rest_of(delta, (field,))) > 1:
                yield from self.extend(part, {"deltas": [rest]})
        elif kind == "signature_delta" and part.kind == "reasoning":
            yield from self.tell(part, {"signature": text_of(delta.get("signature"))})
        elif kind == "citations_delta":
            yield from self.extend(part, {"citations": [plain(delta.get("citation"))]})
        elif kind == "compaction_delta":
            yield from self.tell(part, rest_of(delta, ("type",)))
        else:
            yield from self.extend(part, {"deltas": [rest_of(delta)]})

    def _piece(self, part: KnownPart, kind: str, text: str) -> Iterator[Sized]:
        if (part.kind, kind) in _TEXTS:
            yield from self.say(part, text)
        elif part.kind == "tool_call" and kind == "input_json_delta":
            if text:
                self._has_arguments.add(part.number)
            yield from self.say(part, text)
        else:
            yield from self.write(part, "input_json" if kind == "input_json_delta" else _PIECES[kind], text)

    def _stop(self, part: KnownPart | None) -> Iterator[Sized]:
        if part is None:
            return
        if part.kind == "tool_call" and part.number not in self._has_arguments:
            self._has_arguments.add(part.number)
            yield from self.say(part, json.dumps(part.data.get("input") or {}, ensure_ascii=False))
        elif isinstance(pieces := part.data.get("input_json"), str):
            whole = _parsed(pieces)
            if whole is not None:
                yield from self.tell(part, {"input": whole})


_BLOCKS = {"text_delta": "text", "citations_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}
"""The block that a delta belongs to if nothing else is known of it."""
_TEXTS = {("text", "text_delta"), ("reasoning", "thinking_delta")}


def _kind(name: str) -> PartKind:
    """The kind of a block that has neither text nor a call of ours."""
    if name.endswith("_tool_result"):
        return "server_result"
    return "server_call" if name in ("server_tool_use", "mcp_tool_use") else "opaque"


def _parsed(text: str) -> JsonObject | None:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return as_object(parsed, "chunk")
