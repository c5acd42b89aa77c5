"""The shape that all comparisons share: entries take turns, repeat by repeat, and ratios are paired by repeat.

The machine may be slower in one minute than in the next. So no entry is measured in one go: each repeat visits all of
them, from another start and every second time backwards, and a ratio is taken within a repeat.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.measuring import Spread, ratios
from benchmarks.targets import TARGETS

Numbers = Mapping[str, float]
"""By quantity, which says its unit: `events/s`, `p99, ms`."""
Say = Callable[[str], None]


class Key(NamedTuple):
    """Whose numbers: the case (`1000 messages`), the system in it, and the quantity."""

    case: str
    system: str
    quantity: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One system in one case. `run` measures it once. A peer that fails is left out; anything else may not fail."""

    case: str
    system: str
    run: Callable[[], Awaitable[Numbers]]
    is_peer: bool = False


@dataclass(frozen=True, slots=True)
class Ratio:
    """`samples` are of one repeat each. `target` names the promise that it is held against, if there is one."""

    what: str
    samples: Sequence[float]
    target: str | None = None

    def as_json(self) -> dict[str, Any]:
        """With the verdict where there is a target."""
        spread = Spread.of(self.samples)
        found = {"what": self.what, **spread.as_json()}
        if self.target is None:
            return found
        return {**found, "target": self.target, "reached": TARGETS[self.target].is_reached(spread.median)}


@dataclass(slots=True)
class Samples:
    """What was measured, in the order of the entries."""

    by_key: dict[Key, list[float]] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    """Why, by case and system."""

    def add(self, case: str, system: str, numbers: Numbers) -> None:
        """One visit's numbers."""
        for quantity, number in numbers.items():
            self.by_key.setdefault(Key(case, system, quantity), []).append(number)

    def systems(self, case: str) -> list[str]:
        """Who was measured in a case, and did not fail."""
        return list(dict.fromkeys(key.system for key in self.by_key if key.case == case))

    def median(self, key: Key) -> float:
        """Over all repeats."""
        return Spread.of(self.by_key[key]).median

    def best(self, case: str, systems: Sequence[str], quantity: str, most: bool) -> str | None:
        """The one with the highest (`most`) or lowest median; None where none of them was measured."""
        there = [system for system in systems if Key(case, system, quantity) in self.by_key]
        choose = max if most else min
        return choose(there, key=lambda system: self.median(Key(case, system, quantity)), default=None)

    def ratio(self, what: str, of: Key, to: Key, target: str | None = None) -> Ratio:
        """of / to, repeat by repeat."""
        return Ratio(what, ratios(self.by_key[of], self.by_key[to]), target)

    def drop(self, case: str, system: str, why: str) -> None:
        """Forgets an entry that failed: half of the repeats pair with nothing."""
        self.failed[case, system] = why
        for key in [key for key in self.by_key if (key.case, key.system) == (case, system)]:
            del self.by_key[key]

    def as_json(self) -> list[dict[str, Any]]:
        """One object a quantity."""
        return [{**key._asdict(), **Spread.of(numbers).as_json()} for key, numbers in self.by_key.items()]


async def interleaved(entries: Sequence[Entry], repeat: int, say: Say) -> Samples:
    """Visits every entry once in each repeat."""
    samples = Samples()
    for number in range(repeat):
        for entry in _order(entries, number, repeat):
            if (entry.case, entry.system) in samples.failed:
                continue
            say(f"repeat {number + 1} of {repeat}: {entry.case}, {entry.system}")
            await _visit(entry, samples, say)
    return samples


async def _visit(entry: Entry, samples: Samples, say: Say) -> None:
    # No entry pays for the garbage of the one before it, nor for the collector's way through what the others imported.
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    try:
        samples.add(entry.case, entry.system, await entry.run())
    except Exception as error:
        if not entry.is_peer:
            raise
        samples.drop(entry.case, entry.system, f"{type(error).__name__}: {error}"[:200])
        say(f"{entry.system} failed: {error}")


def _order(entries: Sequence[Entry], number: int, repeat: int) -> Iterator[Entry]:
    start = number * max(1, len(entries) // repeat) % len(entries)
    turned = [*entries[start:], *entries[:start]]
    return reversed(turned) if number % 2 else iter(turned)
