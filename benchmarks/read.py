"""`read`: the view and the prompt of long sessions, hot, cold and stale, beside the limit and the peers.

Hot: Redis has the view as it is. Stale: it has the view of a turn before. Cold: it has nothing. In all three the
process remembers no prompt; in a fourth case it does, as it is by default once it has read one. The limit is Redis'
GET of the prompt's own bytes and one JSON parse. Each read begins with a new handle.

A reader takes from Redis only what was written with the secret of the log: it computes a SHA-256 of all the bytes
that it uses. For a hot prompt, of which nothing but the JSON has to be parsed, that is nearly as much work as the
parse, so such a prompt takes up to twice the processor time that it would without; nothing in Python's library checks
bytes much quicker. A process that remembers the prompt has checked it already, and in a view the digest is a few
percent.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pydantic_core
from redis import Redis

from benchmarks.benchmark import Benchmark, Report, described, machine_of, option
from benchmarks.cached import CachedView, State
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.contestants import PEERS_HELP, chosen_peers
from benchmarks.conversation import Script, same
from benchmarks.ours import USER, Forgetful, Turnlog
from benchmarks.peers.replaced import Replaced
from benchmarks.server import Ground
from benchmarks.systems import Message, System, running
from turnlog.infrastructure.session import Session

_TIME = "ms"
_LIMIT = "GET and parse"
_PROMISED = 1_000  # messages
Read = Callable[[Session], Awaitable[list[Message]]]

_STATES = ("hot", "stale", "cold")
_FROM_REDIS, _REMEMBERED = "turnlog prompt, hot", "turnlog prompt, remembered"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """A visit reads one session until the time is over, and gives the median."""

    messages: tuple[int, ...] = option((10, 100, 1_000, 5_000), "Of a session, a comma list.")
    seconds: float = option(0.2, "How long a visit takes.")
    repeat: int = option(5, "Visits to each.")
    peers: str = option("all", PEERS_HELP)


async def measure(options: ReadOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    peers, notes = chosen_peers(options.peers)
    reads = _Reads(options, ground)
    entries: list[Entry] = []
    for count in options.messages:
        say(f"setting up {count} messages")
        entries += await reads.ours(count)
        entries.append(Entry(_case(count), _LIMIT, partial(reads.limit, count)))
        for kind in peers:
            entries.append(Entry(_case(count), kind.name, await reads.peer(kind, count), is_peer=True))
    samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="read",
        title="Time to read a session",
        options=asdict(options),
        samples=samples,
        verified=reads.all_right,
        checked="every system gives back what was put in, from whichever state",
        machine=machine_of(ground),
        ratios=[ratio for count in options.messages for ratio in _ratios(samples, count, peers)],
        more=described([Turnlog, *peers]),
        notes=[*notes, f"the limit parses with {_parser().__module__}"],
    )


class _Session(NamedTuple):
    """A session of turnlog's: what was said in it, and what is cached of it."""

    id: UUID
    said: Sequence[Message]
    cached: CachedView


