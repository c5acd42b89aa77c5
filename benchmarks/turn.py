"""`turn`: answers that arrive in deltas at full speed, each delta durable before the next one is shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from uuid import uuid4

from benchmarks.benchmark import STORED, Benchmark, Report, described, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.contestants import PEERS_HELP, chosen_peers
from benchmarks.floors import BareGroup, BareInsert
from benchmarks.ours import Turnlog, TurnlogRecord, TurnlogRecordMessages, TurnlogRecordResponses
from benchmarks.server import Ground
from benchmarks.systems import CONNECTIONS, Conversation, System, create_all, running, text_of
from benchmarks.workload import Workload

_QUESTION = {"role": "user", "content": "Go on."}
_RATE = "deltas/s"
_WARM_UP = 3  # deltas on each connection before the clock starts
_CROWD, _SINGLE = 100, 1


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """A visit is over when all answers are complete; after `seconds` no answer gets another delta."""

    streams: tuple[int, ...] = option((_SINGLE, _CROWD), "How many at once, a comma list.")
    deltas: int = option(500, "Deltas an answer.")
    seconds: float = option(2.0, "At most so long on each visit.")
    repeat: int = option(5, "Visits to each.")
    peers: str = option("all", PEERS_HELP)


async def measure(options: TurnOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    peers, notes = chosen_peers(options.peers)
    turns = _Turns(options, ground)
    ours = [TurnlogRecord, TurnlogRecordResponses, TurnlogRecordMessages, Turnlog]
    kinds: list[type[System]] = [*ours, BareInsert, BareGroup, *peers]
    entries = [
        Entry(_case(streams), kind.name, partial(turns.run, kind, streams), kind.is_peer)
        for streams in options.streams
        for kind in kinds
    ]
    samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="turn",
        title=f"Answers of {options.deltas} deltas, each durable before the next one is shown",
        options=asdict(options),
        samples=samples,
        verified=turns.all_intact,
        checked=STORED,
        machine=machine_of(ground),
        ratios=[ratio for streams in options.streams for ratio in _ratios(samples, streams, peers)],
        notes=notes,
        more=described(kinds),
    )


class _Turns:
    def __init__(self, options: TurnOptions, ground: Ground) -> None:
        self.all_intact = True
        self._options = options
        self._ground = ground
        self._workload = Workload()

    async def run(self, kind: type[System], streams: int) -> Numbers:
        """One visit: new sessions, warm connections, and in the time nothing but the answers."""
        async with running(kind, self._ground) as system:
            await self._warm_up(system)
            conversations = await _asked(system, streams)
            wal, began = self._ground.wal_bytes(), perf_counter()
            deltas = await self._answered(conversations, began + self._options.seconds)
            seconds, wal = perf_counter() - began, self._ground.wal_bytes() - wal
            for number in {0, streams - 1}:
                self.all_intact &= await self._is_intact(system, conversations[number], number, deltas[number])
        return {_RATE: sum(deltas) / seconds, "WAL bytes a delta": wal / sum(deltas)}

    async def _warm_up(self, system: System) -> None:
        warm = await _asked(system, CONNECTIONS)
        await asyncio.gather(*(_drain(each, self._deltas(0, _WARM_UP, float("inf"))) for each in warm))

    async def _answered(self, conversations: list[Conversation], until: float) -> list[int]:
        sources = [self._deltas(number, self._options.deltas, until) for number in range(len(conversations))]
        return await asyncio.gather(*map(_drain, conversations, sources))

    async def _deltas(self, stream: int, count: int, until: float) -> AsyncIterator[str]:
        """A provider that has the next delta as soon as it is asked."""
        for number in range(count):
            if perf_counter() >= until:
                return
            yield self._workload.delta(stream, number)

    async def _is_intact(self, system: System, conversation: Conversation, stream: int, deltas: int) -> bool:
        # A question after the answer: an answer at the very end is left out of a prompt where it may be made again.
        await conversation.put([_QUESTION])
        messages = await system.conversation(conversation.id).load()
        return text_of(messages[1]) == self._workload.text(stream, 0, deltas)


async def _asked(system: System, count: int) -> list[Conversation]:
    conversations = [system.conversation(uuid4()) for _ in range(count)]
    await create_all(conversations)
    await asyncio.gather(*(each.put([_QUESTION]) for each in conversations))
    return conversations


async def _drain(conversation: Conversation, deltas: AsyncIterator[str]) -> int:
    shown = 0
    async for _ in conversation.stream(deltas):
        shown += 1
    return shown


def _case(streams: int) -> str:
    return f"{streams} stream{'s' if streams > 1 else ''} at once"


def _ratios(samples: Samples, streams: int, peers: list[type[System]]) -> list[Ratio]:
    case = _case(streams)
    best = samples.best(case, [peer.name for peer in peers if peer.saves_deltas], _RATE, most=True)
    targets = {(TurnlogRecord.name, _SINGLE): "turn-single", (Turnlog.name, _CROWD): "turn-crowd"}
    return [
        samples.ratio(
            f"{case}: {ours} against {other}",
            Key(case, ours, _RATE),
            Key(case, other, _RATE),
            targets.get((ours, streams)) if other == best else None,
        )
        for ours in (TurnlogRecord.name, Turnlog.name)
        for other in (BareInsert.name, BareGroup.name, best)
        if other is not None
    ]


TURN = Benchmark(
    "turn",
    "Stream answers at full speed, beside peers.",
    TurnOptions,
    {"seconds": 0.3, "repeat": 2},
    measure,
    plots=(_RATE,),
)
