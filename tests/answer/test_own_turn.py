"""A turn does not wait for itself: who has it in hand, and its tools, hear at once that an answer comes after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.answering import Model, asking, calling, said, statuses
from turnlog import Answer as Given
from turnlog import OwnTurnError, Session, SessionLog
from turnlog.testing import Answer

AT_ONCE = 5.0
"""Seconds; the answer looks again by itself after a third of a lease, which is longer."""
SAID = "OwnTurnError: turn m-1 cannot wait for itself: the answer comes after it."


@pytest.fixture(params=["one log", "two logs"])
async def elsewhere(request: pytest.FixtureRequest, session: Session, other_log: SessionLog) -> Session:
    """The session as the tool has it: of the same log, or of another."""
    return session if request.param == "one log" else other_log.session(session.id, "u1")


async def by_iterating(answer: Given) -> None:
    async for _ in answer:
        pass


async def awaited(answer: Given) -> None:
    await answer


async def together(answer: Given) -> None:
    await asyncio.gather(answer, asyncio.sleep(0))


async def begun(answer: Given) -> None:
    await (await answer.begun())


WAYS = [awaited, by_iterating, together, begun]
MESSAGES: list[dict[str, Any]] = [
    {"message": None},
    {"message": "one", "message_id": "m-1"},
    {"message": "two", "message_id": "m-2"},
    {"message": "two", "message_id": "m-2", "on_busy": "queue"},
]


async def answered(model: Model, session: Session, tool: Callable[[], Awaitable[Any]]) -> str:
    """What a tool of the turn has said to the model."""
    async with asyncio.timeout(AT_ONCE):
        await model.answer(session, "one", "m-1", tools=[tool])
    ((role, text),) = [one for one in said(model.prompts[1]) if one[0] == "tool"]
    assert role == "tool"
    return text


@pytest.mark.parametrize("message", MESSAGES, ids=["nothing", "its own", "steered", "queued"])
async def test_a_tool_that_waits_for_an_answer_of_its_own_turn_hears_so_at_once(
    elsewhere: Session, session: Session, message: dict[str, Any]
) -> None:
    async with asking([calling("wait"), Answer("One."), Answer("Two.")]) as model:

        async def wait() -> None:
            await model.answer(elsewhere, **message)

        assert SAID in await answered(model, session, wait)
        if message.get("on_busy") == "queue":
            assert (await model.answer(session, "two", "m-2")).text == "Two."
        assert model.asked == (3 if message.get("on_busy") else 2)


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_so_however_it_waits(session: Session, way: Callable[[Given], Awaitable[None]]) -> None:
    async with asking([calling("wait"), Answer("One.")]) as model:

        async def wait() -> None:
            given = model.answer(session, "two", "m-2")
            await asyncio.sleep(0.1)  # so that it waits by now
            await way(given)

        assert SAID in await answered(model, session, wait)


async def test_a_plain_tool_hears_it_too(session: Session) -> None:
    loop = asyncio.get_running_loop()
    async with asking([calling("wait"), Answer("One.")]) as model:

        async def again() -> None:
            await model.answer(session)

        def wait() -> None:
            asyncio.run_coroutine_threadsafe(again(), loop).result()

        assert SAID in await answered(model, session, wait)  # type: ignore[arg-type]  # it is a plain one


async def test_it_is_so_by_way_of_another_session(session: Session, log: SessionLog) -> None:
    other = await log.start_session("u1")
    async with asking([calling("there"), calling("back"), Answer("Back."), Answer("One.")]) as model:

        async def back() -> None:
            await model.answer(session, "two")

        async def there() -> str:
            return (await model.answer(other, "go", "m-9", tools=[back])).text

        async with asyncio.timeout(AT_ONCE):
            await model.answer(session, "one", "m-1", tools=[there])
        assert SAID in said(model.prompts[2])[-1][1]
        assert ("tool", "Back.") in said(model.prompts[3])


async def test_an_answer_that_the_tool_leaves_comes_after_the_turn(session: Session) -> None:
    left = list[Given]()
    async with asking([calling("leave"), Answer("One."), Answer("Two.")]) as model:

        async def leave() -> str:
            given = model.answer(session, "two", "m-2", on_busy="queue")
            left.append(await given.begun())
            return "left"

        assert await answered(model, session, leave) == "left"
        assert (await left[0]).text == "Two."
    assert await statuses(session) == ["finished", "finished"]


async def test_an_answer_that_has_been_given_is_known_to_the_tool(session: Session) -> None:
    async with asking([Answer("Zero."), calling("look"), Answer("One.")]) as model:
        await model.answer(session, "zero", "m-0")

        async def look() -> str:
            return (await model.answer(session, "zero", "m-0")).text

        async with asyncio.timeout(AT_ONCE):
            await model.answer(session, "one", tools=[look])
        assert said(model.prompts[2])[-1] == ("tool", "Zero.")


async def test_a_block_that_has_the_turn_in_hand_does_not_wait_for_itself(session: Session) -> None:
    await session.say("one", "m-1")
    async with asking([Answer("One.")]) as model:
        async with session.turn():
            with pytest.raises(OwnTurnError) as refused:
                async with asyncio.timeout(AT_ONCE):
                    await model.answer(session)
            given = model.answer(session)
        assert refused.value.turn_id == "m-1"
        assert (await given).text == "One."
        assert model.asked == 1