class _Reads:
    def __init__(self, options: ReadOptions, ground: Ground) -> None:
        self.all_right = True
        self._seconds = options.seconds
        self._ground = ground
        self._redis = Redis.from_url(ground.redis_url or "")
        self._script = Script()

    async def ours(self, count: int) -> list[Entry]:
        """Sets the session up, and keeps what Redis has before and after its last turn."""
        session_id, said = uuid4(), self._script.messages(count)
        cached = CachedView(self._redis, session_id)
        session = _Session(session_id, said, cached)
        last_turn = max(number for number, message in enumerate(said) if message["role"] == "user")
        async with running(Turnlog, self._ground) as system:
            assert isinstance(system, Turnlog)  # noqa: S101 for the type checker
            log = system.log

            async def read() -> None:
                await _view(log.session(session_id, USER))
                await _prompt(log.session(session_id, USER))

            await system.fill(session_id, said[:last_turn])
            states = {"cold": {}, "stale": await cached.taken(read)}
            await system.conversation(session_id).put(said[last_turn:])
            states["hot"] = await cached.taken(read, unlike=states["stale"])
            self.all_right &= same(await system.conversation(session_id).load(), said)
        remembered = partial(self._visit, session, _prompt, states["hot"], True, Turnlog)
        return [
            *(
                Entry(
                    _case(count),
                    f"turnlog {what}, {name}",
                    partial(self._visit, session, read, states[name], name == "hot", Forgetful),
                )
                for name in _STATES
                for what, read in (("view", _view), ("prompt", _prompt))
            ),
            Entry(_case(count), _REMEMBERED, remembered),
        ]

    async def _visit(self, session: _Session, read: Read, state: State, is_hot: bool, kind: type[Turnlog]) -> Numbers:
        async with running(kind, self._ground) as system:
            assert isinstance(system, Turnlog)  # noqa: S101 for the type checker
            log, cached = system.log, session.cached

            async def once() -> float:
                if not is_hot:  # a hot read leaves what it found, and writing it anew would make it cold for the CPU
                    cached.put(state)
                began = perf_counter()
                await read(log.session(session.id, USER))
                seconds = perf_counter() - began
                if not is_hot:
                    await cached.settled()  # what is written back is not to fall into the next one's time
                return seconds

            cached.put(state)
            self.all_right &= same(await read(log.session(session.id, USER)), session.said)
            return await self._median(once)

    async def limit(self, count: int) -> Numbers:
        """The bytes of the prompt, and one parse."""
        parse, key = _parser(), f"limit:{count}"
        self._redis.set(key, json.dumps(self._script.messages(count), ensure_ascii=False).encode())

        async def once() -> float:
            began = perf_counter()
            parse(self._redis.get(key))
            return perf_counter() - began

        return await self._median(once)

    async def peer(self, kind: type[System], count: int) -> Callable[[], Awaitable[Numbers]]:
        """Sets the same session up."""
        session_id, said = uuid4(), self._script.messages(count)
        async with running(kind, self._ground) as system:
            await system.fill(session_id, said)
            self.all_right &= same(await system.conversation(session_id).load(), said)
        return partial(self._peer_visit, kind, session_id)

    async def _peer_visit(self, kind: type[System], session_id: UUID) -> Numbers:
        async with running(kind, self._ground) as system:

            async def once() -> float:
                began = perf_counter()
                await system.conversation(session_id).load()
                return perf_counter() - began

            return await self._median(once)

    async def _median(self, once: Callable[[], Awaitable[float]]) -> Numbers:
        await once()
        until, times = perf_counter() + self._seconds, list[float]()
        while not times or perf_counter() < until:
            times.append(await once())
        return {_TIME: statistics.median(times) * 1e3}


async def _view(session: Session) -> list[Message]:
    return [dict(message) for message in (await session.view()).messages]


async def _prompt(session: Session) -> list[Message]:
    prompt: list[Message] = await session.prompt()
    return prompt


def _parser() -> Callable[[Any], Any]:
    """The quickest that is there."""
    try:
        import orjson  # noqa: PLC0415 part of the extra
    except ImportError:
        return pydantic_core.from_json
    return orjson.loads


def _case(count: int) -> str:
    return f"{count:,} messages"


def _ratios(samples: Samples, count: int, peers: list[type[System]]) -> list[Ratio]:
    case, ours = _case(count), _REMEMBERED
    others = [kind.name for kind in peers if kind is not Replaced]
    best = samples.best(case, others, _TIME, most=False)
    promised = count == _PROMISED

    def ratio(of: str, to: str, target: str) -> Ratio:
        keys = Key(case, of, _TIME), Key(case, to, _TIME)
        return samples.ratio(f"{case}: {of} against {to}", *keys, target if promised else None)

    found = [ratio(_FROM_REDIS, _LIMIT, "read-get")]
    if Replaced.name in samples.systems(case):
        found.append(ratio(Replaced.name, ours, "read-replaced"))
    if best:
        found.append(ratio(best, ours, "read-peer"))
    return found


READ = Benchmark(
    "read",
    "Read long sessions: cache hot, stale, cold; peers.",
    ReadOptions,
    {"messages": (10, 100, 1_000), "seconds": 0.05, "repeat": 2},
    measure,
    plots=(_TIME,),
)
