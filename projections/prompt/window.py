"""The window: as many whole turns from the end as fit. Pinned messages stay, and no call is cut from its result."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from turnlog.domain.errors import InvalidInputError, PromptTooLongError
from turnlog.domain.events import Content
from turnlog.domain.foreign import OWN_PARTS, portable
from turnlog.projections.prompt.entries import PromptEntry, PromptMessage, PromptStep, Rendered
from turnlog.projections.prompt.parts import left_out
from turnlog.projections.prompt.tokens import estimated_tokens
from turnlog.projections.turn import Message, Turn

__all__ = ["CountTokens", "Window", "estimated_tokens", "fit", "only_pinned"]

CountTokens = Callable[[list[dict[str, Any]]], int]
"""Counts the tokens of a list of messages, which are in the shape of the API that the prompt is for."""

Assemble = Callable[[Sequence[Turn]], list[PromptEntry]]
Render = Callable[[Iterable[PromptEntry]], list[Rendered]]

SHORTENED_TO = 200
"""Characters that remain of a tool result that is shortened."""


class Window(NamedTuple):
    """What fits, and the index, among the given turns, of the first one that is whole in it."""

    entries: list[PromptEntry]
    first: int


def fit(turns: Sequence[Turn], assemble: Assemble, render: Render, max_tokens: int, count: CountTokens) -> Window:
    """The pinned messages, and the latest whole turns that fit. Raises PromptTooLongError.

    What fits is assembled by itself: a call gets a new id only because of calls in the window, not because of earlier
    ones.
    """
    spoken = {entry.turn for entry in assemble(turns) if not _is_pinned(entry)}
    starts = [index for index, turn in enumerate(turns) if turn.index in spoken]
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if _tokens(assemble(_from(turns, starts[middle])), render, count) <= max_tokens:
            high = middle
        else:
            low = middle + 1
    kept = assemble(_from(turns, starts[low] if starts else 0))
    if _tokens(kept, render, count) > max_tokens:
        kept = _shortened(kept, render, max_tokens, count)
    # Turns in which nothing is said are whole, too: an earlier one that speaks may fit beside them.
    return Window(kept, starts[low - 1] + 1 if low > 0 else 0)


def _is_pinned(entry: PromptEntry) -> bool:
    return isinstance(entry, PromptMessage) and entry.pinned


def _from(turns: Sequence[Turn], first: int) -> list[Turn]:
    """The turns, of which those before `first` have only their pinned messages."""
    return [*(only_pinned(turn.index, turn.messages) for turn in turns[:first]), *turns[first:]]


def only_pinned(index: int, messages: Iterable[Message]) -> Turn:
    """A turn with the pinned ones of these messages."""
    pinned = tuple(message for message in messages if message.is_pinned)
    return Turn(index=index, position=max((message.position for message in pinned), default=0), messages=pinned)


def _tokens(entries: list[PromptEntry], render: Render, count: CountTokens) -> int:
    tokens = count([rendered.message for rendered in render(entries)])
    if not isinstance(tokens, int | float):
        raise InvalidInputError("count_tokens", f"has returned a {type(tokens).__name__} and not a number")
    return tokens


def _shortened(entries: list[PromptEntry], render: Render, max_tokens: int, count: CountTokens) -> list[PromptEntry]:
    """The entries with the oldest tool results shortened, as few as are needed to make them fit."""
    answers = [(index, answer) for index, entry in enumerate(entries) for answer in _long_answers(entry)]
    low, high = min(1, len(answers)), len(answers)
    while low < high:
        middle = (low + high) // 2
        if _tokens(_with_short_results(entries, answers[:middle]), render, count) <= max_tokens:
            high = middle
        else:
            low = middle + 1
    kept = _with_short_results(entries, answers[:low])
    tokens = _tokens(kept, render, count)
    if tokens > max_tokens:
        raise PromptTooLongError(tokens, max_tokens)
    return kept


def _long_answers(entry: PromptEntry) -> list[int]:
    """The indexes of the calls of a step with a long result; a function message is itself a result, at 0."""
    if isinstance(entry, PromptStep):
        return [answer for answer, call in enumerate(entry.calls) if _is_long(call.result)]
    return [0] if entry.role == "function" and _is_long(entry.content) else []


def _is_long(content: Content) -> bool:
    return _size(content) > 2 * SHORTENED_TO and len(_short(content)) < _size(content)


def _size(content: Content) -> int:
    return len(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))


def _with_short_results(entries: list[PromptEntry], answers: Iterable[tuple[int, int]]) -> list[PromptEntry]:
    entries = entries.copy()
    for index, of_entry in groupby(answers, key=itemgetter(0)):
        entries[index] = _with_short_result(entries[index], {answer for _, answer in of_entry})
    return entries


def _with_short_result(entry: PromptEntry, answers: Collection[int]) -> PromptEntry:
    if isinstance(entry, PromptMessage):
        return replace(entry, content=_short(entry.content))
    calls = enumerate(entry.calls)
    short = tuple(replace(c, result=_short(c.result)) if answer in answers else c for answer, c in calls)
    return replace(entry, calls=short)


def _short(content: Content) -> str:
    """The beginning of the text. Other parts are left out whole, because half of one cannot be read."""
    if isinstance(content, str):
        return _cut(content)
    parts = [(portable(part) or part) if part["type"] in OWN_PARTS else part for part in content]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    notes = [left_out(part, "the prompt is too long")["text"] for part in parts if part["type"] != "text"]
    return "\n".join([_cut("\n".join(texts)), *notes] if texts else notes)


def _cut(text: str) -> str:
    if len(text) <= 2 * SHORTENED_TO:
        return text
    return f"{text[:SHORTENED_TO]} [... {len(text) - SHORTENED_TO} characters left out]"
