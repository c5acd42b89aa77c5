"""Reading Chat Completions chunks, which are models of the openai package or plain dicts.

Only this module knows what such a chunk looks like, in the shapes that providers really send.

A fragment of a tool call belongs to the call of its index. The same index with another id begins a new call only if a
name comes with it (Mistral and some relays); without a name it continues the call (LM Studio). A fragment without an
index belongs to the call of its id, or else to the last call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from turnlog.domain.commands import (
    AnyStepAppend,
    AppendFunctionCall,
    AppendReasoning,
    AppendRefusal,
    AppendText,
    AppendToolCall,
)
from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import check_length
from turnlog.domain.limits import MAX_CALL_ID_LENGTH, MAX_NAME_LENGTH, PIECE_LENGTH
from turnlog.domain.quoting import quoted
from turnlog.domain.values import JsonObject, json_size
from turnlog.infrastructure.append.chunks.fields import (
    Fields,
    arguments_of,
    as_object,
    error_text,
    fields_of,
    list_of,
    pieces_of,
    short_text,
    text_of,
)
from turnlog.infrastructure.append.chunks.reader import Sized, StreamReader

logger = logging.getLogger("turnlog")


class ChatReader(StreamReader):
    """Reads choice 0 of Chat Completions chunks."""

    api = "chat"

    def __init__(self, step_id: str, now: Callable[[], datetime]) -> None:
        super().__init__(step_id, now)
        self._calls = _CallIndexes()
        self._warned = self._has_choices = False
        self._function_name = 0

    def read(self, chunk: Any) -> Iterable[list[AnyStepAppend]]:
        """See StreamReader."""
        text = self._text_alone(chunk)
        return self.in_pieces(chunk) if text is None else ([text],)

    def _text_alone(self, chunk: Any) -> AnyStepAppend | None:
        """The command for a chunk that says a short text and nothing else, as nearly all do. None for any other."""
        if not self._has_choices:
            return None
        try:
            fields = fields_of(chunk)
            choices: Any = fields.get("choices")
            (choice,) = map(fields_of, choices)
            delta = fields_of(choice.get("delta"))
            text = delta.get("content")
            is_named = (self.model or not fields.get("model")) and (self.response_id or not fields.get("id"))
            if not (is_named and isinstance(text, str) and 0 < len(text) <= PIECE_LENGTH):
                return None
            if choice.get("index") or choice.get("finish_reason") or fields.get("usage") or fields.get("error"):
                return None
            if any(map(delta.get, _BESIDE_TEXT)):
                return None
        except Exception:  # noqa: BLE001 it is read again, and then what is wrong is said
            return None
        self.count(len(text))
        return AppendText(self.now(), self.step_id, text)

    def commands(self, chunk: Any) -> Iterator[Sized]:
        """See StreamReader."""
        fields = fields_of(chunk)
        self.model = self.model or short_text(fields.get("model"), "model") or None
        self.response_id = self.response_id or short_text(fields.get("id"), "id", MAX_CALL_ID_LENGTH) or None
        if usage := fields.get("usage"):
            self.usage = as_object(usage) or self.usage
        if error := fields.get("error"):
            self.error = error_text(error)
        choices = fields.get("choices")
        if isinstance(choices, list):
            self._has_choices = True
            for choice in choices:
                yield from self._choice(fields_of(choice))
        # After chunks with choices a provider may send a summary of its own without them (Hugging Face).
        elif not self._has_choices and not _is_chunk(chunk, fields):
            raise _no_chunk(chunk, fields)

    def _choice(self, choice: Fields) -> Iterator[Sized]:
        if choice.get("index"):
            self._warn_of_choices()
            return
        self.finish_reason = short_text(choice.get("finish_reason"), "finish_reason") or self.finish_reason
        if choice.get("delta") is None:
            if choice.get("message") or choice.get("text"):
                raise InvalidInputError("chunk", f"{_TAKES}, with a `delta` in each choice, not a whole answer")
            return
        delta = fields_of(choice.get("delta"))
        at, step_id = self.now(), self.step_id
        text, thinking = _content(delta.get("content"))
        details = _details(delta.get("reasoning_details"))
        reasoning = text_of(delta.get("reasoning_content")) or text_of(delta.get("reasoning")) or thinking
        if details:
            size = sum(map(json_size, details))
            yield AppendReasoning(at, step_id, reasoning[:PIECE_LENGTH], details), size + len(reasoning)
            reasoning = reasoning[PIECE_LENGTH:]
        yield from ((AppendReasoning(at, step_id, part), len(part)) for part in pieces_of(reasoning))
        yield from ((AppendText(at, step_id, part), len(part)) for part in pieces_of(text))
        yield from ((AppendRefusal(at, step_id, part), len(part)) for part in pieces_of(text_of(delta.get("refusal"))))
        if fragments := delta.get("tool_calls"):
            for fragment in list_of(fragments):
                yield from self._tool_call(at, fields_of(fragment))
        if function_call := delta.get("function_call"):
            yield from self._function_call(at, fields_of(function_call))

    def _tool_call(self, at: datetime, fragment: Fields) -> Iterator[Sized]:
        function = fields_of(fragment.get("function"))
        call_id, name = text_of(fragment.get("id")), text_of(function.get("name"))
        index = self._calls.index_of(_call_index(fragment.get("index")), call_id, name)
        first, *rest = pieces_of(arguments_of(function.get("arguments"))) or ("",)
        yield AppendToolCall(at, self.step_id, index, call_id, name, first), len(call_id) + len(name) + len(first)
        yield from ((AppendToolCall(at, self.step_id, index, arguments=part), len(part)) for part in rest)

    def _function_call(self, at: datetime, function: Fields) -> Iterator[Sized]:
        name = text_of(function.get("name"))
        self._function_name += len(name)
        check_length(self._function_name, "function_call.name", MAX_NAME_LENGTH)
        first, *rest = pieces_of(arguments_of(function.get("arguments"))) or ("",)
        yield AppendFunctionCall(at, self.step_id, name, first), len(name) + len(first)
        yield from ((AppendFunctionCall(at, self.step_id, arguments=part), len(part)) for part in rest)

    def _warn_of_choices(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("step %s has several choices; only choice 0 is recorded", self.step_id)


_BESIDE_TEXT = ("reasoning_details", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")
_TAKES = "record() takes chunks of the Chat Completions API"


def _is_chunk(chunk: Any, fields: Fields) -> bool:
    """Whether something without a list of choices is a chunk: an error, usage alone, an empty one, or one that lacks
    nothing but its choices."""
    if chunk == {} or fields.get("error"):
        return True
    if kind := fields.get("object"):
        return bool(kind == "chat.completion.chunk")
    is_of_its_kind = any(fields.get(name) is not None for name in ("id", "model", "created", "usage"))
    return not fields.get("type") and (is_of_its_kind or (isinstance(fields, dict) and "choices" in fields))


def _no_chunk(chunk: Any, fields: Fields) -> InvalidInputError:
    kind = fields.get("type") or fields.get("object")
    what = type(chunk).__name__ + (f" of type {quoted(kind)}" if isinstance(kind, str) else "")
    return InvalidInputError("chunk", f"{_TAKES}, not a {what}; session.completion() records the answers of other APIs")


def _call_index(value: Any) -> int | str | None:
    """The index of a call as a provider gave it. What cannot be one counts as missing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return value if abs(value) < _NO_INDEX else None
    return value if isinstance(value, str) and value else None


