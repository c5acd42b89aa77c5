"""`serve`: many browsers that follow answers over HTTP, from one process and from several.

Answers are recorded at the pace of a model, and each is followed by several clients as server-sent events. Beside it
stands a bare server of the same library, which sends as many bytes by itself, at the same pace: what turnlog adds to it
is that each event comes from the log. The delay is that from durable until a client has it; for the bare server from
when it was sent. Clients and writer share a process, which is part of every delay.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Say, interleaved
from benchmarks.measuring import percentile
from benchmarks.serve_process import TEXT
from benchmarks.served import Served, served
from benchmarks.server import Ground
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings

_OURS, _BARE = "turnlog", "a bare server"
_CPU, _P50, _P99, _MEMORY = "CPU an event and client, us", "p50, ms", "p99, ms", "memory a client, kB"
_BEFORE = 3
"""Events of a session before its first delta: its start, the message, and the beginning of the step."""

Arrivals = dict[int, float]
"""When each position arrived at a client."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Answers, and their clients."""

    clients: int = option(1_000, "Clients, over all answers.")
    answers: int = option(200, "Answers that are recorded at the same time.")
    deltas: int = option(60, "Deltas of each answer.")
    pace: int = option(5, "Deltas a second of each answer.")
    processes: int = option(4, "Serving processes, in the second case.")
    repeat: int = option(2, "Runs of each case.")


async def measure(options: ServeOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    serve = _Serve(options, ground)
    cases = {"1 process": 1, f"{options.processes} processes": options.processes}
    entries = [
        Entry(case, system, partial(work, processes))
        for case, processes in cases.items()
        for system, work in ((_OURS, serve.ours), (_BARE, serve.bare))
    ]
    samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="serve",
        title="Answers to browsers, over HTTP",
        options=asdict(options),
        samples=samples,
        verified=serve.all_right,
        checked="every client got every event once, in order",
        machine=machine_of(ground),
        ratios=[
            samples.ratio(
                f"{case}: {quantity}, against {_BARE}", Key(case, _OURS, quantity), Key(case, _BARE, quantity)
            )
            for case in cases
            for quantity in (_CPU, _MEMORY)
        ],
        notes=[f"{options.clients} clients of {options.answers} answers, {options.pace} deltas a second each"],
    )


class _Serve:
    def __init__(self, options: ServeOptions, ground: Ground) -> None:
        self.all_right = True
        self._options = options
        self._settings = Settings.from_env(
            {"DATABASE_URL": ground.database("turnlog"), "REDIS_URL": ground.redis_url or "none"}
        )

    async def ours(self, processes: int) -> Numbers:
        """Answers that are recorded here and followed there."""
        options, durable = self._options, dict[str, Arrivals]()
        async with SessionLog.open(self._settings) as log, _served(processes, log.settings) as serving:
            empty = serving.memory()
            sessions = [await log.start_session(user_id="bench") for _ in range(options.answers)]
            for session in sessions:
                await session.say("Go on.")
            clients = await _connected(serving.port, [f"/sessions/{s.id}/deltas?after=2" for s in sessions], options)
            before = serving.cpu()
            await asyncio.gather(*(self._write(session, durable) for session in sessions))
            arrived = await asyncio.gather(*clients)
            spent, memory = serving.cpu() - before, serving.memory() - empty
        owners = [str(sessions[index % options.answers].id) for index in range(options.clients)]
        return self._numbers(arrived, [durable[owner] for owner in owners], spent, memory)

    async def _write(self, session: Session, durable: dict[str, Arrivals]) -> None:
        told = durable[str(session.id)] = {}
        began = time.perf_counter()
        async with session.completion() as completion:
            for number in range(self._options.deltas):
                await asyncio.sleep(max(0.0, began + number / self._options.pace - time.perf_counter()))
                await completion.text(TEXT)
                told[_BEFORE + 1 + number] = time.time()
            await completion.finish("stop")

    async def bare(self, processes: int) -> Numbers:
        """The same from a server that has it from nowhere."""
        options = self._options
        async with _served(processes, None) as serving:
            empty = serving.memory()
            start = time.time() + 2 + options.clients / 200
            path = f"/sessions/any/deltas?start={start}&deltas={options.deltas}&pace={options.pace}"
            clients = await _connected(serving.port, [path], options)
            before = serving.cpu()
            arrived = await asyncio.gather(*clients)
            spent, memory = serving.cpu() - before, serving.memory() - empty
        return self._numbers(arrived, None, spent, memory)

    def _numbers(
        self, arrived: Sequence[_Heard], durable: Sequence[Arrivals] | None, spent: float, memory: float
    ) -> Numbers:
        options = self._options
        wanted = list(range(_BEFORE + 1, _BEFORE + 1 + options.deltas))
        self.all_right &= all([position for position, _, _ in each] == wanted for each in arrived)
        known = durable or [{position: sent for position, _, sent in each} for each in arrived]
        waits = sorted(
            (at - sent[position]) * 1e3 for each, sent in zip(arrived, known, strict=True) for position, at, _ in each
        )
        return {
            _CPU: spent / (options.clients * options.deltas) * 1e6,
            _P50: percentile(waits, 50),
            _P99: percentile(waits, 99),
            _MEMORY: memory / options.clients / 1e3,
        }


_Heard = list[tuple[int, float, float]]
"""The texts that a client heard: their positions, when they came, and when they were sent, where they say so."""


async def _connected(port: int, paths: Sequence[str], options: ServeOptions) -> list[asyncio.Task[_Heard]]:
    """Clients that have begun to listen."""
    tasks = list[asyncio.Task[_Heard]]()
    for index in range(options.clients):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        head = "Host: bench\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n"
        writer.write(f"GET {paths[index % len(paths)]} HTTP/1.1\r\n{head}".encode())
        await reader.readuntil(b"retry: 1000\n\n")
        tasks.append(asyncio.create_task(_heard(reader, writer)))
    return tasks


async def _heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Heard:
    found = _Heard()
    while line := await reader.readline():
        if line.startswith(b'data: {"kind":"text"'):
            said = json.loads(line[6:])
            found.append((said["position"], time.time(), said.get("sent", 0.0)))
    writer.close()
    return found


def _served(processes: int, settings: Settings | None) -> AbstractAsyncContextManager[Served]:
    """Processes that serve on one port. Without settings it is the bare server."""
    job = {"settings": settings and settings.model_dump(mode="json")}
    return served("benchmarks.serve_process", job, processes)


SERVE = Benchmark(
    name="serve",
    help="Browsers that follow answers over HTTP, beside a bare server of the same library.",
    options=ServeOptions,
    quick={"clients": 20, "answers": 4, "deltas": 10, "pace": 20, "processes": 2, "repeat": 1},
    measure=measure,
)
