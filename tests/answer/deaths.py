"""Processes that answer, and are killed at a named point: at an await of what answers, or between two steps of the log.

A point is reached from outside: the child traces the modules below, and counts the commands of the session. So a new
await is a new point, and no product code knows of any.
"""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

from openai import AsyncOpenAI

from tests.support.processes import Line
from turnlog import SYSTEM, Session, SessionLog, Settings, Tool, ToolContext
from turnlog.domain.events import SessionEvent, TextDelta, ToolStarted, TurnEnded
from turnlog.infrastructure.answer import answer, asking, tool_work, turn_work
from turnlog.infrastructure.append import turn_owner
from turnlog.infrastructure.append.aggregate import Aggregate

MODULES = (answer, turn_work, tool_work, asking, turn_owner)
"""The modules at each await of which the process is killed."""
SLOW_SECONDS = 2.0
ROUNDS = 12
"""Requests of the longest turn that call a tool."""
_WAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith)


def awaits() -> dict[tuple[str, int], str]:
    """The awaits of the modules: by file and line their names."""
    found = dict[tuple[str, int], str]()
    for module in MODULES:
        path = str(module.__file__)
        for function, node in _waits_in(ast.parse(Path(path).read_text(encoding="utf-8"))):
            text = ast.unparse(node).splitlines()[0]
            found[path, node.lineno] = f"{Path(path).stem}.{function}: {text}"
    return found


def _waits_in(tree: ast.AST, name: str = "") -> Iterator[tuple[str, Any]]:
    for node in ast.iter_child_nodes(tree):
        inner = name
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{name}.{node.name}" if name else node.name
        if isinstance(node, _WAITS):
            yield inner, node
        yield from _waits_in(node, inner)


