"""`answer`: turns with two tool calls, from the question to the last word, beside a loop that keeps no log.

Many conversations at once, each in its second turn: the question, a step with two calls of tools, and a step with the
text. The provider is the same for all and has a process of its own, which is not counted: it answers at full speed, and
at the pace of a model. Processor time is that of the client's process, and apart from it that of the servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from uuid import UUID, uuid4

from benchmarks.benchmark import STORED, Benchmark, Report, described, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.contestants import chosen_peers, peers_help
from benchmarks.cpu import CpuClock
from benchmarks.loops import PEERS
from benchmarks.loops.bare import BareLoop
from benchmarks.loops.loop import Loop
from benchmarks.loops.ours import TurnlogLoop, TurnlogShownLoop
from benchmarks.loops.provider import answer_text, model_of, running_provider
from benchmarks.server import Ground

_QUESTION = "What is the weather in Paris, and what time is it there?"
_CLIENT, _ALL, _WALL = "client CPU, ms a turn", "CPU with the servers, ms a turn", "wall, ms a turn"
_QUIET_SECONDS = 0.2
"""What goes on after the last word, as a view that is kept for the next reader, is counted too."""
_LOOKED_AT = 5


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """A visit is a turn in each of the conversations."""

    at_once: int = option(100, "Conversations at once.")
    chunks: int = option(50, "Deltas of the last answer.")
    pace: float = option(
        20.0, "Milliseconds before each chunk at the pace of a model; 0: only at full speed.", zero=True
    )
    repeat: int = option(7, "Visits to each.")
    peers: str = option("all", peers_help(PEERS))


async def measure(options: AnswerOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    peers, notes = chosen_peers(options.peers, PEERS)
    kinds: list[type[Loop]] = [TurnlogLoop, TurnlogShownLoop, BareLoop, *peers]
    paces = [0.0, options.pace] if options.pace else [0.0]
    async with running_provider(options.chunks) as base_url:
        turns = _Turns(options, ground, base_url)
        entries = [
            Entry(_case(pace), kind.name, partial(turns.run, kind, pace), kind.is_peer)
            for pace in paces
            for kind in kinds
        ]
        samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="answer",
        title=f"{options.at_once} turns at once, each with two tool calls and {options.chunks} deltas",
        options=asdict(options),
        samples=samples,
        verified=turns.all_intact,
        checked=f"all was shown as it was sent, and {STORED}",
        machine=machine_of(ground),
        ratios=[ratio for pace in paces for ratio in _ratios(samples, _case(pace))],
        notes=notes,
        more=described(kinds),
    )


class _Turns:
    def __init__(self, options: AnswerOptions, ground: Ground, base_url: str) -> None:
        self.all_intact = True
        self._options = options
        self._ground = ground
        self._base_url = base_url

    async def run(self, kind: type[Loop], pace: float) -> Numbers:
        """One visit: new conversations with a turn each, which warms all up; and then the turn that is measured."""
        conversations = [uuid4() for _ in range(self._options.at_once)]
        async with _running(kind, self._ground, self._base_url) as loop:
            await loop.create(conversations)
            await self._answered(loop, conversations, 1, 0.0)
            await asyncio.sleep(_QUIET_SECONDS)
            before, wal, began = CpuClock.read(self._ground), self._ground.wal_bytes(), perf_counter()
            await self._answered(loop, conversations, 2, pace)
            seconds = perf_counter() - began
            await asyncio.sleep(_QUIET_SECONDS)
            spent, wal = CpuClock.read(self._ground).since(before), self._ground.wal_bytes() - wal
            for each in conversations[:: max(1, len(conversations) // _LOOKED_AT)]:
                self.all_intact &= await loop.last_answer(each) == self._text(2)
        return self._numbers(spent, seconds, wal)

    def _numbers(self, spent: dict[str, float], seconds: float, wal: int) -> Numbers:
        turns = self._options.at_once
        cpu = {f"{who} CPU, ms a turn": each / turns * 1e3 for who, each in spent.items()}
        whole = {_ALL: sum(spent.values()) / turns * 1e3} if len(spent) > 1 else {}
        return {**cpu, **whole, _WALL: seconds / turns * 1e3, "WAL bytes a turn": wal / turns}

    async def _answered(self, loop: Loop, conversations: Sequence[UUID], turn: int, pace: float) -> None:
        model = model_of(pace)
        shown = await asyncio.gather(*(loop.answer(each, _QUESTION, model) for each in conversations))
        self.all_intact &= set(shown) == {self._text(turn)}

    def _text(self, turn: int) -> str:
        return "".join(answer_text(turn, self._options.chunks))


@asynccontextmanager
async def _running(kind: type[Loop], ground: Ground, base_url: str) -> AsyncIterator[Loop]:
    loop = kind(ground, base_url)
    await loop.start()
    try:
        yield loop
    finally:
        await loop.stop()


def _case(pace: float) -> str:
    return f"a chunk every {pace:g} ms" if pace else "at full speed"


def _ratios(samples: Samples, case: str) -> list[Ratio]:
    def ratio(of: str, to: str, quantity: str) -> Ratio:
        what = f"{case}: {quantity.partition(',')[0]}, {of} against {to}"
        return samples.ratio(what, Key(case, of, quantity), Key(case, to, quantity))

    bare, ours = BareLoop.name, (TurnlogLoop.name, TurnlogShownLoop.name)
    others = [system for system in samples.systems(case) if system != bare]
    peers = [system for system in others if system not in ours]
    quantities = [each for each in (_CLIENT, _ALL, _WALL) if Key(case, bare, each) in samples.by_key]
    floors = [ratio(system, bare, quantity) for quantity in quantities for system in others]
    return floors + [ratio(ours[1], peer, quantity) for quantity in quantities for peer in peers]


ANSWER = Benchmark(
    "answer",
    "Answer with tools, beside a loop without a log and the loops of peers.",
    AnswerOptions,
    {"at_once": 20, "pace": 0.0, "repeat": 2},
    measure,
    plots=(_CLIENT, _WALL),
)
