"""The loop that somebody writes by hand around the openai client, with no log at all: the floor."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar
from uuid import UUID

from benchmarks.loops.loop import Loop
from benchmarks.loops.tools import TOOLS, spec_of
from benchmarks.systems import Message, call_of

_SPECS = [spec_of(name) for name in TOOLS]


class BareLoop(Loop):
    """Messages are in memory and nowhere else."""

    name = "loop without a log"
    per_delta = "nothing: messages are in memory"
    per_message = "nothing"
    is_peer: ClassVar[bool] = False

    async def start(self) -> None:
        self._messages: dict[UUID, list[Message]] = {}

    async def answer(self, conversation: UUID, question: str, model: str) -> str:
        messages, shown = self._messages.setdefault(conversation, []), list[str]()
        messages.append({"role": "user", "content": question})
        while True:
            message = await self._asked(messages, model, shown)
            messages.append(message)
            if not (calls := message.get("tool_calls")):
                return "".join(shown)
            messages += await asyncio.gather(*map(_result, calls))

    async def _asked(self, messages: list[Message], model: str, shown: list[str]) -> Message:
        create: Any = self.client.chat.completions.create
        stream = await create(
            model=model, messages=messages, tools=_SPECS, stream=True, stream_options={"include_usage": True}
        )
        text, calls = list[str](), dict[int, Message]()
        async for chunk in stream:
            if not chunk.choices:
                continue
            delta = chunk.choices[0].delta
            if delta.content:
                text.append(delta.content)
                shown.append(delta.content)
            for part in delta.tool_calls or ():
                _add(calls, part)
        message: Message = {"role": "assistant", "content": "".join(text) or None}
        return {**message, "tool_calls": list(calls.values())} if calls else message

    async def last_answer(self, conversation: UUID) -> str:
        return str(self._messages[conversation][-1]["content"])


def _add(calls: dict[int, Message], part: Any) -> None:
    if part.index not in calls:
        calls[part.index] = call_of(part.id, part.function.name, "")
    calls[part.index]["function"]["arguments"] += part.function.arguments or ""


async def _result(call: Message) -> Message:
    function = call["function"]
    content = await TOOLS[function["name"]](**json.loads(function["arguments"]))
    return {"role": "tool", "tool_call_id": call["id"], "content": content}
