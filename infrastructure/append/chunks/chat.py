"""Reading Chat Completions chunks, which are models of the openai package or plain dicts, in the shapes that providers
really send.

What a chunk says is a text, reasoning or a refusal, which are fragments; a tool call (`chat_calls`); or anything else:
that goes into parts, and what belongs to no part into an opaque one (`chat_fields`). How a stream ends is in
`chat_ends`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.finish_reasons import meaning_of
from turnlog.domain.inputs import check_length
from turnlog.domain.limits import MAX_CALL_ID_LENGTH, MAX_NAME_LENGTH, PIECE_LENGTH
from turnlog.domain.quoting import quoted
from turnlog.domain.step_appends import AnyStepAppend, AppendFunctionCall, AppendReasoning, AppendRefusal, AppendText
from turnlog.domain.values import JsonObject, json_size
from turnlog.infrastructure.append.chunks.chat_calls import ChatCalls
from turnlog.infrastructure.append.chunks.chat_ends import UsageReports, error_in, error_text, failure_in
from turnlog.infrastructure.append.chunks.chat_fields import Beside
from turnlog.infrastructure.append.chunks.chat_parts import ChatParts, said_in, unreadable
from turnlog.infrastructure.append.chunks.fields import (
    Fields,
    arguments_of,
    as_object,
    fields_of,
    items_of,
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
        self._calls = ChatCalls(self)
        self._beside = Beside(self)
        self._pieces = ChatParts(self)
        self._reports = UsageReports()
        self._warned = self._has_choices = self._has_text = False
        self._said: set[str] = set()
        self._function_name = 0

    def read(self, chunk: Any) -> Iterable[list[AnyStepAppend]]:
        """See StreamReader."""
        alone = self._alone(chunk)
        return self.in_pieces(chunk) if alone is None else ([alone],)

    @property
    def has_answered(self) -> bool:
        """See StreamReader."""
        return self.finish_reason is not None or self.error is not None

    def missing_end(self) -> str | None:
        """See StreamReader."""
        if meaning_of(self.finish_reason) == "failed":
            return f"the provider ended the answer with the finish reason {quoted(self.finish_reason or '')}"
        return None

    def _alone(self, chunk: Any) -> AnyStepAppend | None:
        """The command for a chunk that says a short text, or goes on with one call, and nothing else, as nearly all do.
        None for any other."""
        if not self._has_choices:
            return None
        command: AnyStepAppend | None
        try:
            fields = fields_of(chunk)
            choices: Any = fields.get("choices")
            (choice,) = map(fields_of, choices)
            delta = fields_of(choice.get("delta"))
            shape = self._beside.usual_shape(fields, choice, delta)
            if shape is None or (self.response_id is None and fields.get("id")):
                return None
            text = delta.get("content")
            if shape.has_only_text and text.__class__ is str and 0 < len(text) <= PIECE_LENGTH:
                command, length = AppendText(self.now(), self.step_id, text), len(text)
                self._has_text = True
            else:
                command, length = self._one_of(delta)
        except Exception:  # noqa: BLE001 it is read again, and then what is wrong is said
            return None
        self.count(length)
        return command

    def _one_of(self, delta: Any) -> tuple[AnyStepAppend | None, int]:
        """The command for a delta that says only one thing, and the number of its characters."""
        text, calls = delta.get("content"), delta.get("tool_calls")
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if calls:
            (entry,) = calls
            command = None if text or thought else self._calls.more(fields_of(entry))
            return command, 0 if command is None else len(command.arguments)
        said = thought if text is None or text == "" else None if thought else text
        if not (isinstance(said, str) and 0 < len(said) <= PIECE_LENGTH):
            return None, 0
        if said is text:
            self._has_text = True
            return AppendText(self.now(), self.step_id, said), len(said)
        if delta.get("reasoning_content") and delta.get("reasoning"):
            return None, 0
        self._said.add("reasoning")
        return AppendReasoning(self.now(), self.step_id, said), len(said)

    def commands(self, chunk: Any) -> Iterator[Sized]:
        """See StreamReader."""
        fields = fields_of(chunk)
        choices = fields.get("choices")
        self._read_names(fields)
        self._reports.take(fields, fields_of(fields.get("message")))
        self._reports.take_vendors(fields)
        error = error_in(fields, has_choices=isinstance(choices, list) and bool(choices))
        if error is not None:
            self._fail(error)
        # After chunks with choices a provider may send a summary of its own without them (Hugging Face).
        elif not (isinstance(choices, list) or self._has_choices or _is_chunk(chunk, fields)):
            raise _no_chunk(chunk, fields)
        yield from self._beside.take("of_chunk", fields)
        if isinstance(choices, list):
            self._has_choices = True
            for choice in map(fields_of, choices):
                if choice.get("index"):
                    self._warn_of_choices()
                else:
                    yield from self._choice(choice, is_whole=fields.get("object") == "chat.completion")
        self.usage = self._reports.usage

    def _read_names(self, fields: Fields) -> None:
        self.model = self.model or short_text(fields.get("model"), "model") or None
        self.response_id = self.response_id or short_text(fields.get("id"), "id", MAX_CALL_ID_LENGTH) or None
        if self.model:
            self._beside.knows("of_chunk", "model", self.model)

    def _fail(self, error: Any) -> None:
        self.error, self.failure = error_text(error), failure_in(error) or None

    def _choice(self, choice: Fields, *, is_whole: bool) -> Iterator[Sized]:
        delta, message = fields_of(choice.get("delta")), fields_of(choice.get("message"))
        self._reports.take(choice, delta, message)
        if error := choice.get("error"):
            self._fail(error)
        if reason := short_text(choice.get("finish_reason"), "finish_reason"):
            yield from self._end(reason)
        elif choice.get("delta") is None and not is_whole and (choice.get("message") or choice.get("text")):
            raise InvalidInputError("chunk", f"{_TAKES}, with a `delta` in each choice; for whole answers {_WHOLE}")
        yield from self._beside.take("of_choice", choice)
        if choice.get("delta") is not None:
            yield from self._delta(delta)
        if choice.get("message") and (is_whole or reason):
            yield from self._delta(self._missing_in(message))

    def _end(self, reason: str) -> Iterator[Sized]:
        if self.finish_reason not in (None, reason):
            yield from self._beside.say("of_choice", {"finish_reason": self.finish_reason})
        self.finish_reason = reason
        if self.error is None:
            self.failure = {"finish_reason": reason} if meaning_of(reason) == "failed" else None

    def _missing_in(self, message: Fields) -> JsonObject:
        """What a whole message at the end of a stream says and no delta has said."""
        said = self._said | ({"content"} if self._has_text else set())
        if said & _THOUGHTS:
            said |= _THOUGHTS
        return {name: value for name, value in items_of(message) if name not in said and not self._beside.has(name)}

    def _delta(self, delta: Fields) -> Iterator[Sized]:
        at, step_id, calls = self.now(), self.step_id, self._calls
        content = said_in(delta.get("content"))
        text, reasoning = content.text, text_of(delta.get("reasoning_content")) or text_of(delta.get("reasoning"))
        yield from self._reasoning(reasoning or content.thinking, _details(delta.get("reasoning_details")))
        yield from ((AppendText(at, step_id, part), len(part)) for part in pieces_of(text))
        yield from ((AppendRefusal(at, step_id, part), len(part)) for part in pieces_of(text_of(delta.get("refusal"))))
        for fragment in _entries(delta.get("tool_calls")):
            yield from calls.read(fields_of(fragment))
        if function_call := delta.get("function_call"):
            yield from self._function_call(at, fields_of(function_call))
        yield from self._pieces.read(delta, content)
        yield from self._beside.take("of_delta", delta, tuple(unreadable(delta, reasoning)))
        if content.beside:
            yield from self._beside.say("of_choice", {"content": content.beside})
        self._has_text = self._has_text or bool(text)
        self._said |= {name for name in _SAID_ONCE if delta.get(name)}

    def _reasoning(self, reasoning: str, details: tuple[JsonObject, ...]) -> Iterator[Sized]:
        if details:
            size = sum(map(json_size, details))
            command = AppendReasoning(self.now(), self.step_id, reasoning[:PIECE_LENGTH], details)
            yield command, size + len(command.text)
            reasoning = reasoning[PIECE_LENGTH:]
        for part in pieces_of(reasoning):
            yield AppendReasoning(self.now(), self.step_id, part), len(part)

    def _function_call(self, at: datetime, function: Fields) -> Iterator[Sized]:
        name = text_of(function.get("name"))
        self._function_name += len(name)
        check_length(self._function_name, "function_call.name", MAX_NAME_LENGTH)
        first, *rest = pieces_of(arguments_of(function.get("arguments"))) or ("",)
        yield AppendFunctionCall(at, self.step_id, name, first), len(name) + len(first)
        yield from ((AppendFunctionCall(at, self.step_id, arguments=part), len(part)) for part in rest)
        beside = {key: value for key, value in items_of(function) if key not in ("name", "arguments")}
        if beside:
            yield from self._beside.say("of_choice", {"function_call": beside})

    def _warn_of_choices(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("step %s has several choices; only choice 0 is recorded", self.step_id)


_THOUGHTS = {"reasoning", "reasoning_content"}
_SAID_ONCE = ("reasoning", "reasoning_content", "reasoning_details", "refusal", "tool_calls", "function_call", "audio")
"""What a message at the end of a stream does not bring again. Of annotations and images each is known by itself."""
_TAKES = "record() takes chunks of the Chat Completions API, the Responses API or Anthropic's Messages API"

_WHOLE = "there is record_whole()"


def _is_chunk(chunk: Any, fields: Fields) -> bool:
    """Whether something without a list of choices is a chunk: usage alone, an empty one, or one that lacks nothing but
    its choices."""
    if chunk == {}:
        return True
    if kind := fields.get("object"):
        return bool(kind == "chat.completion.chunk")
    is_of_its_kind = any(fields.get(name) is not None for name in ("id", "model", "created", "usage"))
    return not fields.get("type") and (is_of_its_kind or (isinstance(fields, dict) and "choices" in fields))


def _no_chunk(chunk: Any, fields: Fields) -> InvalidInputError:
    kind = fields.get("type") or fields.get("object")
    what = type(chunk).__name__ + (f" of type {quoted(kind)}" if isinstance(kind, str) else "")
    return InvalidInputError("chunk", f"{_TAKES}, not a {what}; for whole answers {_WHOLE}, for others completion()")


def _entries(calls: Any) -> list[Any]:
    """The entries of `tool_calls`. One alone stands there without a list, too."""
    return [calls] if isinstance(calls, dict) and calls else list_of(calls)


def _details(details: Any) -> tuple[JsonObject, ...]:
    """The reasoning details, verbatim: a later request has to send them back."""
    if not details:
        return ()
    return tuple(copied for detail in list_of(details) if (copied := as_object(detail, "reasoning_details")))
