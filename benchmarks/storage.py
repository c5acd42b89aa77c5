"""`storage`: what a delta takes on disk, with its indexes, and in the write-ahead log.

Nothing is timed. A system that does not finish in time is weighed as far as it came, which favours those whose deltas
grow with the message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from uuid import uuid4

from benchmarks.benchmark import STORED, Benchmark, Report, described, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Say, interleaved
from benchmarks.contestants import PEERS_HELP, chosen_peers
from benchmarks.floors import BareInsert
from benchmarks.ours import Turnlog
from benchmarks.server import Ground
from benchmarks.systems import Conversation, System, running, text_of
from benchmarks.workload import Workload

_QUESTION = {"role": "user", "content": "Go on."}
_CASE = "one stream after the other"
_DISK, _WAL = "bytes on disk a delta", "WAL bytes a delta"


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """A visit records into new sessions of the same database: pages that are half full even out."""

    deltas: int = option(500, "Deltas an answer.")
    answers: int = option(4, "Answers on each visit, a session each.")
    seconds: float = option(4.0, "At most so long on each visit.")
    repeat: int = option(3, "Visits to each.")
    peers: str = option("all", PEERS_HELP)


async def measure(options: StorageOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    peers, notes = chosen_peers(options.peers)
    storage = _Storage(options, ground)
    kinds: list[type[System]] = [Turnlog, BareInsert, *peers]
    entries = [Entry(_CASE, kind.name, partial(storage.visit, kind), kind.is_peer) for kind in kinds]
    samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="storage",
        title=f"What a delta takes: answers of {options.deltas} deltas",
        options=asdict(options),
        samples=samples,
        verified=storage.all_intact,
        checked=STORED,
        machine=machine_of(ground),
        ratios=[
            samples.ratio(
                f"turnlog against a bare INSERT, {quantity}",
                Key(_CASE, Turnlog.name, quantity),
                Key(_CASE, BareInsert.name, quantity),
            )
            for quantity in (_DISK, _WAL)
        ],
        notes=notes,
        more=described(kinds),
    )


class _Storage:
    def __init__(self, options: StorageOptions, ground: Ground) -> None:
        self.all_intact = True
        self._options = options
        self._ground = ground
        self._workload = Workload()

    async def visit(self, kind: type[System]) -> Numbers:
        """One visit."""
        async with running(kind, self._ground) as system:
            disk, wal = self._ground.table_bytes(kind.name), self._ground.wal_bytes()
            until = perf_counter() + self._options.seconds
            answers = [await self._recorded(system, stream, until) for stream in range(self._options.answers)]
            wal, disk = self._ground.wal_bytes() - wal, self._ground.table_bytes(kind.name) - disk
            for conversation, text in answers:  # only now: who reads may write, too
                await self._check(system, conversation, "".join(text))
        deltas = sum(len(text) for _, text in answers)
        return {_DISK: disk / deltas, _WAL: wal / deltas}

    async def _recorded(self, system: System, stream: int, until: float) -> tuple[Conversation, list[str]]:
        conversation = system.conversation(uuid4())
        await conversation.create()
        await conversation.put([_QUESTION])
        return conversation, [text async for text in conversation.stream(self._deltas(stream, until))]

    async def _check(self, system: System, conversation: Conversation, text: str) -> None:
        if text:
            await conversation.put([_QUESTION])
            messages = await system.conversation(conversation.id).load()
            self.all_intact &= text_of(messages[1]) == text

    async def _deltas(self, stream: int, until: float) -> AsyncIterator[str]:
        for number in range(self._options.deltas):
            if perf_counter() >= until:
                return
            yield self._workload.delta(stream, number)


STORAGE = Benchmark(
    "storage",
    "Weigh what a delta takes on disk, beside peers.",
    StorageOptions,
    {"answers": 1, "seconds": 1.0, "repeat": 2},
    measure,
    plots=(_DISK,),
)
