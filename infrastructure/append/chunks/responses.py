"""Reading the events of the Responses API, which are models of the openai package or plain dicts.

An answer consists of items, which events name by `output_index`. An item is a part, whose data is the item: verbatim,
but for the name, the id and the arguments of a call, and for the contents of a message, which are parts of their own.
The first of these has the rest of its message under `item`, the others its id as `item_id`; a message that has no
content yet is a text without a `type`. What an item does not have is in a list `deltas`: pieces of what only its end
has whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from turnlog.domain.limits import MAX_CALL_ID_LENGTH
from turnlog.infrastructure.append.chunks.events import plain, rest_of
from turnlog.infrastructure.append.chunks.fields import (
    Fields,
    arguments_of,
    as_object,
    fields_of,
    list_of,
    short_text,
    text_of,
)
from turnlog.infrastructure.append.chunks.item_reader import ItemReader
from turnlog.infrastructure.append.chunks.items import OUTPUT, TEXTS, item_type
from turnlog.infrastructure.append.chunks.known import KnownPart
from turnlog.infrastructure.append.chunks.reader import Sized

_TEXT_EVENTS = {f"{key}.{end}": (key, end == "done") for key in TEXTS for end in ("delta", "done")}
_AUDIO = {"response.audio.delta": "data", "response.audio.transcript.delta": "transcript"}
_SILENT = ("keepalive", "ping", "response.audio.done", "response.audio.transcript.done")
_STATES = ("in_progress", "searching", "interpreting", "generating", "compacting", "completed", "incomplete", "failed")
"""The ends of the types of events that say how far an item is, and no more."""
_ENDS = ("completed", "incomplete", "failed", "cancelled", "done")
_OF_AN_EVENT = ("type", "sequence_number", "output_index", "item_id", "obfuscation")
_OF_THE_RESPONSE = (
    *("id", "object", "created_at", "completed_at", "model", "status", "output", "output_text", "usage", "error"),
    # What it says again of the request.
    *("background", "frequency_penalty", "instructions", "max_output_tokens", "max_tool_calls", "metadata"),
    *("parallel_tool_calls", "presence_penalty", "prompt", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "reasoning", "safety_identifier", "store", "temperature", "text", "tool_choice"),
    *("tools", "top_logprobs", "top_p", "truncation", "user"),
)
"""The fields of a response that are recorded elsewhere, or not at all."""


class ResponsesReader(ItemReader):
    """Reads the events of one response."""

    def __init__(self, step_id: str, now: Callable[[], datetime]) -> None:
        super().__init__(step_id, now)
        self._audio: KnownPart | None = None

    def commands(self, chunk: Any) -> Iterator[Sized]:
        """See StreamReader."""
        event = fields_of(chunk)
        kind = text_of(event.get("type"))
        if kind in _TEXT_EVENTS:
            yield from self._text(chunk, event, *_TEXT_EVENTS[kind])
            return
        match kind:
            case "response.output_item.added":
                yield from self.item_added(event)
            case "response.output_item.done":
                yield from self.item_done(event)
            case "response.content_part.added" | "response.content_part.done":
                yield from self._content_part(event, is_done=kind.endswith("done"))
            case "response.reasoning_summary_part.added" | "response.reasoning_summary_part.done":
                yield from self._summary_part(event, is_done=kind.endswith("done"))
            case "response.output_text.annotation.added":
                item = yield from self.item_of(event, "message")
                part = yield from self.part_of_text(item, OUTPUT, event.get("content_index") or 0)
                yield from self.extend(part, {"annotations": [plain(event.get("annotation"))]})
            case "error":
                self.failed(event.get("error") or rest_of(event, _OF_AN_EVENT), event)
            case _ if kind in _AUDIO:
                if self._audio is None:
                    self._audio = yield from self.add_part("audio", {})
                yield from self.write(self._audio, _AUDIO[kind], text_of(event.get("delta")))
            case _ if kind not in _SILENT:
                yield from self._other(chunk, event, kind)

    # Of an item

    def _text(self, chunk: Any, event: Fields, key: str, is_done: bool) -> Iterator[Sized]:
        text = TEXTS[key]
        item = self.find_item(event, text.item)
        if item is None:
            item = yield from self.item_of(event, text.item)
        number = (event.get(text.number) or 0) if text.number else 0
        if is_done:
            yield from self.text_is(item, key, number, arguments_of(event.get(text.whole)), chunk)
        else:
            yield from self.text_goes_on(item, key, number, arguments_of(event.get("delta")))
        if logprobs := event.get("logprobs"):
            part = yield from self.part_of_text(item, key, number)
            say = self.tell if is_done else self.extend
            yield from say(part, {"logprobs": plain(logprobs)})

    def _content_part(self, event: Fields, *, is_done: bool) -> Iterator[Sized]:
        content = as_object(event.get("part"), "chunk") or {}
        of_reasoning = content.get("type") == "reasoning_text"
        item = yield from self.item_of(event, "reasoning" if of_reasoning else "message")
        yield from self.content_is(item, event.get("content_index") or 0, content, announced=not is_done)

    def _summary_part(self, event: Fields, *, is_done: bool) -> Iterator[Sized]:
        item = yield from self.item_of(event, "reasoning")
        part = as_object(event.get("part"), "chunk") or {}
        number = event.get("summary_index") or 0
        yield from self.reasoning_is(item, "summary", number, part, is_done=is_done)

    def _other(self, chunk: Any, event: Fields, kind: str) -> Iterator[Sized]:
        """An event of the response, one that says how far an item is, one with a piece of what only the end of its item
        has whole, or one of which nothing is known."""
        if kind.startswith("response.") and (response := event.get("response")) is not None:
            yield from self._response(kind.removeprefix("response."), fields_of(response))
            return
        if event.get("output_index") is None and event.get("item_id") is None:
            yield from self.keep(chunk)
            return
        item = yield from self.item_of(event, item_type(kind))
        state = kind.rpartition(".")[2]
        brought = rest_of(event, _OF_AN_EVENT)
        if brought or state not in _STATES:
            yield from self.extend(item.part, {"deltas": [{"type": kind, **brought}]})
        elif "status" in item.part.data and not item.is_done:
            yield from self.tell(item.part, {"status": state})

    # The response

    def _response(self, kind: str, response: Fields) -> Iterator[Sized]:
        self.model = self.model or short_text(response.get("model"), "model") or None
        self.response_id = self.response_id or short_text(response.get("id"), "id", MAX_CALL_ID_LENGTH) or None
        self.usage = as_object(response.get("usage")) or self.usage
        yield from self.tell_rest(rest_of(response, _OF_THE_RESPONSE))
        if kind not in _ENDS:
            return
        for index, item in enumerate(list_of(response.get("output"))):
            yield from self.item_at_end(index, fields_of(item), item)
        self._has_ended = True
        status = text_of(response.get("status")) or "completed" if kind == "done" else kind
        if status == "failed" or response.get("error"):
            self.failed(response.get("error") or {"message": "the response has failed"})
            return
        details = fields_of(response.get("incomplete_details"))
        reason = short_text(details.get("reason"), "reason") if status == "incomplete" else ""
        self.finish_reason = reason or short_text(status, "status")
