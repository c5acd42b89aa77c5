"""The window: as many whole turns from the end as fit. What is pinned stays, and no call is cut from its result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from turnlog.domain.errors import PromptTooLongError
from turnlog.projections.prompt.entries import PromptEntry, PromptMessage, PromptStep, Rendered
from turnlog.projections.view import Message, Turn

CountTokens = Callable[[list[dict[str, Any]]], int]
"""The tokens of a list of messages in the shape of the API that the prompt is for."""

Assemble = Callable[[Sequence[Turn]], list[PromptEntry]]
Render = Callable[[Iterable[PromptEntry]], list[Rendered]]

SHORTENED_TO = 200
CHARACTERS_A_TOKEN = 4
TOKENS_A_MESSAGE = 4


def estimated_tokens(messages: list[dict[str, Any]]) -> int:
    """An estimate without a tokenizer: a token for four bytes of JSON, and four for each message. Of English text it
    is some 20 % too much, which is the safe side; of other scripts it is nearer."""
    size = sum(len(json.dumps(message, ensure_ascii=False).encode()) for message in messages)
    return size // CHARACTERS_A_TOKEN + TOKENS_A_MESSAGE * len(messages)


class Window(NamedTuple):
    """What fits, and the place of the first turn that is whole in it."""

    entries: list[PromptEntry]
    first: int


def fit(turns: Sequence[Turn], assemble: Assemble, render: Render, max_tokens: int, count: CountTokens) -> Window:
    """The pinned messages and the latest whole turns that fit. Raises PromptTooLongError.

    What fits is assembled by itself: a call id is renamed for one that is in the window, not for one before it.
    """
    spoken = {entry.turn for entry in assemble(turns) if not _is_pinned(entry)}
    places = [place for place, turn in enumerate(turns) if turn.index in spoken]
    low, high = 0, len(places) - 1
    while low < high:
        middle = (low + high) // 2
        if _tokens(assemble(_from(turns, places[middle])), render, count) <= max_tokens:
            high = middle
        else:
            low = middle + 1
    first = places[low] if places else 0
    kept = assemble(_from(turns, first))
    if _tokens(kept, render, count) > max_tokens:
        kept = _shortened(kept, render, max_tokens, count)
    return Window(kept, first)


def _is_pinned(entry: PromptEntry) -> bool:
    return isinstance(entry, PromptMessage) and entry.pinned


def _from(turns: Sequence[Turn], first: int) -> list[Turn]:
    """These turns, those before the first with nothing but what is pinned."""
    return [*(only_pinned(turn.index, turn.messages) for turn in turns[:first]), *turns[first:]]


def only_pinned(index: int, messages: Iterable[Message]) -> Turn:
    """A turn with those of the messages that are sent however far back they are."""
    pinned = tuple(message for message in messages if message.is_pinned)
    return Turn(index=index, position=max((message.position for message in pinned), default=0), messages=pinned)


def _tokens(entries: list[PromptEntry], render: Render, count: CountTokens) -> int:
    return count([rendered.message for rendered in render(entries)])


def _shortened(entries: list[PromptEntry], render: Render, max_tokens: int, count: CountTokens) -> list[PromptEntry]:
    """The entries with the oldest tool results shortened, as few as it takes until they fit."""
    answers = [(place, answer) for place, entry in enumerate(entries) for answer in _long_answers(entry)]
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
    calls = entry.calls if isinstance(entry, PromptStep) else ()
    return [answer for answer, call in enumerate(calls) if _is_long(call.result)]


def _is_long(content: Any) -> bool:
    return len(_text(content)) > 2 * SHORTENED_TO


def _with_short_results(entries: list[PromptEntry], answers: Iterable[tuple[int, int]]) -> list[PromptEntry]:
    entries = entries.copy()
    for place, answer in answers:
        step = entries[place]
        assert isinstance(step, PromptStep)  # noqa: S101 it has calls
        call = step.calls[answer]
        short = replace(call, result=_short(call.result))
        entries[place] = replace(step, calls=(*step.calls[:answer], short, *step.calls[answer + 1 :]))
    return entries


def _short(content: Any) -> str:
    text = _text(content)
    return f"{text[:SHORTENED_TO]} [... {len(text) - SHORTENED_TO} characters left out]"


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
