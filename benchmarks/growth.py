"""`growth`: what the n-th turn of a session costs, counted: statements, rows read, bytes to Redis and to the
write-ahead log; and timed beside it.

A turn is what a handler does: it takes the session up, adds the question, builds the prompt, and records the answer.
turnlog records it delta by delta, and asks for a prompt with a limit of tokens; whole answers are there for
comparison. The peers record it as a whole message, their usual way, and load everything, as they must. The bare
INSERTs are one a delta, and read nothing at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from uuid import UUID, uuid4

from benchmarks.benchmark import Benchmark, Report, described, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.contestants import PEERS_HELP, chosen_peers
from benchmarks.conversation import same
from benchmarks.counters import Counters, counted
from benchmarks.floors import BareInsert
from benchmarks.ours import USER, Turnlog, TurnlogWhole
from benchmarks.server import Ground
from benchmarks.systems import Message, System, running
from benchmarks.workload import Workload

_TIME = "ms a turn"
_PROMISED = (10, 10_000)
_SET_UP_ANEW = 100  # turns: sessions no longer than this begin anew on each visit, so that they stay as long
_TURNS = 4  # on each visit, counted together

Turn = Callable[[System, UUID, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GrowthOptions:
    """Longer sessions grow by a few turns on each visit."""

    turns: tuple[int, ...] = option((10, 100, 1_000, 10_000), "Which turns of turnlog's, a comma list.")
    peer_turns: tuple[int, ...] = option((10, 100, 1_000), "Which turns of the peers.")
    deltas: int = option(20, "Deltas an answer.")
    max_tokens: int = option(2_000, "Of turnlog's prompt.")
    repeat: int = option(5, "Visits to each.")
    peers: str = option("all", PEERS_HELP)


async def measure(options: GrowthOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    peers, notes = chosen_peers(options.peers)
    growth = _Growth(options, ground, say)
    kinds: list[tuple[type[System], Turn, tuple[int, ...]]] = [
        (Turnlog, growth.our_turn, options.turns),
        (TurnlogWhole, growth.our_whole_turn, options.peer_turns),
        (BareInsert, growth.bare_turn, options.turns),
        *((kind, growth.peer_turn, options.peer_turns) for kind in peers),
    ]
    entries = [
        Entry(_case(number), kind.name, partial(growth.visit, kind, turn, number), kind.is_peer)
        for kind, turn, numbers in kinds
        for number in numbers
    ]
    samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="growth",
        title="What the n-th turn costs",
        options=asdict(options),
        samples=samples,
        verified=growth.all_there,
        checked="the sessions have all turns, and the last ones as they were recorded",
        machine=machine_of(ground),
        ratios=_ratios(samples, options.turns),
        notes=notes,
        more=described([kind for kind, _, _ in kinds]),
    )


class _Growth:
    def __init__(self, options: GrowthOptions, ground: Ground, say: Say) -> None:
        self.all_there = True
        self._options = options
        self._ground = ground
        self._say = say
        self._workload = Workload()
        self._sessions: dict[tuple[str, int], tuple[UUID, int]] = {}
        """By system and n: the session, and how many turns it has."""

    async def visit(self, kind: type[System], turn: Turn, number: int) -> Numbers:
        """A few turns are counted, through a proxy; a few more are timed, without it."""
        session_id, there = await self._session(kind, number)
        counters = Counters(self._ground, kind.name)
        nothing = await counters.of(kind, _idle)
        some = await counters.of(kind, partial(self._take_turns, turn, session_id, there))
        there += _TURNS
        async with running(kind, self._ground) as system:
            began = perf_counter()
            await self._take_turns(turn, session_id, there, system)
            seconds = perf_counter() - began
            there += _TURNS
            self._sessions[kind.name, number] = session_id, there
            loaded = await system.conversation(session_id).load()
        self.all_there &= same(loaded[-2 * _TURNS :], self._messages(there - _TURNS, there))
        self.all_there &= len(loaded) == 2 * there
        return {**counted(nothing, some, _TURNS), _TIME: seconds / _TURNS * 1e3}

    async def _session(self, kind: type[System], number: int) -> tuple[UUID, int]:
        known = self._sessions.get((kind.name, number))
        if known and number > _SET_UP_ANEW:
            return known
        self._say(f"{kind.name}: {number - 1} turns")
        session_id = uuid4()
        async with running(kind, self._ground) as system:
            if isinstance(system, Turnlog):
                await system.fill_by_deltas(session_id, [self._turn(each) for each in range(number - 1)])
            else:
                await system.fill(session_id, self._messages(0, number - 1))
        return session_id, number - 1

    async def _take_turns(self, turn: Turn, session_id: UUID, there: int, system: System) -> None:
        for number in range(there, there + _TURNS):
            await turn(system, session_id, number)

    async def our_turn(self, system: System, session_id: UUID, number: int) -> None:
        """As a handler does it, delta by delta."""
        await self._handled(system, session_id, *self._turn(number))

    async def our_whole_turn(self, system: System, session_id: UUID, number: int) -> None:
        """The same with an answer that comes whole."""
        question, deltas = self._turn(number)
        await self._handled(system, session_id, question, ["".join(deltas)])

    async def _handled(self, system: System, session_id: UUID, question: str, deltas: Sequence[str]) -> None:
        assert isinstance(system, Turnlog)  # noqa: S101 for the type checker
        session = system.log.session(session_id, USER)
        await session.say(question)
        await session.prompt(max_tokens=self._options.max_tokens)
        async with session.completion() as answer:
            for text in deltas:
                await answer.text(text)
            await answer.finish()

    async def peer_turn(self, system: System, session_id: UUID, number: int) -> None:
        """Message by message."""
        question, answer = self._messages(number, number + 1)
        conversation = system.conversation(session_id)
        await conversation.load()
        await conversation.put([question])
        await conversation.put([answer])

    async def bare_turn(self, system: System, session_id: UUID, number: int) -> None:
        """As many rows as turnlog writes, into a session that is known to have two a turn, and nothing read."""
        assert isinstance(system, BareInsert)  # noqa: S101 for the type checker
        question, deltas = self._turn(number)
        conversation = await system.conversation_at_its_end(session_id)
        await conversation.put([{"role": "user", "content": question}])
        for text in deltas:
            await conversation.put_delta(text)
        await conversation.end_answer()

    def _turn(self, number: int) -> tuple[str, list[str]]:
        size = self._options.deltas
        deltas = [self._workload.delta(number, each) for each in range(size)]
        return self._workload.text(number, size, 2 * size), deltas

    def _messages(self, first: int, end: int) -> list[Message]:
        turns = [self._turn(number) for number in range(first, end)]
        return [
            message
            for question, deltas in turns
            for message in ({"role": "user", "content": question}, {"role": "assistant", "content": "".join(deltas)})
        ]


async def _idle(system: System) -> None:
    """Opening and closing cost something too: that is subtracted."""


def _case(number: int) -> str:
    return f"turn {number:,}"


def _ratios(samples: Samples, turns: tuple[int, ...]) -> list[Ratio]:
    """The longest against the shortest, and the worst of what is promised to be flat."""
    first, last = min(turns), max(turns)
    what = f"turnlog: turn {last:,} against turn {first:,}"

    def ratio(quantity: str) -> Ratio:
        of, to = (Key(_case(number), Turnlog.name, quantity) for number in (last, first))
        return samples.ratio(f"{what}, {quantity}", of, to)

    flat = [ratio(each) for each in Counters.FLAT if all(samples.by_key[Key(_case(first), Turnlog.name, each)])]
    worst = [max(repeat) for repeat in zip(*(ratio.samples for ratio in flat), strict=True)]
    target = "growth" if (first, last) == _PROMISED else None
    return [*flat, Ratio(f"{what}, the worst of these", worst, target), ratio(_TIME)]


GROWTH = Benchmark(
    "growth",
    "Count what the n-th turn costs, beside peers.",
    GrowthOptions,
    {"turns": (10, 100), "peer_turns": (10, 100), "repeat": 2},
    measure,
    plots=(_TIME, "rows read", "WAL bytes"),
)
