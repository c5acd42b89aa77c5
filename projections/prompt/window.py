"""The window: as many whole turns from the end as fit. What is pinned stays, and no call is cut from its result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from turnlog.domain.errors import PromptTooLongError
from turnlog.projections.prompt.entries import PromptEntry, PromptMessage, PromptStep, Rendered

CountTokens = Callable[[list[dict[str, Any]]], int]
"""The tokens of a list of messages in the shape of the API that the prompt is for."""

Render = Callable[[Iterable[PromptEntry]], list[Rendered]]

SHORTENED_TO = 200
CHARACTERS_A_TOKEN = 4
TOKENS_A_MESSAGE = 4


def estimated_tokens(messages: list[dict[str, Any]]) -> int:
    """An estimate without a tokenizer: a token for four bytes of JSON, and four for each message. Of English text it
    is some 20 % too much, which is the safe side; of other scripts it is nearer."""
    size = sum(len(json.dumps(message, ensure_ascii=False).encode()) for message in messages)
    return size // CHARACTERS_A_TOKEN + TOKENS_A_MESSAGE * len(messages)


def fit(entries: Sequence[PromptEntry], render: Render, max_tokens: int, count: CountTokens) -> list[PromptEntry]:
    """The pinned entries and the latest whole turns that fit. Raises PromptTooLongError."""
    turns = sorted({entry.turn for entry in entries if not _is_pinned(entry)})
    first = _first_turn(entries, turns, lambda kept: _tokens(kept, render, count), max_tokens)
    kept = _from_turn(entries, first)
    tokens = _tokens(kept, render, count)
    if tokens <= max_tokens:
        return kept
    return _shortened(kept, render, max_tokens, count)


def _first_turn(
    entries: Sequence[PromptEntry], turns: list[int], tokens: Callable[[list[PromptEntry]], int], max_tokens: int
) -> int:
    """The first turn of the longest tail that fits; the last turn where none does. Found by halving."""
    low, high = 0, len(turns) - 1
    while low < high:
        middle = (low + high) // 2
        if tokens(_from_turn(entries, turns[middle])) <= max_tokens:
            high = middle
        else:
            low = middle + 1
    return turns[low] if turns else 0


def _is_pinned(entry: PromptEntry) -> bool:
    return isinstance(entry, PromptMessage) and entry.pinned


def _from_turn(entries: Sequence[PromptEntry], first: int) -> list[PromptEntry]:
    return [entry for entry in entries if _is_pinned(entry) or entry.turn >= first]


def _tokens(entries: list[PromptEntry], render: Render, count: CountTokens) -> int:
    return count([rendered.message for rendered in render(entries)])


def _shortened(entries: list[PromptEntry], render: Render, max_tokens: int, count: CountTokens) -> list[PromptEntry]:
    """The entries with the oldest tool results shortened, one after the other, until they fit."""
    for place, entry in enumerate(entries):
        if not isinstance(entry, PromptStep):
            continue
        for answer in range(len(entry.calls)):
            if not _is_long(entry.calls[answer].result):
                continue
            entry = _with_short_result(entry, answer)  # noqa: PLW2901 the next call of the same step
            entries[place] = entry
            if _tokens(entries, render, count) <= max_tokens:
                return entries
    tokens = _tokens(entries, render, count)
    raise PromptTooLongError(tokens, max_tokens)


def _is_long(content: Any) -> bool:
    return not isinstance(content, str) or len(content) > 2 * SHORTENED_TO


def _with_short_result(step: PromptStep, place: int) -> PromptStep:
    call = step.calls[place]
    short = replace(call, result=_short(call.result))
    return replace(step, calls=(*step.calls[:place], short, *step.calls[place + 1 :]))


def _short(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return f"{text[:SHORTENED_TO]} [... {len(text) - SHORTENED_TO} characters left out]"
