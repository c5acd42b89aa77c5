"""Reading Chat Completions chunks, which are models of the openai package or plain dicts.

Only this module knows what a chunk looks like, in the shapes that providers really send. A chunk may lack anything:
the openai package builds its models without validation, so a "list" may be None and a "str" may be a list.

A fragment of a tool call belongs to the call of its index. The same index with another id begins a new call only if a
name comes with it (Mistral and some relays); without a name it continues the call (LM Studio). A fragment without an
index belongs to the call of its id, or else to the last call.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from pydantic import BaseModel

from turnlog.domain.commands import (
    AnyStepAppend,
    AppendFunctionCall,
    AppendReasoning,
    AppendRefusal,
    AppendText,
    AppendToolCall,
)
from turnlog.domain.errors import InvalidInputError, TurnlogError
from turnlog.domain.inputs import check_length, checked_short, checked_usage_object
from turnlog.domain.limits import MAX_CALL_ID_LENGTH, MAX_NAME_LENGTH, MAX_REASON_LENGTH, PIECE_LENGTH
from turnlog.domain.quoting import cut, quoted
from turnlog.domain.values import JsonObject, json_copy, json_size
from turnlog.infrastructure.append.failures import said

logger = logging.getLogger("turnlog")

PIECE_COMMANDS = 32
"""Commands that are decided in one go: a chunk may hold thousands, and others wait meanwhile."""

_Sized: TypeAlias = tuple[AnyStepAppend, int]
"""A command, and the number of characters in it."""


class ChunkReader:
    """Turns the chunks of one response into commands, and remembers what the chunks say about the response."""

    def __init__(self, step_id: str, now: Callable[[], datetime]) -> None:
        self._step_id = step_id
        self._now = now
        self._calls = _CallIndexes()
        self._warned = self._has_choices = False
        self._length = self._function_name = 0
        self.model: str | None = None
        self.response_id: str | None = None
        self.finish_reason: str | None = None
        self.usage: JsonObject | None = None
        self.error: str | None = None

    def read(self, chunk: Any) -> Iterable[list[AnyStepAppend]]:
        """The commands for what the chunk says in choice 0, in pieces that are quickly decided: a chunk may hold
        thousands of calls, or a text of many megabytes. There is none if nothing of the chunk is recorded.

        Raises InvalidInputError for anything but a Chat Completions chunk, which would be shown and not recorded, and
        LimitExceededError for what is too large to be recorded: perhaps only when the pieces before were taken.
        """
        text = self._text_alone(chunk)
        return self._pieces(chunk) if text is None else ([text],)

    def _text_alone(self, chunk: Any) -> AnyStepAppend | None:
        """The command for a chunk that says a short text and nothing else, as nearly all do. None for any other."""
        if not self._has_choices:
            return None
        try:
            fields = _fields(chunk)
            choices: Any = fields.get("choices")
            (choice,) = map(_fields, choices)
            delta = _fields(choice.get("delta"))
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
        self._length += len(text)
        check_length(self._length, "response")
        return AppendText(self._now(), self._step_id, text)

    def _pieces(self, chunk: Any) -> Iterator[list[AnyStepAppend]]:
        piece, size = list[AnyStepAppend](), 0
        try:
            for command, length in self._commands(chunk):
                piece.append(command)
                size += length
                self._length += length
                check_length(self._length, "response")
                if size >= PIECE_LENGTH or len(piece) >= PIECE_COMMANDS:
                    yield piece
                    piece, size = [], 0
        except TurnlogError:
            raise
        except Exception as error:
            # It may hold objects of any kind, and these may raise anything when they are read.
            raise InvalidInputError("chunk", f"cannot be read: {cut(said(error))}") from error
        if piece:
            yield piece

    def _commands(self, chunk: Any) -> Iterator[_Sized]:
        fields = _fields(chunk)
        self.model = self.model or _short(fields.get("model"), "model") or None
        self.response_id = self.response_id or _short(fields.get("id"), "id", MAX_CALL_ID_LENGTH) or None
        if usage := fields.get("usage"):
            self.usage = as_object(usage) or self.usage
        if error := fields.get("error"):
            self.error = error_text(error)
        choices = fields.get("choices")
        if isinstance(choices, list):
            self._has_choices = True
            for choice in choices:
                yield from self._choice(_fields(choice))
        # After chunks with choices a provider may send a summary of its own without them (Hugging Face).
        elif not self._has_choices and not _is_chunk(chunk, fields):
            raise _no_chunk(chunk, fields)

    def _choice(self, choice: _Fields) -> Iterator[_Sized]:
        if choice.get("index"):
            self._warn_of_choices()
            return
        self.finish_reason = _short(choice.get("finish_reason"), "finish_reason") or self.finish_reason
        if choice.get("delta") is None:
            if choice.get("message") or choice.get("text"):
                raise InvalidInputError("chunk", f"{_TAKES}, with a `delta` in each choice, not a whole answer")
            return
        delta = _fields(choice.get("delta"))
        at, step_id = self._now(), self._step_id
        text, thinking = _content(delta.get("content"))
        details = _details(delta.get("reasoning_details"))
        reasoning = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning")) or thinking
        if details:
            size = sum(map(json_size, details))
            yield AppendReasoning(at, step_id, reasoning[:PIECE_LENGTH], details), size + len(reasoning)
            reasoning = reasoning[PIECE_LENGTH:]
        yield from ((AppendReasoning(at, step_id, part), len(part)) for part in _parts(reasoning))
        yield from ((AppendText(at, step_id, part), len(part)) for part in _parts(text))
        yield from ((AppendRefusal(at, step_id, part), len(part)) for part in _parts(_text(delta.get("refusal"))))
        if fragments := delta.get("tool_calls"):
            for fragment in _list(fragments):
                yield from self._tool_call(at, _fields(fragment))
        if function_call := delta.get("function_call"):
            yield from self._function_call(at, _fields(function_call))

    def _tool_call(self, at: datetime, fragment: _Fields) -> Iterator[_Sized]:
        function = _fields(fragment.get("function"))
        call_id, name = _text(fragment.get("id")), _text(function.get("name"))
        index = self._calls.index_of(_call_index(fragment.get("index")), call_id, name)
        first, *rest = _parts(_arguments(function.get("arguments"))) or ("",)
        yield AppendToolCall(at, self._step_id, index, call_id, name, first), len(call_id) + len(name) + len(first)
        yield from ((AppendToolCall(at, self._step_id, index, arguments=part), len(part)) for part in rest)

    def _function_call(self, at: datetime, function: _Fields) -> Iterator[_Sized]:
        name = _text(function.get("name"))
        self._function_name += len(name)
        check_length(self._function_name, "function_call.name", MAX_NAME_LENGTH)
        first, *rest = _parts(_arguments(function.get("arguments"))) or ("",)
        yield AppendFunctionCall(at, self._step_id, name, first), len(name) + len(first)
        yield from ((AppendFunctionCall(at, self._step_id, arguments=part), len(part)) for part in rest)

    def _warn_of_choices(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("step %s has several choices; only choice 0 is recorded", self._step_id)


_BESIDE_TEXT = ("reasoning_details", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")
_TAKES = "record() takes chunks of the Chat Completions API"


def _is_chunk(chunk: Any, fields: _Fields) -> bool:
    """Whether something without a list of choices is a chunk: an error, usage alone, an empty one, or one that lacks
    nothing but its choices."""
    if chunk == {} or fields.get("error"):
        return True
    if kind := fields.get("object"):
        return bool(kind == "chat.completion.chunk")
    is_of_its_kind = any(fields.get(name) is not None for name in ("id", "model", "created", "usage"))
    return not fields.get("type") and (is_of_its_kind or (isinstance(fields, dict) and "choices" in fields))


def _no_chunk(chunk: Any, fields: _Fields) -> InvalidInputError:
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


def json_object(value: Any, field: str) -> JsonObject:
    """A JSON object from a dict or a pydantic model. Raises InvalidInputError."""
    if hasattr(value, "model_dump"):
        try:
            value = value.model_dump(mode="json", exclude_unset=True)
        except Exception as error:  # it may have serializers of its own
            raise InvalidInputError(field, f"cannot be written as JSON: {cut(said(error))}") from error
    if not isinstance(value, dict):
        raise InvalidInputError(field, "must be a JSON object")
    copied: JsonObject = json_copy(value, field)
    return copied


def as_object(value: Any, field: str = "usage") -> JsonObject | None:
    """The same; None for anything that is no object, and for values that JSON does not have."""
    if not isinstance(value, dict) and not hasattr(value, "model_dump"):
        return None
    try:
        return checked_usage_object(json_object(value, field)) if field == "usage" else json_object(value, field)
    except InvalidInputError as error:
        logger.warning("what a provider sent is not recorded: %s", error)
        return None


def error_text(error: Any) -> str:
    """The message of a provider's error object, or the object as text."""
    message = _fields(error).get("message")
    return cut(message if isinstance(message, str) and message else str(error), MAX_REASON_LENGTH)