_NO_INDEX = 2**31


class _CallIndexes:
    """The index of the call that a fragment belongs to: 0, 1, 2 in the order in which the calls appear."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._by_id: dict[str, int] = {}
        self._by_index: dict[int | str, int] = {}

    def index_of(self, index: int | str | None, call_id: str, name: str) -> int:
        known = self._known(index, call_id)
        if known is None or self._is_another(known, index, call_id, name):
            self._ids.append("")
            known = len(self._ids) - 1
        if call_id and not self._ids[known]:
            self._ids[known] = call_id
            self._by_id.setdefault(call_id, known)
        if index is not None:
            self._by_index[index] = known
        return known

    def _known(self, index: int | str | None, call_id: str) -> int | None:
        if index is not None:
            return self._by_index.get(index)
        if call_id:
            return self._by_id.get(call_id)
        return len(self._ids) - 1 if self._ids else None

    def _is_another(self, known: int, index: int | str | None, call_id: str, name: str) -> bool:
        there = self._ids[known]
        return index is not None and bool(name and call_id and there) and call_id != there


def _content(content: Any) -> tuple[str, str]:
    """The text of a delta's content, and the thinking in it if the content is a list of parts (Mistral)."""
    if not isinstance(content, list):
        return text_of(content), ""
    text, thinking = [], []
    for part in map(fields_of, content):
        text.append(text_of(part.get("text")))
        inner = part.get("thinking")
        thinking.append(inner if isinstance(inner, str) else _content(inner)[0])
    return "".join(text), "".join(thinking)


def _details(details: Any) -> tuple[JsonObject, ...]:
    """The reasoning details that hold more than text: a signature, or encrypted data."""
    if not details:
        return ()
    kept = [
        detail for detail in list_of(details) if fields_of(detail).get("signature") or fields_of(detail).get("data")
    ]
    return tuple(copied for detail in kept if (copied := as_object(detail, "reasoning_details")))
