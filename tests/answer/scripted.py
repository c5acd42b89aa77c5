"""A provider and tools that do what a seed says. They count what was paid for, and what was done."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from tests.support.prompt_rules import check_chat_prompt
from turnlog import Pending, Tool, ToolContext

TOOLS = ("effect", "look_up", "slow", "start_job", "danger", "elsewhere", "made_up")
ROUNDS = 4
"""Answers with calls in one prompt, after which the model only talks."""


class RefusedError(Exception):
    """The provider refuses before its stream."""

    status_code = 429


class Script:
    """What the provider and the tools do in the sessions of one seed, each named by its model. `interrupt` is asked at
    the points where a participant may be held: it is given the participant's name. `is_calm`: nothing goes wrong any
    more."""

    def __init__(self, seed: int, interrupt: Callable[[str, Random], None]) -> None:
        self._seed = seed
        self._interrupt = interrupt
        self._lock = threading.Lock()
        self.is_calm = False
        self.requests = Counter[str]()
        self.troubles = Counter[str]()
        self.effects = Counter[tuple[str, str]]()
        """How often each tool has run for each call."""
        self.wrong: list[str] = []

    def client(self, participant: str) -> Any:
        """What stands for the participant's openai client."""

        async def create(*, model: str, messages: list[Any], **_: Any) -> AsyncIterator[Any]:
            number = self._asked(model, messages)
            rng = Random(f"{self._seed} {model} {number}")
            if not self.is_calm and rng.random() < 0.05:
                self.count_trouble(model)
                raise RefusedError("too many requests")
            await asyncio.sleep(rng.random() * 0.02)
            return self._chunks(model, number, messages, rng, participant)

        return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))

    def count_trouble(self, model: str) -> None:
        """Something has happened for which a request may be made in vain."""
        with self._lock:
            self.troubles[model] += 1

    def _asked(self, model: str, messages: list[Any]) -> int:
        try:
            check_chat_prompt(messages)
        except AssertionError as error:
            self.wrong.append(f"{model}: a prompt that is not valid: {error}: {messages}")
        with self._lock:
            self.requests[model] += 1
            return self.requests[model]

    async def _chunks(
        self, model: str, number: int, messages: list[Any], rng: Random, participant: str
    ) -> AsyncIterator[Any]:
        breaks = not self.is_calm and rng.random() < 0.08
        for chunk in _answer(number, _rounds(messages), rng):
            await asyncio.sleep(rng.random() * 0.015)
            self._may_interrupt(participant, rng)
            if breaks and rng.random() < 0.4:
                self.count_trouble(model)
                raise ConnectionError("the stream broke")
            yield chunk
        self._may_interrupt(participant, rng)

    def _may_interrupt(self, participant: str, rng: Random) -> None:
        if not self.is_calm and rng.random() < 0.02:
            self._interrupt(participant, rng)

    def tools(self, participant: str) -> list[Any]:
        """The tools of a participant."""

        async def run(context: ToolContext) -> str:
            rng = Random(f"{self._seed} {context.key} {context.attempt}")
            self._may_interrupt(participant, rng)
            with self._lock:
                self.effects[context.name, context.key] += 1
            self._may_interrupt(participant, rng)
            await asyncio.sleep(rng.random() * (0.4 if context.name == "slow" else 0.02))
            self._may_interrupt(participant, rng)
            if rng.random() < 0.1:
                raise ValueError("the tool failed")
            return f"result of {context.key}"

        async def start(context: ToolContext) -> Pending:
            return Pending(await run(context))

        return [
            Tool(run, name="effect"),
            Tool(run, name="look_up", idempotent=True),
            Tool(run, name="slow"),
            Tool(start, name="start_job"),
            Tool(run, name="danger", needs_approval=True),
            {"type": "function", "function": {"name": "elsewhere", "parameters": {"type": "object", "properties": {}}}},
        ]


def _rounds(messages: list[Any]) -> int:
    """The number of answers with calls since the user spoke last."""
    rounds = 0
    for message in reversed(messages):
        if message["role"] == "user":
            break
        rounds += "tool_calls" in message
    return rounds


def _answer(number: int, rounds: int, rng: Random) -> list[Any]:
    """The chunks of an answer."""
    chunks = [_chunk(content=f"{number}.{piece} ") for piece in range(rng.randint(0, 4))]
    if rounds >= ROUNDS or rng.random() < 0.5:
        return [*chunks, _chunk(content=f"answer {number}"), _chunk("stop")]
    for index in range(rng.randint(1, 3)):
        # Ids come back, as those of some providers do.
        call_id = f"call-{index}" if rng.random() < 0.3 else f"call-{number}-{index}"
        function = {"name": rng.choice(TOOLS), "arguments": ""}
        chunks.append(_chunk(tool_calls=[{"index": index, "id": call_id, "type": "function", "function": function}]))
        chunks.append(_chunk(tool_calls=[{"index": index, "function": {"arguments": "{}"}}]))
    return [*chunks, _chunk("tool_calls")]


def _chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