def _fields(value: Any) -> _Fields:
    """The fields of a dict, a model or another object, by name."""
    if isinstance(value, dict):
        return value
    if isinstance(value, BaseModel):
        # Not by attribute: asking a model for a field that it lacks takes longer than all else that is read of a chunk.
        extra = value.__pydantic_extra__
        return {**vars(value), **extra} if extra else vars(value)
    return _Attributes(value)


class _Attributes:
    """An object that is read like a dict."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def get(self, name: str) -> Any:
        return getattr(self._value, name, None)


_Fields: TypeAlias = dict[str, Any] | _Attributes


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return "" if isinstance(value, list | dict) else str(value)


def _short(value: Any, field: str, limit: int = MAX_NAME_LENGTH) -> str:
    return checked_short(_text(value), f"chunk.{field}", limit)


def _parts(text: str) -> Sequence[str]:
    """The text in parts that are quickly stored; none for the empty text."""
    if len(text) <= PIECE_LENGTH:
        return (text,) if text else ()
    return [text[first : first + PIECE_LENGTH] for first in range(0, len(text), PIECE_LENGTH)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _arguments(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else _text(value)


def _content(content: Any) -> tuple[str, str]:
    """The text of a delta's content, and the thinking in it if the content is a list of parts (Mistral)."""
    if not isinstance(content, list):
        return _text(content), ""
    text, thinking = [], []
    for part in map(_fields, content):
        text.append(_text(part.get("text")))
        inner = part.get("thinking")
        thinking.append(inner if isinstance(inner, str) else _content(inner)[0])
    return "".join(text), "".join(thinking)


def _details(details: Any) -> tuple[JsonObject, ...]:
    """The reasoning details that hold more than text: a signature, or encrypted data."""
    if not details:
        return ()
    kept = [detail for detail in _list(details) if _fields(detail).get("signature") or _fields(detail).get("data")]
    return tuple(copied for detail in kept if (copied := as_object(detail, "reasoning_details")))