class Reaper:
    """Counts how often each point was reached, and kills this process at one: a name, and which time."""

    def __init__(self, point: tuple[str, int] | None) -> None:
        self.reached = Counter[str]()
        self._point = point
        self._awaits = awaits()
        self._files = {path for path, _ in self._awaits}

    def reach(self, name: str) -> None:
        """This point is reached."""
        self.reached[name] += 1
        if (name, self.reached[name]) == self._point:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Begins to look."""
        decide, settle = Aggregate.submit, Aggregate.settled

        def submit(aggregate: Aggregate, *commands: Any, **options: Any) -> Any:
            for command in commands:
                self.reach(f"{type(command).__name__} is decided")
            return decide(aggregate, *commands, **options)

        def settled(aggregate: Aggregate, append: Any, error: Any) -> None:
            for command in append.commands if error is None else ():
                self.reach(f"{type(command).__name__} is stored")
            settle(aggregate, append, error)

        Aggregate.submit, Aggregate.settled = submit, settled  # type: ignore[method-assign]
        sys.settrace(self._trace)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        # A coroutine that goes on is called again.
        name = self._awaits.get((frame.f_code.co_filename, frame.f_lineno))
        if name is not None and event == "call" and frame.f_lasti > 10:
            self.reach(f"after {name}")
        return self._line

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        name = self._awaits.get((frame.f_code.co_filename, frame.f_lineno))
        if event == "line" and name is not None:
            self.reach(f"before {name}")
        return self._line


# What the processes do

Scenario = Callable[["Stage"], Awaitable[Any]]


class Stage:
    """A log, and another one as of a second process, with a session and its provider."""

    def __init__(self, log: SessionLog, other: SessionLog, session_id: UUID, client: AsyncOpenAI, model: str) -> None:
        self.session, self.other = (one.session(session_id, SYSTEM) for one in (log, other))
        self.settings = log.settings
        self.client = client
        self._model = model

    def answer(self, message: str | None, session: Session | None = None, **options: Any) -> Any:
        """The answer to a message, which is its own id."""
        options["tools"] = tools()
        return (session or self.session).answer(
            self.client, model=self._model, message=message, message_id=message, **options
        )

    async def until(self, kind: type[SessionEvent]) -> None:
        """Waits until there is an event of this kind, or the turn has ended before it: a busy machine can lose a
        lease."""
        async for recorded in self.session.follow():
            if isinstance(recorded.event, kind | TurnEnded):
                return


def tools(effects: Path | None = None) -> list[Any]:
    """The tools of all processes. What is done is noted in `effects`, or in the file that the environment names."""
    noted = effects or Path(os.environ["TURNLOG_TEST_EFFECTS"])

    def note(context: ToolContext) -> None:
        with noted.open("a") as file:
            file.write(f"{context.name} {context.key}\n")

    async def effect(context: ToolContext) -> str:
        note(context)
        await asyncio.sleep(0.01)
        return "done"

    async def slow(context: ToolContext) -> str:
        note(context)
        await asyncio.sleep(SLOW_SECONDS)
        return "done"

    async def large(context: ToolContext) -> str:
        note(context)
        return "x" * 20_000

    async def page(context: ToolContext) -> str:
        note(context)
        return "x" * 5_000

    return [
        effect,
        slow,
        large,
        page,
        Tool(effect, name="look_up", idempotent=True),
        Tool(effect, name="danger", needs_approval=True),
        {"type": "function", "function": {"name": "elsewhere", "parameters": {"type": "object", "properties": {}}}},
    ]


async def with_tools(stage: Stage) -> None:
    """Two messages, the second of which is queued; tools of all kinds."""
    first = await stage.answer("with tools").begun()
    second = await stage.answer("behind it", on_busy="queue").begun()
    async for _ in first:
        pass
    await second
    await stage.answer("with tools")


async def queued(stage: Stage) -> None:
    """A message is queued, and nobody but the owner of the turn before it knows."""
    given = await stage.answer("queued").begun()
    await stage.other.say("unattended", message_id="unattended", on_busy="queue")
    await asyncio.wait([given._task])


async def with_a_decision(stage: Stage) -> None:
    """A call waits for a decision, and for a result from elsewhere."""
    await stage.answer("with a decision")
    await decide(stage.session)
    await stage.answer(None)


async def decide(session: Session) -> None:
    """Gives what is waited for."""
    for call in (await session.view()).waiting_tool_calls:
        if call.waits_for == "decision":
            await session.approve(call.id, by="somebody", step_id=call.step_id)
        else:
            await session.add_tool_result(call.id, "here it is", step_id=call.step_id)


async def breaking(stage: Stage) -> None:
    """The stream breaks."""
    await stage.answer("breaking", on_break="again")


async def refused(stage: Stage) -> None:
    """The provider refuses, and the message is sent again."""
    await stage.answer("refused")
    await stage.answer("refused")


async def attached(stage: Stage) -> None:
    """A retry comes to another process while the message is answered. The owner is left alone."""
    await stage.answer("attached", stage.other).begun()
    await stage.answer("attached")


async def stopped(stage: Stage) -> None:
    """Another process stops the turn while its tool runs."""
    given = await stage.answer("stopped").begun()
    await stage.until(ToolStarted)
    await stage.other.cancel()
    await given


async def limited(stage: Stage) -> None:
    """The time of the turn is over while its tool runs."""
    await stage.answer("limited", seconds=SLOW_SECONDS / 2)
    await stage.answer("limited")


async def one_step(stage: Stage) -> None:
    """The turn has had all its requests, and its calls have results."""
    await stage.answer("one step", max_steps=1)
    await stage.answer("one step")


async def closed(stage: Stage) -> None:
    """The log is closed while the tool runs, and another one goes on."""
    async with SessionLog.open(stage.settings) as log:
        await stage.answer("closed", log.session(stage.session.id, SYSTEM)).begun()
        await stage.until(ToolStarted)
    await stage.answer(None)


async def without_client(stage: Stage) -> None:
    """The client is closed while its stream is read."""
    given = await stage.answer("without client").begun()
    await stage.until(TextDelta)
    await stage.client.close()
    await given


async def long_ago(stage: Stage) -> None:
    """A message is sent again when others have been answered since."""
    for message in ("long ago", "since", "and since", "long ago"):
        await stage.answer(message)


async def in_rounds(stage: Stage) -> None:
    """A turn of many steps, and its message is sent again."""
    await stage.answer("in rounds")
    await stage.answer("in rounds")


SCENARIOS: dict[str, tuple[Scenario, tuple[str, ...], int]] = {
    "with tools": (with_tools, ("with tools", "behind it"), 3),
    "queued": (queued, ("queued", "unattended"), 2),
    "with a decision": (with_a_decision, ("with a decision",), 2),
    "breaking": (breaking, ("breaking",), 2),
    "refused": (refused, ("refused",), 2),
    "attached": (attached, ("attached",), 1),
    "stopped": (stopped, ("stopped",), 2),
    "limited": (limited, ("limited",), 2),
    "one step": (one_step, ("one step",), 2),
    "closed": (closed, ("closed",), 2),
    "without client": (without_client, ("without client",), 2),
    "in rounds": (in_rounds, ("in rounds",), ROUNDS + 1),
    "long ago": (long_ago, ("long ago", "since", "and since"), 3),
}
"""By name: what is done, the messages that are answered, and the requests that this takes where nobody dies."""


async def act(
    line: Line,
    settings: Settings,
    session_id: UUID,
    url: str,
    model: str,
    effects: Path,
    point: tuple[str, int] | None,
) -> None:
    """Plays the scenario that the model is named after, and is killed at the point. Else says which points were
    reached, and how often."""
    os.environ["TURNLOG_TEST_EFFECTS"] = str(effects)
    scenario, _, _ = SCENARIOS[model.partition("/")[0]]
    reaper = Reaper(point)
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        async with SessionLog.open(settings) as other, SessionLog.open(settings) as log:
            reaper.watch()
            with suppress(Exception):
                await scenario(Stage(log, other, session_id, client, model))
        sys.settrace(None)
    line.say(dict(reaper.reached))
