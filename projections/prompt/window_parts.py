"""The end of a session in the parts that a window may begin with: each is rendered and counted once.

This is only possible where the parts side by side are what they would be if they were made together: where an API
joins no messages, every part begins with what a user said or behind a call with its result, and no call has to get
another id. Else there are no parts, and the window is made from the turns (`window.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from turnlog.domain.values import as_unicode
from turnlog.projections.prompt import Api, DialectName, PromptPolicy, how_to_make
from turnlog.projections.prompt.assembly import assemble
from turnlog.projections.prompt.parts import sendable
from turnlog.projections.prompt.settled_prefix import Border, border_of, from_border
from turnlog.projections.prompt.tokens import estimated_tokens
from turnlog.projections.prompt.window import Begin, CountTokens, begins_of, first_that_fits, tokens_of
from turnlog.projections.segments import question_of, whole_turns
from turnlog.projections.turn import Compaction, Message, Turn

Messages = list[dict[str, Any]]


def has_parts(api: Api, policy: PromptPolicy, dialect: DialectName | None) -> bool:
    """Whether windows of this kind are made of parts: no two messages are ever joined, and what was sent stays."""
    sends_what_was_sent = policy.late_results == "message" and policy.broken_off == "again"
    return dialect is None and api != "anthropic" and policy.tool_media == "note" and sends_what_was_sent


class Part(NamedTuple):
    """What came from `position` on: the text of the messages, with commas between them, and about how many tokens they
    have. `question` is what a window that begins here has before it."""

    position: int
    question: tuple[Message, ...]
    text: bytes
    tokens: int


@dataclass(frozen=True, slots=True)
class Parts:
    """The settled parts of the end of a session, up to `border`. Before the first one is more, unless it `is_whole`.
    `ids` are those of their calls."""

    parts: tuple[Part, ...] = ()
    ids: frozenset[str] = frozenset()
    border: Border = field(default_factory=Border)
    is_whole: bool = False

    @property
    def size(self) -> int:
        """Bytes that it takes to remember them, about."""
        return sum(len(part.text) + 200 for part in self.parts)


class PartsMaker:
    """Makes parts, and windows of them, of one kind of prompt."""

    def __init__(self, api: Api, policy: PromptPolicy) -> None:
        self._rules, self._render, self._finish = how_to_make(api, policy)
        self._policy = policy

    def begun(
        self, segments: Sequence[Turn], first: int, closed: int, compaction: Compaction | None
    ) -> tuple[Parts, list[Part]] | None:
        """The same where nothing is known yet: of these segments, of which the first has the number `first`."""
        begin = Parts(border=Border(first, 0), is_whole=first == 0 and compaction is None)
        return self.continued(begin, segments, closed, compaction)

    def continued(
        self, before: Parts, segments: Sequence[Turn], closed: int, compaction: Compaction | None
    ) -> tuple[Parts, list[Part]] | None:
        """The settled parts with what has become settled since, and the parts that are not settled. The segments are
        those from the border on; `closed` counts from the first of the session. None if they cannot be made."""
        border = border_of(segments, closed - before.border.page, compaction)
        settled, more = before, _Stretch(segments, before.border.position, compaction)
        if border.page:
            made = self._made(_Stretch(segments[: border.page], before.border.position, compaction), before)
            if made is None:
                return None
            now = Border(before.border.page + border.page, border.position)
            settled = Parts((*before.parts, *made[0]), before.ids | made[1], now, before.is_whole)
            more = _Stretch(segments[border.page :], border.position, compaction)
        rest = self._made(more, settled, is_end=True)
        return None if rest is None else (settled, rest[0])

    def window(
        self,
        parts: Sequence[Part],
        pinned: Iterable[Message],
        compaction: Compaction | None,
        max_tokens: int,
        count: CountTokens,
    ) -> tuple[int, Any] | None:
        """The number of the first part in the window, and the prompt. None if nothing fits."""
        pinned, made = tuple(pinned), dict[int, Messages]()

        def tokens(number: int) -> int:
            made.clear()  # one is enough
            made[number] = self._head(parts[number], pinned, compaction) + _parsed(parts[number:])
            return tokens_of(made[number], count)

        are_least = count is estimated_tokens
        first = first_that_fits([part.tokens for part in parts], tokens, max_tokens, are_least=are_least)
        if first is None:
            return None
        if first not in made:
            made[first] = self._head(parts[first], pinned, compaction) + _parsed(parts[first:])
        return first, made[first]

    def _head(self, part: Part, pinned: tuple[Message, ...], compaction: Compaction | None) -> Messages:
        """What a window that begins with this part has before it."""
        before = {message.position: message for message in pinned if message.position < part.position}
        before |= {message.position: message for message in part.question}
        messages = tuple(before[position] for position in sorted(before))
        turn = Turn(index=-1, position=0, messages=messages)
        entries = assemble([turn], self._rules, compaction, self._policy, is_end=False)
        return [rendered.message for rendered in self._render(entries)]

    def _made(
        self, stretch: _Stretch, before: Parts, *, is_end: bool = False
    ) -> tuple[list[Part], frozenset[str]] | None:
        """The parts of some more segments, and their call ids."""
        turns, ids = stretch.turns, _ids_of(stretch.turns, self._rules.call_id.fullmatch)
        if ids is None or ids & before.ids:
            return None
        entries = assemble(turns, self._rules, None, self._policy, is_end=is_end)
        begins = begins_of(turns, entries, cuts=self._policy.windows == "steps")
        # Of the first turn that was read it is not known whether it is there as a whole.
        skipped = 1 if stretch.position == 0 and not before.is_whole else 0
        if entries and (not begins or (begins[0].entry > 0 and not skipped)):
            return None  # something stands before the first of them
        parts = list[Part]()
        for number, (begin, end) in enumerate(zip(begins, [*begins, Begin(0, 0, len(entries))][1:], strict=True)):
            if number < skipped:
                continue
            part = stretch.part(begin, [one.message for one in self._render(entries[begin.entry : end.entry])])
            if part is None:
                return None
            parts += [part] if part.position > stretch.upto else []
        return parts, ids


class _Stretch:
    """Segments that follow a border at this position; their turns, without what they repeat."""

    def __init__(self, segments: Sequence[Turn], position: int, compaction: Compaction | None) -> None:
        self.position = position
        self.turns = whole_turns(from_border(position, segments))
        self.upto = 0 if compaction is None else compaction.upto
        first = segments[0] if segments else None
        goes_on = first is not None and bool(first.steps) and first.steps[0].position == position
        self._question = question_of(first.messages, position) if first is not None and goes_on else None

    def part(self, begin: Begin, messages: Messages) -> Part | None:
        """The part with these messages. None for one that does not stand alone."""
        turn = self.turns[begin.turn]
        question: tuple[Message, ...] = ()
        if begin.turn == 0 and self._question is not None:
            question = self._question
        elif begin.position:
            question = question_of(turn.messages, turn.steps[0].position)
        elif not _is_alone(turn):
            return None
        position = begin.position or turn.entries()[0].position
        return Part(position, question, to_json(messages)[1:-1], estimated_tokens(messages))


def _parsed(parts: Iterable[Part]) -> Messages:
    texts = b",".join(part.text for part in parts if part.text)
    messages: Messages = from_json(b"[%b]" % texts, cache_strings="keys")
    return messages


def _ids_of(turns: Sequence[Turn], is_legal: Callable[[str], object]) -> frozenset[str] | None:
    """The ids of the calls; None if one of them has to get another id, or a legacy function may need one."""
    ids = [as_unicode(call.id) for turn in turns for step in turn.steps for call in step.message.tool_calls]
    if len(set(ids)) < len(ids) or not all(map(is_legal, ids)):
        return None
    has_functions = any(step.message.function_call for turn in turns for step in turn.steps)
    return None if has_functions else frozenset(ids)


def _is_alone(turn: Turn) -> bool:
    """Whether the turn begins, but for what is pinned, with what a user said."""
    first = next((one for one in turn.entries() if not (isinstance(one, Message) and one.is_pinned)), None)
    if not isinstance(first, Message) or first.role != "user" or not sendable(first.content, "user"):
        return False
    return all(message.role != "function" for message in turn.messages)
