"""The ends of views: what is held of a long session while it is folded, and what Redis holds of it."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain
from uuid import UUID

from turnlog.infrastructure.cache_entry import Entry
from turnlog.projections.projector import Projector
from turnlog.projections.turn import Turn

VIEW_BYTES, LAST_BYTES = 1024 * 1024, 256 * 1024
"""Most bytes of turns in a cached view, and how many are left of its end when it would have more: of a long session
Redis holds the last turns. Whoever wants all of them reads the others from Postgres."""


HEAD_BYTES = 16 * 1024
TURN_BYTES = 2 * 1024
"""Bytes of an entry that are read for its head, and for each turn that is wanted, where nothing is known of its size.
Four times as many are read if that is not enough."""
REMEMBERED_SIZES, REMEMBERED_LINES = 10_000, 64
_SLACK = 1.25


class EntrySizes:
    """How large the entries are that this process has seen last, so that of a long one little more is read than is
    wanted."""

    def __init__(self) -> None:
        self._sizes = OrderedDict[UUID, tuple[int, list[int]]]()

    def saw(self, session_id: UUID, entry: Entry) -> None:
        """Remembers the size of the head, and of each of the last turns."""
        _, known = self._sizes.get(session_id, (0, []))
        lines = [len(line) for line in entry.lines]
        known = known[: -len(lines)] if lines else known  # of the turns before them, about
        self._sizes[session_id] = len(entry.last), (known + lines)[-REMEMBERED_LINES:]
        self._sizes.move_to_end(session_id)
        if len(self._sizes) > REMEMBERED_SIZES:
            self._sizes.popitem(last=False)

    def of_end(self, session_id: UUID, turns: int) -> int:
        """About how many bytes the head and so many turns have."""
        head, lines = self._sizes.get(session_id, (0, []))
        if not lines:
            return HEAD_BYTES + turns * TURN_BYTES
        last = lines[-turns:] if turns else []
        more = (turns - len(last)) * sum(lines) / len(lines)
        return int((head + sum(last) + more) * _SLACK)


def end_of(projector: Projector, turns: int) -> Projector:
    """The projector with its last `turns` closed turns alone."""
    first = max(projector.first_turn, projector.closed_turns - turns)
    return Projector.resume(projector.head(), projector.pages_from(first))


def last_lines(before: Sequence[bytes], pages: Sequence[Turn], *, is_whole: bool) -> list[bytes]:
    """The lines before these pages, and those of the pages, as far as they are to be in an entry: the last ones, or all
    where they are `is_whole` and an entry may hold them."""
    most = VIEW_BYTES if is_whole else LAST_BYTES
    lines, sizes = list[bytes](), [0]
    for line in chain((page.to_short_json() for page in reversed(pages)), reversed(before)):
        sizes.append(sizes[-1] + len(line))
        if sizes[-1] > most:
            del lines[bisect_right(sizes, LAST_BYTES) - 1 :]
            break
        lines.append(line)
    return lines[::-1]
