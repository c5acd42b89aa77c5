"""A process that answers may be killed at any instant: the next one finishes the turn, and pays for one request more at
most."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.answer.deaths import ROUNDS, SCENARIOS, act, awaits, decide, tools
from tests.support.openai_client import client_of
from tests.support.processes import Child
from tests.support.prompt_rules import check_chat_prompt
from tests.support.rules import check_prompts_of
from turnlog import Session, SessionLog, Settings
from turnlog.testing import Answer, Failure, FakeProvider, Request, ToolCall

LIVING_LEASE_SECONDS, DYING_LEASE_SECONDS = 30.0, 3.0
"""Leases that do not run out under those who live, on a busy machine."""
PLAYED_WITHIN = FINISHED_WITHIN = 60.0
AT_ONCE, TRIES = 6, 4
SURE = "before"
"""What the names of points begin with that each play of a scenario reaches."""
IDEMPOTENT = "look_up"
CALLS = {
    "with tools": ("effect", "look_up", "large", "made_up"),
    "with a decision": ("danger", "elsewhere"),
    "stopped": ("slow",),
    "in rounds": ("page",),
    "limited": ("slow",),
    "one step": ("slow",),
    "closed": ("slow",),
}
"""The tools that the model calls, by the message."""
PACES = {"attached": 0.05, "queued": 0.1, "without client": 0.4}
"""Seconds before each chunk, by the message."""
Point = tuple[str, int]


class Theatre:
    """Plays scenarios in processes that die, and has this one finish them."""

    def __init__(self, log: SessionLog, settings: Settings, provider: FakeProvider, client: Any, folder: Path) -> None:
        self._log = log
        self._settings = settings
        self._provider = provider
        self._client = client
        self._folder = folder
        self._plays = 0

    async def play(self, scenario: str, point: Point | None = None) -> dict[str, int] | None:
        """Plays a scenario, to its end or to the point where the process dies. Looks at what comes of it, and returns
        the points that were reached by a process that lived; None if it has died."""
        self._plays += 1
        model, effects = f"{scenario}/{self._plays}", self._folder / f"effects-{self._plays}"
        effects.touch()
        session = await self._log.start_session(user_id=model)
        lease = DYING_LEASE_SECONDS if point is not None else LIVING_LEASE_SECONDS
        settings = self._settings.model_copy(update={"lease_seconds": lease, "reap_seconds": 0})
        with Child(act, settings, session.id, self._provider.base_url, model, effects, point) as child:
            try:
                async with asyncio.timeout(PLAYED_WITHIN):
                    told = await child.rest()
            except TimeoutError:
                raise AssertionError(f"{scenario} has no end, with {point}") from None
        await self._finish(session, scenario, model, effects)
        await self._check(session, scenario, model, effects, point)
        return told[0] if told else None

    def _answer(self, session: Session, model: str, effects: Path, message: str | None = None) -> Any:
        return session.answer(
            self._client, model=model, tools=tools(effects), message=message, message_id=message, on_break="again"
        )

    async def _gone_on(self, session: Session, model: str, effects: Path, found: Session) -> Any:
        """Goes on with this session only: the others are other plays'."""
        return await self._answer(found, model, effects) if found.id == session.id else None

    async def _finish(self, session: Session, scenario: str, model: str, effects: Path) -> None:
        """Goes on with the turns of the dead; then the client sends its messages again."""
        async with asyncio.timeout(FINISHED_WITHIN):
            while [turn for turn in await self._log.unfinished_turns(model) if turn.status != "waiting"]:
                await self._log.resume(partial(self._gone_on, session, model, effects))
                await asyncio.sleep(0.05)
            for message in SCENARIOS[scenario][1]:
                await self._answer(session, model, effects, message)
            while await self._log.unfinished_turns(model):
                await decide(session)
                await self._answer(session, model, effects)

    async def _check(self, session: Session, scenario: str, model: str, effects: Path, point: Point | None) -> None:
        asked = sum(request["model"] == model for request in self._provider.requests)
        most = SCENARIOS[scenario][2] + (point is not None)
        assert asked <= most, f"{asked} requests and not {most} in {scenario} with {point}"
        turns = (await session.view()).turns
        assert {turn.status for turn in turns} <= {"finished", "stopped"}, f"{point}: {[t.status for t in turns]}"
        assert [message.message_id for turn in turns for message in turn.messages] == list(SCENARIOS[scenario][1])
        for done, times in Counter(_lines(effects)).items():
            assert times == 1 or done.startswith(IDEMPOTENT), f"{done} was done {times} times: {scenario}, {point}"
        await check_prompts_of(session)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def reply(request: Request) -> Answer | Failure:
    """What the model says, by what was said."""
    check_chat_prompt(request["messages"])
    spoken = [message["content"] for message in request["messages"] if message["role"] == "user"]
    rounds = sum("tool_calls" in message for message in request["messages"])
    if rounds < (ROUNDS if spoken[-1] == "in rounds" else 1) and spoken[-1] in CALLS:
        return Answer("I call.", tool_calls=[ToolCall(name) for name in CALLS[spoken[-1]]])
    return Answer("one two three four five", delay=PACES.get(spoken[-1]))


