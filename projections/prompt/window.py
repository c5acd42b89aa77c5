"""The window: as many whole steps from the end as fit, behind the question that they answer. Pinned messages stay, and
no call is cut from its result.

Every part is counted once, by an estimate that needs no tokenizer. What the caller counts by is asked only where the
window may begin.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from turnlog.domain.errors import InvalidInputError, PromptTooLongError
from turnlog.domain.events import Content
from turnlog.domain.foreign import OWN_PARTS, portable
from turnlog.projections.prompt.entries import PromptEntry, PromptMessage, PromptStep, Rendered
from turnlog.projections.prompt.parts import left_out
from turnlog.projections.prompt.tokens import estimated_tokens
from turnlog.projections.segments import question_of
from turnlog.projections.turn import Message, Turn

__all__ = [
    "CountTokens",
    "Window",
    "begins_of",
    "estimated_tokens",
    "first_that_fits",
    "fit",
    "only_pinned",
    "tokens_of",
]

CountTokens = Callable[[list[dict[str, Any]]], int]
"""Counts the tokens of a list of messages, which are in the shape of the API that the prompt is for."""

Assemble = Callable[[Sequence[Turn]], list[PromptEntry]]
Render = Callable[[Iterable[PromptEntry]], list[Rendered]]

SHORTENED_TO = 200
"""Characters that remain of a tool result that is shortened."""


class Begin(NamedTuple):
    """Where a window may begin: in the turn of this number, before what came at `position` (0: before all of it), which
    is the `entry` of this index."""

    turn: int
    position: int
    entry: int


class Window(NamedTuple):
    """What fits, and whether it begins as early as it could among the given turns: then one before may fit as well."""

    entries: list[PromptEntry]
    has_all: bool


def fit(
    turns: Sequence[Turn],
    assemble: Assemble,
    render: Render,
    max_tokens: int,
    count: CountTokens,
    *,
    cuts: bool = True,
    joins: bool = True,
) -> Window:
    """The pinned messages, and the latest whole turns that fit; where it `cuts` turns, the latest whole steps.
    `joins`: whether messages of two turns or steps may be rendered as one. Raises PromptTooLongError.

    What fits is assembled by itself: a call gets a new id only because of calls in the window, not because of earlier
    ones.
    """
    entries = assemble(turns)
    begins = begins_of(turns, entries, cuts=cuts) or [Begin(0, 0, 0)]
    ends = [*(begin.entry for begin in begins[1:]), len(entries)]
    parts = [
        estimated_tokens([one.message for one in render(entries[begin.entry : end])])
        for begin, end in zip(begins, ends, strict=True)
    ]

    def tokens(number: int) -> int:
        return tokens_of([one.message for one in render(assemble(_from(turns, begins[number])))], count)

    are_least = count is estimated_tokens and not joins
    first = first_that_fits(parts, tokens, max_tokens, are_least=are_least)
    kept = assemble(_from(turns, begins[-1 if first is None else first]))
    if first is None:
        kept = _shortened(kept, render, max_tokens, count)
    return Window(kept, first == 0 or len(begins) == 1)


def first_that_fits(
    parts: Sequence[int], tokens: Callable[[int], int], max_tokens: int, *, are_least: bool = False
) -> int | None:
    """The number of the first part from which on all fit; None if not even the last one does. `parts` are estimates of
    each, and `tokens` says how many all from one on really have, which is asked as seldom as can be. `are_least`: that
    is never less than their sum."""
    from_here = list(accumulate(reversed(parts)))[::-1]
    low, high = 0, len(parts)  # it is one of these; the latter stands for none
    number, step = _guess(from_here, max_tokens, 1), 0
    while low < high:
        number = min(max(number, low), high - 1)
        if are_least and from_here[number] > max_tokens:
            low = number + 1
            continue
        real = tokens(number)
        low, high = (low, number) if real <= max_tokens else (number + 1, high)
        if step == 0:
            number = _guess(from_here, max_tokens, real / max(1, from_here[number]))
        elif step > (high - low) // 2:
            number = (low + high) // 2
        else:
            number += -step if real <= max_tokens else step
        step = max(1, 2 * step)
    return low if low < len(parts) else None


def _guess(from_here: Sequence[int], max_tokens: int, ratio: float) -> int:
    last = len(from_here) - 1
    return next((number for number, tokens in enumerate(from_here) if tokens * ratio <= max_tokens), last)


def begins_of(turns: Sequence[Turn], entries: Sequence[PromptEntry], *, cuts: bool) -> list[Begin]:
    """Where windows of these turns may begin, in order: with every turn that says something, and where it `cuts` them,
    after every step with calls. `entries` is what the turns are assembled to."""
    numbers = {turn.index: number for number, turn in enumerate(turns)}
    begins, said, firsts = list[Begin](), dict[int, PromptEntry](), dict[int, int]()
    for index, entry in enumerate(entries):
        firsts.setdefault(entry.turn, index)
        if _is_pinned(entry):
            continue
        before, said[entry.turn] = said.get(entry.turn), entry
        if before is None:
            begins.append(Begin(numbers[entry.turn], 0, firsts[entry.turn]))
        elif cuts and _is_cut_between(before, entry):
            begins.append(Begin(numbers[entry.turn], entry.positions[0], index))
    return begins


def _is_cut_between(before: PromptEntry, entry: PromptEntry) -> bool:
    if not isinstance(before, PromptStep) or not before.calls or before.positions[0] >= entry.positions[0]:
        return False
    return isinstance(entry, PromptStep) or entry.role != "function"


def _is_pinned(entry: PromptEntry) -> bool:
    return isinstance(entry, PromptMessage) and entry.pinned


def _from(turns: Sequence[Turn], begin: Begin) -> list[Turn]:
    """The turns, of which those before have only their pinned messages."""
    before = (only_pinned(turn.index, turn.messages) for turn in turns[: begin.turn])
    first, *after = turns[begin.turn :] or [only_pinned(0, ())]
    return [*before, _cut(first, begin.position) if begin.position else first, *after]


def _cut(turn: Turn, position: int) -> Turn:
    """The turn from this position on, behind its question and what is pinned."""
    question = question_of(turn.messages, turn.steps[0].position)
    return turn.model_copy(
        update={
            "messages": tuple(m for m in turn.messages if m.position >= position or m.is_pinned or m in question),
            "steps": tuple(step for step in turn.steps if step.position >= position),
            "late_results": tuple(late for late in turn.late_results if late.position >= position),
        }
    )


def only_pinned(index: int, messages: Iterable[Message]) -> Turn:
    """A turn with the pinned ones of these messages."""
    pinned = tuple(message for message in messages if message.is_pinned)
    return Turn(index=index, position=max((message.position for message in pinned), default=0), messages=pinned)


def tokens_of(messages: list[dict[str, Any]], count: CountTokens) -> int:
    """What the caller's function counts. Raises InvalidInputError if that is no number."""
    tokens = count(messages)
    if not isinstance(tokens, int | float):
        raise InvalidInputError("count_tokens", f"has returned a {type(tokens).__name__} and not a number")
    return tokens


def _tokens(entries: list[PromptEntry], render: Render, count: CountTokens) -> int:
    return tokens_of([rendered.message for rendered in render(entries)], count)


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
        return _cut_text(content)
    parts = [(portable(part) or part) if part["type"] in OWN_PARTS else part for part in content]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    notes = [left_out(part, "the prompt is too long")["text"] for part in parts if part["type"] != "text"]
    return "\n".join([_cut_text("\n".join(texts)), *notes] if texts else notes)


def _cut_text(text: str) -> str:
    if len(text) <= 2 * SHORTENED_TO:
        return text
    return f"{text[:SHORTENED_TO]} [... {len(text) - SHORTENED_TO} characters left out]"
