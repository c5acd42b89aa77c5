"""Two logs on one database, as two processes would have them, in random interleavings: nothing is lost, repeated,
or out of a writer's order, and every position has one winner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.prompt_rules import check_chat_prompt, check_no_neighbours
from turnlog.domain.errors import StepClosedError, TurnInProgressError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings
from turnlog.projections.projector import Projector

Act = tuple[str, int]
acts = st.tuples(st.sampled_from(["say", "repeat", "answer", "count", "title", "yield"]), st.integers(0, 3))
scripts = st.lists(acts, max_size=8)


class Writer:
    """Plays a script on its own log, and remembers what was accepted."""

    def __init__(self, name: str, session: Session) -> None:
        self.name = name
        self.session = session
        self.said: list[str] = []
        self.answered: list[str] = []
        self.counted = 0

    async def play(self, script: list[Act]) -> None:
        for number, (act, value) in enumerate(script):
            await getattr(self, act)(number, value)

    async def say(self, number: int, value: int) -> None:
        text = f"{self.name}{number}"
        await self.session.say(text)
        self.said.append(text)

    async def repeat(self, number: int, value: int) -> None:
        await self.session.say("shared", message_id=f"m{value}")

    async def answer(self, number: int, value: int) -> None:
        text = f"{self.name}{number} "
        try:
            async with self.session.completion() as completion:
                await completion.text(text)
                await completion.tool_call("c", "find", "{}")
                if value == 1:
                    await self.session.add_tool_result("c", f"{self.name} found", status="pending")
                if value:
                    await completion.finish("tool_calls")
        except (StepClosedError, TurnInProgressError):
            return
        self.answered.append(text)

    async def count(self, number: int, value: int) -> None:
        await self.session.increment("runs", "g", value)
        self.counted += value

    async def title(self, number: int, value: int) -> None:
        await self.session.set_title(f"{self.name}{value}")

    # "yield" is a keyword: reading lets the other writer in, and checks what both have done so far.
    async def _look(self, number: int, value: int) -> None:
        check_chat_prompt(await self.session.prompt())  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Callable[[int, int], Awaitable[None]]:
        if name == "yield":
            return self._look
        raise AttributeError(name)


@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(script_a=scripts, script_b=scripts)
def test_two_writers_lose_repeat_and_reorder_nothing(
    settings: Settings, script_a: list[Act], script_b: list[Act]
) -> None:
    asyncio.run(_two_writers(settings, script_a, script_b))


async def _two_writers(settings: Settings, script_a: list[Act], script_b: list[Act]) -> None:
    async with SessionLog.open(settings) as one, SessionLog.open(settings) as two:
        session = await one.start_session(user_id="u1")
        a, b = Writer("a", session), Writer("b", two.session(session.id, "u1"))
        await asyncio.gather(a.play(script_a), b.play(script_b))
        await _check(one, session, [a, b], {f"m{value}" for act, value in script_a + script_b if act == "repeat"})


async def _check(log: SessionLog, session: Session, writers: list[Writer], shared: set[str]) -> None:
    events = [event async for event in log.session(session.id, SYSTEM).events()]
    view = await session.view()
    messages = [message for turn in view.turns for message in turn.messages]
    said = [message.content for message in messages]

    assert [event.position for event in events] == list(range(1, len(events) + 1))
    assert {message.message_id for message in messages if message.content == "shared"} == shared
    assert said.count("shared") == len(shared)
    assert view.counters.get("runs", {}).get("g", 0) == sum(writer.counted for writer in writers)
    answers: list[Any] = [step.message.content for turn in view.turns for step in turn.steps]
    for writer in writers:
        assert [text for text in said if str(text).startswith(writer.name)] == writer.said
        assert [text for text in answers if text in writer.answered] == writer.answered
    assert view.faults == ()
    check_no_neighbours(view.messages)
    check_chat_prompt(await session.prompt())  # type: ignore[arg-type]
    assert Projector(session.id).apply_all(events).view() == view
