"""A loop of your own: the model is asked again after its tools, until it calls none.

    python examples/tool_loop.py "What is the weather in Lisbon?"

`session.answer` is such a loop, and knows more. OPENAI_BASE_URL and OPENAI_API_KEY choose the provider, OPENAI_MODEL
the model. `turnlog provider` is one that is offline.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from openai import AsyncOpenAI

from turnlog import HeldTurn, OpenToolCall, Session, SessionLog

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
MOST_STEPS = 8
"""A model that calls tools for ever is stopped here."""


async def get_weather(city: str) -> str:
    """The weather in a city: here a constant, in your program a request."""
    return f"21 C and clear in {city}"


TOOLS: dict[str, Callable[..., Awaitable[str]]] = {"get_weather": get_weather}
SCHEMAS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city now.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "examples": ["Lisbon"]}},
                "required": ["city"],
            },
        },
    }
]


# --8<-- [start:loop]
async def answer(session: Session, client: AsyncOpenAI) -> None:
    """Answers what the user said. Called again for the same session after a crash, it goes on where that one was."""
    async with session.turn(takeover=True) as turn:
        for _ in range(MOST_STEPS):
            # Calls that have no result yet: of the step below, or of a process that died before it ran them.
            calls = (await session.view()).pending_tool_calls
            await asyncio.gather(*(run(session, turn, call) for call in calls))
            # Without `await`: the step opens first, so a refusal is in the log, too.
            stream = client.chat.completions.create(
                model=MODEL, messages=await session.prompt(), tools=SCHEMAS, stream=True
            )
            async for chunk in session.record(stream):
                if chunk.choices:
                    print(chunk.choices[0].delta.content or "", end="", flush=True)
            if not turn.has_news and not (await session.view()).pending_tool_calls:
                return


async def run(session: Session, turn: HeldTurn, call: OpenToolCall) -> None:
    """Runs a tool. What it raises is a result, too: the model can try something else."""
    await turn.start_tool(call)
    try:
        result = await TOOLS[call.name](**json.loads(call.arguments))
    except Exception as error:  # noqa: BLE001 whatever the tool or the model got wrong
        await session.add_tool_result(call.id, f"{type(error).__name__}: {error}", "error", step_id=call.step_id)
    else:
        await session.add_tool_result(call.id, result, step_id=call.step_id)


# --8<-- [end:loop]
async def main(question: str) -> None:
    """Asks one question in a new session."""
    async with AsyncOpenAI() as client, SessionLog.open() as log:
        session = await log.start_session(user_id="u1")
        await session.say(question)
        await answer(session, client)
        print(f"\n\nturnlog show {session.id}")


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "What is the weather in Lisbon?"))
