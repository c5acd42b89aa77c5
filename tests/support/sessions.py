"""What tests do with a session by hand, and how they look at it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis import Redis

from tests.support.prompt_rules import check_chat_prompt
from turnlog import RecordedEvent, Session, SessionView, Step
from turnlog.projections.projector import Projector

FEW_SECONDS = 5.0


async def answer(session: Session, *texts: str, **options: Any) -> None:
    """A step of text deltas. The options are those of a completion."""
    async with session.completion(**{"model": "m", **options}) as completion:
        for text in texts:
            await completion.text(text)
        await completion.finish("stop")


async def call_tools(session: Session, *call_ids: str, text: str = "") -> None:
    """A step with a text and whole tool calls."""
    async with session.completion(model="m") as completion:
        await completion.text(text)
        for call_id in call_ids:
            await completion.tool_call(call_id, "search", '{"q": "cats"}')
        await completion.finish("tool_calls")


async def turn(session: Session, number: int, *, calls: bool = False) -> None:
    """A question and its answer, with a tool call if wanted."""
    await session.say(f"question {number}")
    async with session.completion() as completion:
        await completion.text(f"answer {number}")
        if calls:
            await completion.tool_call(f"c{number}", "find", "{}")
        await completion.finish("tool_calls" if calls else "stop")


async def talked(session: Session, turns: int = 3) -> Session:
    """The session after so many whole questions and answers."""
    for number in range(turns):
        await session.say(f"question {number}")
        await session.add_message("assistant", f"answer {number}")
    return session


async def have_a_whole_conversation(session: Session) -> None:
    """Something of everything that a view can hold."""
    await session.set_title("Weather")
    await session.set_metadata({"provider": {"account": 7}})
    await session.increment("runs", "graph-1")
    await session.add_message("system", "Be brief.")
    await session.add_message("user", [{"type": "text", "text": "Weather?"}], name="anna", message_id="m-1")
    async with session.completion(model="m") as completion:
        await completion.reasoning("Two cities.")
        await completion.text("Let me ")
        await completion.text("see.")
        await completion.tool_call("call-1", "weather", '{"city": "Paris"}')
        await completion.tool_call_delta(1, id="call-2", name="weather", arguments='{"city"')
        await session.add_tool_result("call-1", "asked", status="pending")
        await completion.tool_call_delta(1, arguments=': "Rome"}')
        await completion.finish("tool_calls", usage={"prompt_tokens": 10, "completion_tokens": 5})
    await session.add_tool_result("call-1", "21 C")
    await session.add_tool_result("call-2", [{"type": "text", "text": "no answer"}], status="error")
    await answer(session, "21 degrees ", "in Paris.")
    await session.add_usage(prompt_tokens=3, completion_tokens=4, model="m")
    await session.say("And a joke?")
    async with session.completion() as completion:
        await completion.refusal("I do not joke.")


def roles(messages: Sequence[Any]) -> list[str]:
    return [message["role"] for message in messages]


def contents(messages: Sequence[Any]) -> list[Any]:
    return [message["content"] for message in messages]


def call_ids(message: Any) -> list[str]:
    return [call["id"] for call in message.get("tool_calls", ())]


async def checked_prompt(session: Session) -> list[Any]:
    """The prompt, which the API would take."""
    prompt: list[Any] = list(await session.prompt())
    check_chat_prompt(prompt)
    return prompt


async def stored_events(session: Session) -> list[RecordedEvent]:
    return [event async for event in session.events()]


async def positions(session: Session) -> list[int]:
    return [event.position for event in await stored_events(session)]


async def folded_view(session: Session) -> SessionView:
    """The view as its events say, without anything that was kept."""
    return Projector(session.id).apply_all(await stored_events(session)).view()


def only_step(view: SessionView) -> Step:
    (step,) = [step for turn in view.turns for step in turn.steps]
    return step


async def steps(session: Session) -> list[Step]:
    return [step for turn in (await session.view()).turns for step in turn.steps]


async def last_step(session: Session) -> Step:
    return (await steps(session))[-1]


async def ends(session: Session) -> list[tuple[str, Any]]:
    """How each step has ended, and what it said."""
    return [(step.status, step.message.content) for step in await steps(session)]


async def assert_conversation_goes_on(session: Session) -> None:
    """The next question, the next answer and the next prompt work as if nothing had happened."""
    await checked_prompt(session)
    await session.say("Go on.")
    assert (await checked_prompt(session))[-1] == {"role": "user", "content": "Go on."}
    await answer(session, "I go on.")
    assert (await checked_prompt(session))[-1] == {"role": "assistant", "content": "I go on."}
    view = await session.view()
    assert view.turns[-1].status == "finished"
    assert all(step.status != "open" for turn in view.turns for step in turn.steps)


async def wait_until_cached(redis: Redis, session: Session) -> bytes:
    """The key of the session's entry, which is written after the reader was answered."""
    async with asyncio.timeout(FEW_SECONDS):
        while True:
            keys: Any = redis.keys(f"*{session.id}")
            if keys:
                return bytes(keys[0])
            await asyncio.sleep(0.01)
