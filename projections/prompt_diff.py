"""The change between two lists of messages, as a unified diff with one line per message.

A history may have thousands of messages, and difflib alone takes a time that grows with their square. So the lists are
first aligned at the lines that each has once.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from typing import Any, NamedTuple

CONTEXT = 2
"""Lines before and after a change that are shown."""
_SMALL = 2_000
"""Of two parts, the product of their lengths up to which difflib compares them."""
_DEEPEST = 6
"""How often a part is aligned again."""


def prompt_diff(before: Iterable[dict[str, Any]], after: Iterable[dict[str, Any]]) -> str:
    """The diff; empty if nothing has changed."""
    a, b = _lines(before), _lines(after)
    hunks = [line for group in _Aligned(a, b).get_grouped_opcodes(CONTEXT) for line in _hunk(group, a, b)]
    return "\n".join(["--- as stored", "+++ as repaired", *hunks] if hunks else [])


def _lines(messages: Iterable[dict[str, Any]]) -> list[str]:
    said = ({key: value for key, value in message.items() if value is not None} for message in messages)
    return [json.dumps(message, ensure_ascii=False) for message in said]


def _hunk(group: Sequence[tuple[str, int, int, int, int]], a: list[str], b: list[str]) -> Iterator[str]:
    first, last = group[0], group[-1]
    yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
    for tag, a_from, a_to, b_from, b_to in group:
        if tag == "equal":
            yield from (f" {line}" for line in a[a_from:a_to])
            continue
        yield from (f"-{line}" for line in a[a_from:a_to])
        yield from (f"+{line}" for line in b[b_from:b_to])


def _range(start: int, end: int) -> str:
    length = end - start
    return str(start + 1) if length == 1 else f"{start + (length > 0)},{length}"


class _Aligned(SequenceMatcher[str]):
    """A matcher that aligns long lists in another way, and says the rest as difflib does."""

    def __init__(self, a: list[str], b: list[str]) -> None:
        self._lines = a, b
        super().__init__(None, a, b, autojunk=False)

    def get_matching_blocks(self) -> list[Match]:
        a, b = self._lines
        blocks = list[Match]()
        for i, j, size in sorted(_matches(a, b)):
            if blocks and blocks[-1].a + blocks[-1].size == i and blocks[-1].b + blocks[-1].size == j:
                blocks[-1] = Match(blocks[-1].a, blocks[-1].b, blocks[-1].size + size)
            else:
                blocks.append(Match(i, j, size))
        return [*blocks, Match(len(a), len(b), 0)]


class _Part(NamedTuple):
    """Lines that are still to be aligned, and how often they were cut already."""

    a_from: int
    a_to: int
    b_from: int
    b_to: int
    depth: int = 0


def _matches(a: list[str], b: list[str]) -> Iterator[Match]:
    parts = [_Part(0, len(a), 0, len(b))]
    while parts:
        part = yield from _without_ends(a, b, parts.pop())
        if (part.a_to - part.a_from) * (part.b_to - part.b_from) <= _SMALL:
            inner = SequenceMatcher(None, a[part.a_from : part.a_to], b[part.b_from : part.b_to], autojunk=False)
            blocks = inner.get_matching_blocks()
            yield from (Match(part.a_from + i, part.b_from + j, size) for i, j, size in blocks if size)
        elif part.depth < _DEEPEST:
            parts += _cut(a, b, part)


def _without_ends(a: list[str], b: list[str], part: _Part) -> Generator[Match, None, _Part]:
    """The part without what is equal at its beginning and at its end, which is given out as matches."""
    a_from, a_to, b_from, b_to, depth = part
    shorter = min(a_to - a_from, b_to - b_from)
    begin = next((n for n in range(shorter) if a[a_from + n] != b[b_from + n]), shorter)
    end = next((n for n in range(shorter - begin) if a[a_to - 1 - n] != b[b_to - 1 - n]), shorter - begin)
    if begin:
        yield Match(a_from, b_from, begin)
    if end:
        yield Match(a_to - end, b_to - end, end)
    return _Part(a_from + begin, a_to - end, b_from + begin, b_to - end, depth)


def _cut(a: list[str], b: list[str], part: _Part) -> Iterator[_Part]:
    """The parts that begin with the lines which each side has once, in one order."""
    a_from, b_from = part.a_from, part.b_from
    anchors = _anchors(a, b, part)
    for i, j in anchors:
        yield _Part(a_from, i, b_from, j, part.depth + 1)
        a_from, b_from = i, j
    if anchors:
        yield _Part(a_from, part.a_to, b_from, part.b_to, part.depth + 1)


def _anchors(a: list[str], b: list[str], part: _Part) -> list[tuple[int, int]]:
    in_a, in_b = _once(a, part.a_from, part.a_to), _once(b, part.b_from, part.b_to)
    pairs = [(i, in_b[line]) for line, i in in_a.items() if line in in_b]
    # The longest rising sequence: `ends[n]` is the smallest end of one of n + 1 pairs.
    ends, at, before = list[int](), list[int](), list[int]()
    for number, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        ends[length : length + 1], at[length : length + 1] = [j], [number]
        before.append(at[length - 1] if length else -1)
    chosen, number = list[tuple[int, int]](), at[-1] if at else -1
    while number >= 0:
        chosen.append(pairs[number])
        number = before[number]
    return chosen[::-1]


def _once(lines: list[str], start: int, end: int) -> dict[str, int]:
    counts = Counter(lines[start:end])
    return {line: number for number, line in enumerate(lines[start:end], start) if counts[line] == 1}
