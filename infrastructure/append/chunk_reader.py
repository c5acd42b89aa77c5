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
from collections.abc import Callable
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
from turnlog.domain.errors import InvalidInputError
from turnlog.domain.quoting import quoted
from turnlog.domain.values import JsonObject, json_copy

logger = logging.getLogger("turnlog")


class ChunkReader:
    """Turns the chunks of one response into commands, and remembers what the chunks say about the response."""

    def __init__(self, step_id: str, now: Callable[[], datetime]) -> None:
        self._step_id = step_id
        self._now = now
        self._calls = _CallIndexes()
        self._warned = self._has_choices = False
        self.model: str | None = None
        self.response_id: str | None = None
        self.finish_reason: str | None = None
        self.usage: JsonObject | None = None
        self.error: str | None = None

    def read(self, chunk: Any) -> list[AnyStepAppend]:
        """The commands for what the chunk says in choice 0. Empty if nothing of it is recorded.

        Raises InvalidInputError for anything but a Chat Completions chunk: it would be shown and not recorded.
        """
        fields = _fields(chunk)
        self.model = self.model or _text(fields.get("model")) or None
        self.response_id = self.response_id or _text(fields.get("id")) or None
        if usage := fields.get("usage"):
            self.usage = as_object(usage) or self.usage
        if error := fields.get("error"):
            self.error = error_text(error)
        choices = fields.get("choices")
        if not isinstance(choices, list):
            # After chunks with choices a provider may send a summary of its own without them (Hugging Face).
            if not self._has_choices and not _is_chunk(chunk, fields):
                raise _no_chunk(chunk, fields)
            return []
        self._has_choices = True
        return [command for choice in choices for command in self._choice(_fields(choice))]

    def _choice(self, choice: _Fields) -> list[AnyStepAppend]:
        if choice.get("index"):
            self._warn_of_choices()
            return []
        self.finish_reason = _text(choice.get("finish_reason")) or self.finish_reason
        if choice.get("delta") is None:
            if choice.get("message") or choice.get("text"):
                raise InvalidInputError("chunk", f"{_TAKES}, with a `delta` in each choice, not a whole answer")
            return []
        delta = _fields(choice.get("delta"))
        at, step_id = self._now(), self._step_id
        commands: list[AnyStepAppend] = []
        text, thinking = _content(delta.get("content"))
        details = _details(delta.get("reasoning_details"))
        reasoning = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning")) or thinking
        if reasoning or details:
            commands.append(AppendReasoning(at, step_id, reasoning, details))
        if text:
            commands.append(AppendText(at, step_id, text))
        if refusal := _text(delta.get("refusal")):
            commands.append(AppendRefusal(at, step_id, refusal))
        if fragments := delta.get("tool_calls"):
            commands += [self._tool_call(at, _fields(fragment)) for fragment in _list(fragments)]
        if function_call := delta.get("function_call"):
            function = _fields(function_call)
            name, arguments = _text(function.get("name")), _arguments(function.get("arguments"))
            commands.append(AppendFunctionCall(at, step_id, name, arguments))
        return commands

    def _tool_call(self, at: datetime, fragment: _Fields) -> AppendToolCall:
        function = _fields(fragment.get("function"))
        call_id, name = _text(fragment.get("id")), _text(function.get("name"))
        index = self._calls.index_of(fragment.get("index"), call_id, name)
        return AppendToolCall(at, self._step_id, index, call_id, name, _arguments(function.get("arguments")))

    def _warn_of_choices(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("step %s has several choices; only choice 0 is recorded", self._step_id)


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


class _CallIndexes:
    """The index of the call that a fragment belongs to: 0, 1, 2 in the order in which the calls appear."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._by_index: dict[Any, int] = {}

    def index_of(self, index: Any, call_id: str, name: str) -> int:
        known = self._known(index, call_id)
        if known is None or self._is_another(known, index, call_id, name):
            self._ids.append(call_id)
            known = len(self._ids) - 1
        self._ids[known] = self._ids[known] or call_id
        if index is not None:
            self._by_index[index] = known
        return known

    def _known(self, index: Any, call_id: str) -> int | None:
        if index is not None:
            return self._by_index.get(index)
        if call_id:
            return self._ids.index(call_id) if call_id in self._ids else None
        return len(self._ids) - 1 if self._ids else None

    def _is_another(self, known: int, index: Any, call_id: str, name: str) -> bool:
        there = self._ids[known]
        return index is not None and bool(name and call_id and there) and call_id != there


def as_object(value: Any) -> JsonObject | None:
    """A JSON object from a dict or a pydantic model. None for anything else, and for values that JSON does not have."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", exclude_unset=True)
    if not isinstance(value, dict):
        return None
    try:
        copied: JsonObject = json_copy(value, "usage")
    except InvalidInputError as error:
        logger.warning("usage is not recorded: %s", error)
        return None
    return copied


def error_text(error: Any) -> str:
    """The message of a provider's error object, or the object as text."""
    message = _fields(error).get("message")
    return message if isinstance(message, str) and message else str(error)


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
    return tuple(copied for copied in map(as_object, kept) if copied)
