"""A short cut of the attacks: every kind of fault once, briefly, several in a round. `make chaos` takes its time."""

from __future__ import annotations

import pytest

from tests.chaos.kinds import Kind, kinds
from tests.chaos.run import Run, run
from tests.chaos.servers import Servers

pytestmark = pytest.mark.servers

TOGETHER = 7
"""Faults in one round."""


def of(*groups: str) -> list[Kind]:
    """The kinds of these groups that take no time."""
    return [kind for kind in kinds().values() if kind.group in groups and not kind.is_slow]


async def wrong_after(servers: Servers, chosen: list[Kind], together: int = TOGETHER) -> list[str]:
    """What is wrong after each of these kinds was injected once."""
    async with Run.open(servers, 5, "brief") as running:
        usable = [kind for kind in chosen if servers.has_disk or not kind.needs_disk]
        rounds = [usable[first : first + together] for first in range(0, len(usable), together)]
        return [what for each in rounds for what in (await running.inject(each, 0)).wrong]


def test_there_are_forty_kinds_of_faults_and_more() -> None:
    assert len(kinds()) >= 40


@pytest.mark.parametrize("groups", [("network",), ("server",), ("process", "limit", "clock"), ("redis",), ("turn",)])
async def test_nothing_is_lost_doubled_wrong_or_foreign_after_any_fault(
    attacked: Servers, groups: tuple[str, ...]
) -> None:
    assert await wrong_after(attacked, of(*groups)) == []


async def test_a_log_that_has_gone_back_is_not_remembered_as_it_was(attacked: Servers) -> None:
    assert await wrong_after(attacked, [kind for kind in of("failover") if kind.name == "restored"], together=1) == []


@pytest.mark.long
async def test_a_thousand_faults() -> None:
    outcome = await run(list(kinds().values()), 1_000, seed=6)
    assert outcome.wrong == []
