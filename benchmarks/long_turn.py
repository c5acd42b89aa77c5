"""`long_turn`: what the n-th step of one turn costs an agent that calls tools, and what a long window costs.

A step is what an agent does: it builds the prompt, records an answer that calls a tool, and its result. Statements,
rows and bytes are counted; of the prompt the processor time is taken beyond one JSON parse of the same messages, which
nobody can do without. Whole turns are there by the step. A window of many tokens stands beside one parse and one count
of the same messages; and while it is made, the longest time for which the event loop stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from time import process_time
from typing import Any
from uuid import UUID, uuid4

from pydantic_core import from_json, to_json

from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.counters import Counters, counted
from benchmarks.ours import USER, Turnlog
from benchmarks.server import Ground
from benchmarks.systems import System, running
from benchmarks.workload import Workload
from turnlog.infrastructure.session import Session
from turnlog.projections.prompt.tokens import estimated_tokens

_PROMPT, _PARSE, _STEP = "prompt, us CPU", "beyond one parse, us CPU", "us CPU a step"
_WINDOW, _STILL = "ms CPU", "loop still, ms CPU"
_BARE = "one parse, one count"
_STEPS = 4  # on each visit, counted together
_TIMED = 20
_SET_UP_ANEW = 100  # steps: turns no longer than this begin anew on each visit, so that they stay as long
_LATER = 0.01  # seconds for what is kept in the background


@dataclass(frozen=True, slots=True)
class LongTurnOptions:
    """A long turn grows by a few steps on each visit."""

    steps: tuple[int, ...] = option((10, 1_500), "Which steps of a turn, a comma list.")
    whole: tuple[int, ...] = option((150, 1_500), "Steps of whole turns, a comma list.")
    deltas: int = option(60, "Deltas of a tool's result, which is one text.")
    window: int = option(200_000, "Tokens of the window.")
    repeat: int = option(3, "Visits to each.")


async def measure(options: LongTurnOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    turns = _LongTurns(options, ground, say)
    entries = [
        *(Entry(_step(number), Turnlog.name, partial(turns.step, number)) for number in options.steps),
        *(Entry(_whole(steps), Turnlog.name, partial(turns.whole, steps)) for steps in options.whole),
        Entry(_window(options), Turnlog.name, turns.window),
        Entry(_window(options), _BARE, turns.bare_window),
    ]
    samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="long_turn",
        title="What the n-th step of one turn costs",
        options=asdict(options),
        samples=samples,
        verified=turns.all_there,
        checked="the turns have all steps, and every window is the end of its prompt",
        machine=machine_of(ground),
        ratios=_ratios(samples, options),
    )


class _LongTurns:
    def __init__(self, options: LongTurnOptions, ground: Ground, say: Say) -> None:
        self.all_there = True
        self._options = options
        self._ground = ground
        self._say = say
        self._workload = Workload()
        self._turns: dict[int, tuple[UUID, int]] = {}
        """By n: the session, and how many steps its turn has."""

    async def step(self, number: int) -> Numbers:
        """A few steps are counted, through a proxy; a few more are timed, without it."""
        session_id, there = await self._turn(number)
        counters = Counters(self._ground, Turnlog.name)
        nothing = await counters.of(Turnlog, partial(self._take_steps, session_id, there, 0))
        some = await counters.of(Turnlog, partial(self._take_steps, session_id, there, _STEPS))
        there += _STEPS
        async with running(Turnlog, self._ground) as system:
            session = _session(system, session_id)
            await self._take(session, there)
            there += 1
            prompting, parsing = 0.0, 0.0
            for each in range(there, there + _TIMED):
                await self._record(session, each)
                await asyncio.sleep(_LATER)
                spent, prompt = await _spent(session.prompt)
                prompting, parsing = prompting + spent, parsing + _of_parse(prompt)
            there += _TIMED
            self._turns[number] = session_id, there
            self.all_there &= len(await session.prompt()) == 1 + 2 * there
        taken = {_PROMPT: prompting / _TIMED * 1e6, _PARSE: (prompting - parsing) / _TIMED * 1e6}
        return {**counted(nothing, some, _STEPS), **taken}

    async def whole(self, steps: int) -> Numbers:
        """A turn from its question to its last step, in one process."""
        async with running(Turnlog, self._ground) as system:
            session = await self._asked(system)
            began = process_time()
            for number in range(steps):
                await self._take(session, number)
            spent = process_time() - began
            self.all_there &= len((await session.view()).turns[0].steps) == steps
        return {_STEP: spent / steps * 1e6}

    async def window(self) -> Numbers:
        """The window before a step of a long turn, in a process that has made one before."""
        number = max(self._options.steps)
        session_id, there = await self._turn(number, self._options.window // 100)
        async with running(Turnlog, self._ground) as system:
            session = _session(system, session_id)
            await session.prompt(max_tokens=self._options.window)
            await self._record(session, there)
            await asyncio.sleep(_LATER)
            beats = asyncio.create_task(_beats())
            spent, window = await _spent(partial(session.prompt, max_tokens=self._options.window))
            beats.cancel()
            still = await beats
            prompt = await session.prompt()
        self._turns[number] = session_id, there + 1
        self.all_there &= window[1:] == prompt[1 - len(window) :] and window[0] == prompt[0]
        return {_WINDOW: spent * 1e3, _STILL: still * 1e3, "tokens": estimated_tokens(window)}

    async def bare_window(self) -> Numbers:
        """The same messages."""
        session_id, _ = await self._turn(max(self._options.steps), self._options.window // 100)
        async with running(Turnlog, self._ground) as system:
            window = await _session(system, session_id).prompt(max_tokens=self._options.window)
        text = to_json(window)
        began = process_time()
        tokens = estimated_tokens(from_json(text))
        return {_WINDOW: (process_time() - began) * 1e3, "tokens": tokens}

    async def _turn(self, number: int, least: int = 0) -> tuple[UUID, int]:
        known = self._turns.get(number)
        there = known[1] if known and number > _SET_UP_ANEW else 0
        async with running(Turnlog, self._ground) as system:
            session = _session(system, known[0]) if known and there else await self._asked(system)
            if there < (wanted := max(number - 1, least)):
                self._say(f"{wanted} steps")
            for each in range(there, wanted):
                await self._record(session, each)
            await session.prompt()
            await session.view()
        self._turns[number] = session.id, max(there, wanted)
        return self._turns[number]

    async def _asked(self, system: System) -> Session:
        assert isinstance(system, Turnlog)  # noqa: S101 for the type checker
        session = await system.log.start_session(USER, session_id=uuid4())
        await session.say("Go on until it is done.")
        return session

    async def _take_steps(self, session_id: UUID, there: int, steps: int, system: System) -> None:
        """As a process does it that has the session at hand: what it reads at first is subtracted."""
        session = _session(system, session_id)
        await session.prompt()
        for number in range(there, there + steps):
            await self._take(session, number)

    async def _take(self, session: Session, number: int) -> None:
        await session.prompt()
        await self._record(session, number)

    async def _record(self, session: Session, number: int) -> None:
        call_id = f"call-{number}"
        async with session.completion("bench") as answer:
            call = answer.tool_call(call_id, "search", to_json({"query": self._workload.delta(number, 0)}).decode())
            await asyncio.gather(answer.text(self._workload.delta(number, 1)), call)
            await answer.finish("tool_calls")
        await session.add_tool_result(call_id, self._workload.text(number, 2, self._options.deltas))


def _session(system: System, session_id: UUID) -> Session:
    assert isinstance(system, Turnlog)  # noqa: S101 for the type checker
    return system.log.session(session_id, USER)


async def _spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of this process, with what it does in the background meanwhile, and what was made."""
    began = process_time()
    made = await work()
    await asyncio.sleep(_LATER)
    return process_time() - began, made


