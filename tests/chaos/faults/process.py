"""Faults of the processes that use turnlog."""

from __future__ import annotations

import signal

from tests.chaos.arena import LEASE_SECONDS, Arena
from tests.chaos.kinds import kind


@kind("process", "a process is killed; another one asks again for what it was not told")
async def process_killed(arena: Arena) -> None:
    process = arena.rng.choice(arena.processes)
    process.send_signal(signal.SIGKILL)
    await arena.hold(0.02, 0.1)


@kind("process", "all processes are killed at once")
async def all_killed(arena: Arena) -> None:
    for process in arena.processes:
        process.send_signal(signal.SIGKILL)
    await arena.hold(0.02, 0.05)


@kind("process", "a process stands still for longer than its lease, and goes on")
async def process_frozen(arena: Arena) -> None:
    process = arena.rng.choice(arena.processes)
    process.send_signal(signal.SIGSTOP)
    await arena.hold(0.1, 0.4, LEASE_SECONDS * 1.6)
    process.send_signal(signal.SIGCONT)


@kind("process", "calls are cancelled wherever they are")
async def calls_cancelled(arena: Arena) -> None:
    for _ in arena.times(3, 10):
        arena.order_all("cancel_some", arena.rng.getrandbits(30))
        await arena.hold(0.005, 0.03)


@kind("process", "a log is closed under its callers, and opened again")
async def log_closed(arena: Arena) -> None:
    arena.rng.choice(arena.processes).order("reopen")
    await arena.hold(0.1, 0.3)


@kind("process", "the event loop stands still")
async def loop_blocked(arena: Arena) -> None:
    longest = LEASE_SECONDS * 1.3 if arena.is_long and arena.rng.random() < 0.3 else 0.4
    arena.order_all("block", arena.rng.uniform(0.1, longest))
    await arena.hold(0.1, 0.2)


@kind("process", "a process with an open log is forked, and the copy ends")
async def process_forked(arena: Arena) -> None:
    arena.order_all("fork_process", False)
    await arena.hold(0.05, 0.1)


@kind("process", "a process with an open log is forked, and the copy uses the log, too")
async def log_used_after_fork(arena: Arena) -> None:
    arena.order_all("fork_process", True)
    await arena.hold(0.05, 0.1)


@kind("process", "a third process joins in, and is killed")
async def process_joins_and_dies(arena: Arena) -> None:
    process = await arena.add_process()
    await arena.hold(0.05, 0.1)
    process.send_signal(signal.SIGKILL)


@kind("process", "nothing: two processes write in the same sessions, under the same ids at the same time")
async def nothing(arena: Arena) -> None:
    await arena.hold(0.1, 0.3)
