"""Several runs at the same time, each in a process of its own, on servers of its own.

A run waits most of its time, for leases and time-outs: so more of them than cores are quicker.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from rich.console import Console

from tests.chaos.kinds import kinds
from tests.chaos.run import Injection, Outcome, run

SCREEN = Console(stderr=True)


class Part(NamedTuple):
    """What one process does."""

    names: list[str]
    injections: int
    seed: int
    first: int
    is_long: bool


def together(parts: list[Part]) -> Outcome:
    """Runs the parts, and adds up what they have come to."""
    if len(parts) == 1:
        return _run(parts[0])
    outcome = Outcome([])
    with ProcessPoolExecutor(len(parts), mp_context=multiprocessing.get_context("spawn")) as pool:
        for each in pool.map(_run, parts):
            outcome.add(each)
    return outcome


def _run(part: Part) -> Outcome:
    known, pace = kinds(), "long" if part.is_long else "usual"
    chosen = [known[name] for name in part.names]
    return asyncio.run(run(chosen, part.injections, part.seed, first=part.first, pace=pace, told=_told))


def _told(injection: Injection) -> None:
    wrong = "\n".join(what[:300] for what in injection.wrong)  # at once: a run may be ended before its end
    held = "held" if injection.held else f"{len(injection.wrong)} wrong: {wrong}"
    style = "" if injection.held else "red"
    SCREEN.print(f"{injection.kind} {injection.number}: {injection.seconds:.1f} s, {held}", style=style, markup=False)
