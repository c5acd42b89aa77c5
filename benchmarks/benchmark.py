"""What a benchmark is: options with defaults, a function that measures, and a report in one shape."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.contest import Ratio, Samples, Say
from benchmarks.measuring import machine
from benchmarks.server import Ground
from benchmarks.systems import Contestant

STORED = "all that was acknowledged is stored, as it was sent"


class Verdict(NamedTuple):
    """A line to look at: what was checked, and whether it held."""

    good: bool
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found. `checked` says of which data `verified` speaks."""

    benchmark: str
    title: str
    options: Mapping[str, Any]
    samples: Samples
    verified: bool
    checked: str
    machine: Mapping[str, Any]
    ratios: Sequence[Ratio] = ()
    notes: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the JSON object."""

    def as_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "benchmark": self.benchmark,
            "title": self.title,
            "options": dict(self.options),
            **self.more,
            "series": self.samples.as_json(),
            "ratios": [ratio.as_json() for ratio in self.ratios],
            "notes": [*self.notes, *self._left_out()],
            "verdicts": [verdict._asdict() for verdict in self.all_verdicts()],
            "verified": self.verified,
            "machine": dict(self.machine),
        }

    def all_verdicts(self) -> list[Verdict]:
        """Its own, and whether the data was there."""
        verified = f"verified: {self.checked}" if self.verified else f"NOT VERIFIED: it is not so that {self.checked}"
        return [*self.verdicts, Verdict(self.verified, verified)]

    def _left_out(self) -> list[str]:
        return [f"{system} is left out of {case}: {why}" for (case, system), why in self.samples.failed.items()]


Measure = Callable[[Any, Ground, Say], Coroutine[Any, Any, Report]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`options` is a dataclass whose fields carry their help, see `option`. `quick` are those of a short run."""

    name: str
    help: str
    options: type[Any]
    quick: Mapping[str, Any]
    measure: Measure
    plots: Sequence[str] = ()
    """Quantities that a report draws."""

    def about(self) -> str:
        """What it measures and how: the docstring of its module, without its name."""
        text = sys.modules[self.measure.__module__].__doc__ or ""
        return text.strip().partition(": ")[2]


def option(default: Any, text: str, *, zero: bool = False) -> Any:
    """A field of an options class. Numbers are above zero, but for those that may be it."""
    return field(default=default, metadata={"help": text, "zero": zero})


def command_line(options: Mapping[str, Any]) -> list[str]:
    """Options as a benchmark's command takes them."""
    values = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in options.items()
    }
    return [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", value)]


def machine_of(ground: Ground) -> dict[str, Any]:
    """What the numbers were measured on."""
    return machine(ground.settings())


def described(kinds: Sequence[type[Contestant]]) -> dict[str, Any]:
    """For a report: what each system makes durable, and whether it is a peer."""
    return {
        "systems": {
            kind.name: {
                "per_delta": kind.per_delta,
                "per_message": kind.per_message,
                "saves_deltas": kind.saves_deltas,
                "is_peer": kind.is_peer,
            }
            for kind in kinds
        }
    }
