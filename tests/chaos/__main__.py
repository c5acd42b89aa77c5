"""`python -m tests.chaos`"""

from __future__ import annotations

import json
import random

import click

from tests.chaos.kinds import kinds
from tests.chaos.report import as_json, print_table, write_page
from tests.chaos.together import SCREEN, Part, together


@click.command()
@click.option("--seed", type=int, help="The same seed injects the same.  [a random one]")
@click.option("--kind", "names", multiple=True, metavar="NAME", help="Only this kind, or group; may be repeated.")
@click.option("--injections", type=int, help="How many in all.  [two of each kind]")
@click.option("--from", "first", default=0, show_default=True, help="The number of the first injection of each kind.")
@click.option(
    "--processes",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many run at once, on servers of their own, with the seeds that follow.",
)
@click.option("--long", "is_long", is_flag=True, help="Faults that outlast every timeout are among them.")
@click.option("--report", is_flag=True, help="Write the table into docs/reliability.md.")
@click.option("--json", "in_json", is_flag=True, help="Print only JSON to stdout.")
def main(
    seed: int | None,
    names: tuple[str, ...],
    injections: int | None,
    first: int,
    processes: int,
    is_long: bool,
    report: bool,
    in_json: bool,
) -> None:
    """Attack a log at work, and look at everything after each fault. Exits with 1 if anything was wrong.

    What went wrong is printed with the seed, the kind and the number of its injection: `--seed 7 --kind
    postgres-killed --from 12 --injections 1` injects it again.
    """
    known = kinds()
    if unknown := [name for name in names if name not in known and name not in {one.group for one in known.values()}]:
        raise click.UsageError(f"no kind {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = [one for one in known.values() if not names or one.name in names or one.group in names]
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    SCREEN.print(f"seed {seed}")
    count = injections if injections is not None else 2 * len(chosen)
    shares = [count // processes + (number < count % processes) for number in range(processes)]
    parts = [
        Part([one.name for one in chosen], share, seed + number, first, is_long) for number, share in enumerate(shares)
    ]
    outcome = together(parts)
    print_table(SCREEN, outcome, known)
    if in_json:
        print(json.dumps(as_json(outcome, known)))  # noqa: T201 a command line prints
    if report:
        write_page(outcome, known)
    raise SystemExit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