class Moody:
    """Says what the model says, but for the first time."""

    def __init__(self) -> None:
        self._seen = set[str]()

    def __call__(self, request: Request) -> Answer | Failure:
        answer, is_first = reply(request), request["model"] not in self._seen
        self._seen.add(request["model"])
        if is_first and request["model"].startswith("breaking"):
            return Answer("one two three", fails_after=2)
        return Failure(400, message="No.") if is_first and request["model"].startswith("refused") else answer


Reached = dict[str, dict[str, int]]
"""How often each point was reached, by scenario."""


async def try_points(settings: Settings, folder: Path, choose: Callable[[list[Point]], list[Point]]) -> None:
    """Plays all scenarios, and then one for each point that is chosen of those that were reached."""
    settings = settings.model_copy(update={"max_message_bytes": 10_000})
    async with FakeProvider(Moody()) as provider, client_of(provider) as client, SessionLog.open(settings) as log:
        theatre = Theatre(log, settings, provider, client, folder)
        plays = await asyncio.gather(*(theatre.play(name) for name in SCENARIOS))
        reached = {name: play or {} for name, play in zip(SCENARIOS, plays, strict=True)}
        check_all_reached(reached)
        slots = asyncio.Semaphore(AT_ONCE)

        async def die_at(point: Point) -> Point | None:
            async with slots:
                for scenario in itertools.islice(itertools.cycle(scenarios_of(point, reached)), TRIES):
                    if await theatre.play(scenario, point) is None:
                        return None
            return point

        missed = await asyncio.gather(*map(die_at, choose(points_of(reached))), return_exceptions=True)
    # What a coroutine goes on from, and when, is not the same each time: only what it comes to is.
    wrong = [one for one in missed if isinstance(one, BaseException) or (one is not None and one[0].startswith(SURE))]
    assert not wrong, "\n".join(map(str, wrong))


def scenarios_of(point: Point, reached: Reached) -> list[str]:
    """The scenarios that reach a point."""
    name, times = point
    return [scenario for scenario, counts in reached.items() if counts.get(name, 0) >= times]


def points_of(reached: Reached) -> list[Point]:
    """Each point once, and again where it is reached often: in the middle of it."""
    most = Counter[str]()
    for counts in reached.values():
        most |= Counter(counts)
    return [(name, 1) for name in most] + [(name, 2) for name, count in most.items() if count > 2]


def check_all_reached(reached: Reached) -> None:
    """Asserts that there is no await at which no process can be killed."""
    names = {name for counts in reached.values() for name in counts}
    missed = [name for name in awaits().values() if f"before {name}" not in names]
    assert not missed, "\n".join(["no scenario reaches these", *missed])


async def test_whoever_is_killed_while_it_answers_is_gone_on_with(settings: Settings, tmp_path: Path) -> None:
    await try_points(settings, tmp_path, lambda points: Random(7).sample(points, AT_ONCE))


@pytest.mark.long
async def test_it_is_so_at_each_await(settings: Settings, tmp_path: Path) -> None:
    await try_points(settings, tmp_path, lambda points: points)
