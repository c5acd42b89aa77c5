"""When what is queued is committed: at once, or a little later and together with what comes meanwhile.

A commit costs as much as some ten deltas, whatever it holds. Where many streams bring a delta now and then, each would
pay for a commit of its own. So a delta waits for those of other streams, at most `longest` seconds, and only

* where others are expected within that time: at least WORTH_WAITING_FOR. A stream counts only when it was quiet for
  longer than that since its last delta was stored. So one stream alone never waits, nor do two, however fast they are;
* if nobody may be held up: whatever is no fragment of a text goes at once, and takes along all that is queued;
* as long as its own stream was quiet since its last delta was stored. A stream that goes on at once when it hears that
  a delta is stored is not slowed down.
"""

from __future__ import annotations

from math import exp, inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnlog.infrastructure.store.appends import Append

WORTH_WAITING_FOR = 2
"""Deltas of other streams that have to be expected within the longest wait."""
FADE_SECONDS = 0.1
"""The time over which it is counted how many come."""


class Pacing:
    """The time at which the queue is due, by the clock of the loop. `longest` is the longest wait in seconds; with 0
    nothing ever waits."""

    __slots__ = ("_counted", "_fade", "_faded_at", "_lately", "_longest", "due")

    def __init__(self, longest: float) -> None:
        self.due = inf
        """When the queue is to be sent. Infinity: it is empty."""
        self._longest = longest
        self._fade = max(FADE_SECONDS, longest)
        self._lately = 0.0
        self._counted = 0
        self._faded_at = -inf

    def queued(self, append: Append, now: float) -> None:
        """An append was queued, at this time. Where the queue is due already, nobody needs to say so: at full speed
        that is nearly always."""
        if not (append.is_patient and self._longest):
            self.due = now
            return
        if self.due == inf:
            self._lately = self._lately * exp((self._faded_at - now) / self._fade) + self._counted
            self._faded_at, self._counted = now, 0
        quiet = now - append.lane.stored_at
        if quiet >= self._longest:
            self._counted += 1
            quiet = self._longest
        if self._lately * self._longest < WORTH_WAITING_FOR * self._fade:
            quiet = 0
        self.due = min(self.due, now + quiet)

    def sent(self, rest: int) -> None:
        """The queue was sent, but for this rest, which has waited once."""
        self.due = -inf if rest else inf
