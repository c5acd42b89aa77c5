"""`python -m tests.fuzz`: runs the fuzzers for so many inputs or seconds, in several processes."""

from __future__ import annotations

import hashlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import count

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.fuzz.fuzzing import CORPUS, Found, minimised
from tests.fuzz.running import Outcome, run_guided, run_random
from tests.fuzz.targets import TARGETS

SHARE, GUIDED_SHARE = 500, 20_000
"""Inputs of one fuzzer before it is another one's turn."""
SHOWN = 400
"""Bytes of an input that are printed."""


@dataclass(slots=True)
class Tally:
    """What one target has come to."""

    inputs: int = 0
    seconds: float = 0.0
    found: int = 0


@click.command()
@click.option("--target", "names", multiple=True, type=click.Choice(sorted(TARGETS)), help="Only this fuzzer.")
@click.option("--inputs", default=100_000, show_default=True, help="How many inputs, over all fuzzers.")
@click.option("--seconds", default=0.0, help="Stop after so many seconds.  [never]")
@click.option("--seed", default=0, show_default=True, help="Of the random inputs; the same seed gives the same inputs.")
@click.option("--processes", default=1, show_default=True, help="How many run at once.")
@click.option("--plain", is_flag=True, help="Without coverage, also where atheris is installed.")
@click.option("--keep", is_flag=True, help="Write what is found into the corpus.")
def main(
    names: tuple[str, ...], inputs: int, seconds: float, seed: int, processes: int, plain: bool, keep: bool
) -> None:
    """Fuzz. Prints what is found, minimised, and a count; exits with 1 if anything was."""
    chosen, console = names or tuple(TARGETS), Console()
    guided = not plain and find_spec("atheris") is not None
    console.print(f"seed {seed}, {inputs:,} inputs, {processes} processes, {'guided' if guided else 'random'}")
    tallies = {name: Tally() for name in chosen}
    kinds: set[tuple[str, str, str]] = set()
    share = max(SHARE, min(GUIDED_SHARE, inputs // len(chosen))) if guided else SHARE
    work = _work(chosen, inputs, seed, share)
    with tempfile.TemporaryDirectory(prefix="tl-fuzz-") as folder:
        run: Run = partial(run_guided, folder) if guided else run_random
        _count(_outcomes(work, processes, seconds, run), tallies, kinds, console, keep)
    _print(console, tallies)
    raise SystemExit(bool(kinds))


def _count(
    outcomes: Iterator[Outcome],
    tallies: dict[str, Tally],
    kinds: set[tuple[str, str, str]],
    console: Console,
    keep: bool,
) -> None:
    """Adds the outcomes up, and tells of the first of each kind that is found."""
    for name, done, taken, found in outcomes:
        tallies[name].inputs += done
        tallies[name].seconds += taken
        for one in found:
            tallies[name].found += 1
            if one.kind not in kinds:
                kinds.add(one.kind)
                _tell(console, minimised(one), keep)


Work = tuple[str, int, int]
"""A target, a seed, and a number of inputs."""
Run = Callable[..., Outcome]


def _work(names: tuple[str, ...], inputs: int, seed: int, share: int) -> Iterator[Work]:
    """Shares of the inputs for each target in turn."""
    left = inputs
    for number in count():
        for name in names:
            if left <= 0:
                return
            yield name, seed + number, min(share, left)
            left -= share


def _outcomes(work: Iterator[Work], processes: int, seconds: float, run: Run) -> Iterator[Outcome]:
    until = time.monotonic() + seconds if seconds else float("inf")
    with ProcessPoolExecutor(processes, multiprocessing.get_context("forkserver")) as pool:
        running = {pool.submit(run, *one, until) for _, one in zip(range(processes), work, strict=False)}
        while running:
            done = next(as_completed(running))
            running.remove(done)
            yield done.result()
            if time.monotonic() < until and (following := next(work, None)) is not None:
                running.add(pool.submit(run, *following, until))


def _tell(console: Console, found: Found, keep: bool) -> None:
    console.print(f"[red]{found.target}[/red] in {found.where}: {escape(found.error)}", highlight=False)
    console.print(
        f"    {found.data[:SHOWN]!r}{'...' if len(found.data) > SHOWN else ''}", markup=False, highlight=False
    )
    if keep:
        folder = CORPUS / found.target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(found.data).hexdigest()[:12]).write_bytes(found.data)


def _print(console: Console, tallies: dict[str, Tally]) -> None:
    table = Table(box=None)
    for column in ("fuzzer", "inputs", "inputs/s", "found"):
        table.add_column(column, justify="left" if column == "fuzzer" else "right")
    for name, tally in tallies.items():
        table.add_row(name, f"{tally.inputs:,}", f"{tally.inputs / (tally.seconds or 1):,.0f}", f"{tally.found:,}")
    total = sum(tally.inputs for tally in tallies.values())
    table.add_row("all", f"{total:,}", "", f"{sum(tally.found for tally in tallies.values()):,}")
    console.print(table)


if __name__ == "__main__":
    main()