def _of_parse(messages: Any) -> float:
    text = to_json(messages)
    began = process_time()
    from_json(text)
    return process_time() - began


async def _beats() -> float:
    """The longest time between two turns of the loop, in seconds of this process: others do not stop it."""
    times = [process_time()]
    with suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(0.001)
            times.append(process_time())
    return max(after - before for before, after in pairwise(times))


def _step(number: int) -> str:
    return f"step {number:,}"


def _whole(steps: int) -> str:
    return f"a turn of {steps:,} steps"


def _window(options: LongTurnOptions) -> str:
    return f"a window of {options.window:,} tokens"


def _ratios(samples: Samples, options: LongTurnOptions) -> list[Ratio]:
    first, last = min(options.steps), max(options.steps)
    short, long = min(options.whole), max(options.whole)

    def ratio(quantity: str) -> Ratio:
        of, to = (Key(_step(number), Turnlog.name, quantity) for number in (last, first))
        return samples.ratio(f"step {last:,} against step {first:,}, {quantity}", of, to)

    counts = [*Counters.FLAT, "bytes from Redis"]
    flat = [ratio(each) for each in counts if all(samples.by_key[Key(_step(first), Turnlog.name, each)])]
    window, bare = (Key(_window(options), system, _WINDOW) for system in (Turnlog.name, _BARE))
    of, to = (Key(_whole(steps), Turnlog.name, _STEP) for steps in (long, short))
    return [
        *flat,
        ratio(_PARSE),
        samples.ratio(f"{_whole(long)} against {short:,}, {_STEP}", of, to),
        samples.ratio(f"{_window(options)}, against {_BARE}", window, bare),
    ]


LONG_TURN = Benchmark(
    "long_turn",
    "Count what the n-th step of one turn costs, and a long window.",
    LongTurnOptions,
    {"steps": (10, 60), "whole": (15, 60), "window": 4_000, "repeat": 2},
    measure,
    plots=(_PARSE, "bytes to Redis", _STEP),
)
