"""Ids that turnlog gives where the caller gives none. Ids of sessions, steps, messages and reports are in the order of
time, so that what is written at the same time lies together in the indexes of Postgres; those of writers, and of runs
of a turn, are random. No id is a secret."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from uuid import UUID

from turnlog.infrastructure.clock import now

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SET_BACK = 10_000
"""Milliseconds. A clock that goes back by less is waited for; one that goes back further was wrong before."""

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: five bits a digit, in the order of ASCII."""
_SHORT_DIGITS = 16


class OrderedNumbers:
    """Numbers that grow: the milliseconds since 1970, and below them `tail_bits` that are random at first. Within a
    millisecond they grow by a random step (RFC 9562, 6.2, method 2): so no two are the same here, and those of other
    processes are met by chance alone. May be used from any thread."""

    def __init__(self, tail_bits: int, step_bits: int, clock: Callable[[], datetime] = now) -> None:
        self._tail_bits = tail_bits
        self._step_bits = step_bits
        self._clock = clock
        self._lock = Lock()
        self._last = 0

    def next(self) -> int:
        """The next number."""
        at = (self._clock() - _EPOCH) // _MILLISECOND
        with self._lock:
            last_at = self._last >> self._tail_bits
            if at > last_at or at < last_at - _SET_BACK:
                # Its highest bit is left for those that follow in the same millisecond.
                self._last = at << self._tail_bits | secrets.randbits(self._tail_bits - 1)
            else:  # it may run over into the next millisecond
                self._last += 1 + secrets.randbits(self._step_bits)
            return self._last


_SESSIONS = OrderedNumbers(tail_bits=74, step_bits=48)
_SHORT = OrderedNumbers(tail_bits=38, step_bits=24)
"""The 42 bits that are left for milliseconds last until 2109."""


def new_session_id() -> UUID:
    """A UUID of version 7."""
    return _version_7(_SESSIONS.next())


def new_id() -> str:
    """The id of a step, a message or a report: 16 digits and letters. It is unique in a session, and short because
    every delta carries the id of its step."""
    number = _SHORT.next()
    return "".join(_DIGITS[number >> shift & 31] for shift in range(5 * (_SHORT_DIGITS - 1), -1, -5))


def new_token() -> str:
    """The id of a writer, or of a run of a turn: 16 random hexadecimal digits."""
    return secrets.token_hex(8)


def _version_7(number: int) -> UUID:
    """48 bits of milliseconds and 74 others as a UUID, with the version and the variant between them."""
    high, low = number >> 62, number & (1 << 62) - 1
    return UUID(int=(high >> 12 << 16 | 7 << 12 | high & 0xFFF) << 64 | 2 << 62 | low)
