"""Turns with an owner: messages that are answered with tools, decisions about calls, going on with what was left."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from openai import AsyncOpenAI

from tests.chaos.calls import Call
from tests.support.openai_client import client_of
from turnlog import (
    AnswerOutcome,
    Session,
    Tool,
    ToolContext,
    ToolResultConflictError,
    TurnClosedError,
    UnknownToolCallError,
)
from turnlog.testing import Answer, FakeProvider, Reply, Request, ToolCall

if TYPE_CHECKING:
    from tests.chaos.worker import Worker

Stage = Literal["tool", "tool ended", "waiting"]
"""Where a turn is, as a fault waits for it."""
PLAYS = {"plain": 5, "tools": 4, "danger": 1}
"""What messages ask for, and how often: a text, tools, a tool that somebody has to allow. The faults also ask for
"slow" and "slow again": a tool that takes its time, and one that does and may run again."""
_CALLS = {"tools": ("look_up", "send"), "danger": ("danger",), "slow": ("wait",), "slow again": ("wait_again",)}
_SECONDS = {"look_up": 0.005, "send": 0.005, "danger": 0.005, "wait": 0.25, "wait_again": 0.25}
_IDEMPOTENT = frozenset(("look_up", "wait_again"))


class Till:
    """The provider of all processes, which lives outside of them, and counts what each session pays for. Its model is
    the session's id."""

    def __init__(self) -> None:
        self._paid: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._provider = FakeProvider(_reply, on_reply=self._count)
        self._provider.start()

    @property
    def url(self) -> str:
        """What clients are given."""
        return self._provider.base_url

    def paid(self, session_id: UUID) -> int:
        """How many requests of this session were answered."""
        return self._paid[session_id.hex]

    def client(self) -> AsyncOpenAI:
        """A client, which asks once."""
        return client_of(self._provider)

    def close(self) -> None:
        """The provider is gone."""
        self._provider.close()

    def _count(self, request: Request, reply: Reply) -> None:
        if isinstance(reply, Answer):
            with self._lock:
                self._paid[request["model"]] += 1


def _reply(request: Request) -> Reply:
    """Calls what the last message of the user asks for, once; then says something."""
    messages = request["messages"]
    last = max(at for at, message in enumerate(messages) if message["role"] == "user")
    play = str(messages[last]["content"]).rpartition("]")[2].strip()
    tag = f"[{request['model'][:12]} answer]"
    if play in _CALLS and not any(message["role"] == "tool" for message in messages[last:]):
        return Answer(tag, tool_calls=[ToolCall(name) for name in _CALLS[play]])
    return Answer(f"{tag} one two three", delay=0.003)


def tools(worker: Worker | None = None, call_id: str = "") -> list[Tool]:
    """The tools of an answer. They tell when they run."""

    def tool(name: str) -> Tool:
        async def run(context: ToolContext) -> str:
            if worker is not None:
                worker.tell("effect", context.session.id, name, context.key)
                worker.tell("stage", call_id, "tool")
            await asyncio.sleep(_SECONDS[name])
            if worker is not None:
                worker.tell("stage", call_id, "tool ended")
            return "done"

        return Tool(run, name=name, idempotent=name in _IDEMPOTENT, needs_approval=name == "danger")

    return [tool(name) for name in _SECONDS]


def may_run_again(name: str) -> bool:
    """Whether the tool may run again after a crash."""
    return name in _IDEMPOTENT


async def talk(worker: Worker, session: Session, call: Call) -> str:
    """A message, and its answer to the end of its turn."""
    message = f"{call.text} {call.play}"
    outcome = await _answer(worker, session, call, message=message, message_id=call.id)
    worker.tell("stage", call.id, outcome.status)
    return outcome.status


def _answer(worker: Worker, session: Session, call: Call, **message: Any) -> Any:
    client, model = worker.till_client(), session.id.hex
    return session.answer(client, model=model, tools=tools(worker, call.id), on_break="again", **message)


async def decide(worker: Worker, session: Session, call: Call) -> None:
    """Somebody decides about what waits, and the turn goes on."""
    await decide_all(session, refuses=call.id[-1] in "13579")
    with suppress(TurnClosedError):  # there is nothing to go on with
        await _answer(worker, session, call)


async def decide_all(session: Session, *, refuses: bool = False) -> None:
    """Allows, or refuses, every call that waits for a decision. Somebody else may decide at the same time."""
    for waiting in (await session.view()).waiting_tool_calls:
        with suppress(UnknownToolCallError, ToolResultConflictError):
            decided = session.refuse if refuses else session.approve
            await decided(waiting.id, by="somebody", step_id=waiting.step_id)


async def stop(_: Worker, session: Session, call: Call) -> None:
    await session.cancel(call.text)


async def resume(worker: Worker, _: Session, call: Call) -> None:
    """Goes on with whatever the dead have left, in sessions of all users."""

    async def answered(found: Session) -> AnswerOutcome:
        outcome: AnswerOutcome = await _answer(worker, found, call)
        return outcome

    await worker.log.resume(answered)
