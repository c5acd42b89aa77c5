"""Faults at the owner of a turn: while a tool runs, between two requests, and while somebody has to decide."""

from __future__ import annotations

import signal

from tests.chaos.arena import LEASE_SECONDS, Arena, Process
from tests.chaos.calls import Call
from tests.chaos.kinds import kind
from tests.chaos.script import new_id
from tests.chaos.talks import Stage

PLAYS: dict[Stage, tuple[str, ...]] = {
    "tool": ("slow", "slow again"),
    "tool ended": ("slow", "slow again"),
    "waiting": ("danger",),
}


async def _owner(arena: Arena, stage: Stage) -> tuple[Process, Call]:
    """A process that has begun to answer a message, and is there by now. The others are asked to answer it, too."""
    talk = Call(
        f"turn-{arena.rng.getrandbits(32):x}", "talk", new_id(arena.rng), "user-0", play=arena.rng.choice(PLAYS[stage])
    )
    start = Call(f"start-{talk.session_id}", "start", talk.session_id, talk.user)
    living = [one for one in arena.processes if not await one.has_left()] or [await arena.add_process()]
    owner = arena.rng.choice(living)
    owner.order("call", [start, talk])
    assert await owner.reached(talk.id, stage), f"the turn does not get to {stage!r}"
    for process in arena.processes:
        if process is not owner and arena.rng.random() < 0.7:
            process.order("call", [talk])
    await arena.hold(0.0, 0.03)
    return owner, talk


async def _killed(arena: Arena, stage: Stage) -> None:
    owner, talk = await _owner(arena, stage)
    owner.send_signal(signal.SIGKILL)
    for process in arena.processes:
        if process is not owner:
            process.order("call", [Call(f"decide-{talk.id}", "decide", talk.session_id, talk.user)])
    await arena.hold(0.02, 0.1)


async def _frozen(arena: Arena, stage: Stage) -> None:
    owner, talk = await _owner(arena, stage)
    owner.send_signal(signal.SIGSTOP)
    try:
        for process in arena.processes:
            if process is not owner:
                process.order("call", [Call(f"decide-{talk.id}", "decide", talk.session_id, talk.user)])
        await arena.hold(LEASE_SECONDS * 1.2, LEASE_SECONDS * 1.6)
    finally:
        owner.send_signal(signal.SIGCONT)
    await arena.hold(0.05, 0.1)


@kind("turn", "the owner of a turn is killed while a tool runs")
async def owner_killed_in_tool(arena: Arena) -> None:
    await _killed(arena, "tool")


@kind("turn", "the owner of a turn is killed between the result of a tool and the next answer")
async def owner_killed_between_steps(arena: Arena) -> None:
    await _killed(arena, "tool ended")


@kind("turn", "the process is killed whose turn waits for a decision, and another one decides")
async def owner_killed_while_waiting(arena: Arena) -> None:
    await _killed(arena, "waiting")


@kind("turn", "the owner of a turn stands still beyond its lease while a tool runs, and goes on", is_slow=True)
async def owner_frozen_in_tool(arena: Arena) -> None:
    await _frozen(arena, "tool")


@kind("turn", "the owner of a turn stands still beyond its lease between two requests, and goes on", is_slow=True)
async def owner_frozen_between_steps(arena: Arena) -> None:
    await _frozen(arena, "tool ended")


@kind("turn", "the process stands still whose turn waits for a decision, and another one decides", is_slow=True)
async def owner_frozen_while_waiting(arena: Arena) -> None:
    await _frozen(arena, "waiting")


@kind("turn", "Postgres is cut off while a tool runs")
async def postgres_cut_in_tool(arena: Arena) -> None:
    await _owner(arena, "tool")
    arena.servers.to_postgres.rules.refuses = True
    arena.servers.to_postgres.reset_all()
    await arena.hold(0.2, 0.5, 2.0)


@kind("turn", "Redis is cut off while a turn is answered")
async def redis_cut_in_answer(arena: Arena) -> None:
    await _owner(arena, arena.rng.choice(("tool", "tool ended")))
    arena.servers.to_redis.rules.refuses = True
    arena.servers.to_redis.reset_all()
    await arena.hold(0.1, 0.5, 2.0)
