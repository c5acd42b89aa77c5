"""A turn has one owner and every message one answer, whatever is done at the same time, and whoever dies."""

from __future__ import annotations

import os

import pytest

from tests.answer.turn_checks import faults
from tests.answer.turn_model import World
from turnlog import Settings

SEEDS = [int(seed) for seed in os.environ.get("TURNLOG_TURN_SEED", "").split()]
"""TURNLOG_TURN_SEED="7 12" tries only these."""


async def try_seed(seed: int, settings: Settings, talks: int, operations: int) -> None:
    world = World(seed, settings)
    try:
        await world.open(participants=world.rng.randint(2, 4), talks=talks)
        await world.run(operations)
        found = await faults(world)
    finally:
        await world.close()
    assert not found, "\n".join([f"TURNLOG_TURN_SEED={seed}", *found])


@pytest.mark.parametrize("seed", SEEDS or range(3))
async def test_a_turn_has_one_owner_and_each_message_one_answer(seed: int, settings: Settings) -> None:
    await try_seed(seed, settings, talks=6, operations=12)


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS or range(1_000, 1_250))
async def test_it_is_so_in_thousands_of_sessions(seed: int, settings: Settings) -> None:
    await try_seed(seed, settings, talks=10, operations=15)
