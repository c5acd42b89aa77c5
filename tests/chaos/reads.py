"""The calls that read, and what must hold of every answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.chaos.calls import Call, Made, WrongAnswerError
from tests.support.rules import CHECKS
from turnlog.domain.errors import LogClosedError, PromptTooLongError, SessionNotFoundError, StoreError, TurnlogError
from turnlog.domain.events import SessionForked
from turnlog.infrastructure.session import Session

# Code that a call loads when it is first made: not while a process may open no file.
from turnlog.infrastructure.tables import catching_up  # noqa: F401
from turnlog.projections.view import SessionView

if TYPE_CHECKING:
    from tests.chaos.worker import Worker

TAG = re.compile(r"\[([0-9a-f]{12}) ")
"""Every text of a workload begins with the session that it belongs to."""


async def view(worker: Worker, session: Session, call: Call) -> None:
    check_view(worker, await session.view(), call)


def check_view(worker: Worker, seen: SessionView, call: Call) -> None:
    """Asserts that a view is the session's own, and has what this process was told is stored."""
    check_tags(worker, seen.model_dump_json(), call)
    if seen.user_id not in (call.user, None) or seen.session_id != call.session_id:
        raise WrongAnswerError(f"the view of {seen.session_id} of {seen.user_id} for {call}")
    there = {message.message_id for turn in seen.turns for message in turn.messages}
    there |= {step.step_id for turn in seen.turns for step in turn.steps}
    missing = worker.said[call.session_id] - there
    if missing and not worker.expects_losses:
        raise WrongAnswerError(f"not in the view of {call.session_id} at {seen.version}: {sorted(missing)}")


def check_tags(worker: Worker, text: str, call: Call) -> None:
    """Asserts that nothing of another session is in an answer."""
    if others := set(TAG.findall(text)) - {call.session_id.hex[:12]}:
        raise WrongAnswerError(f"of another session, {others}, for {call}")


async def prompts(worker: Worker, session: Session, call: Call) -> None:
    for api, check in CHECKS.items():
        prompt: Any = await session.prompt(api)
        check(prompt)
        check_tags(worker, json.dumps(prompt), call)


async def window(worker: Worker, session: Session, call: Call) -> None:
    with suppress(PromptTooLongError):
        prompt: Any = await session.prompt("chat", max_tokens=150)
        CHECKS["chat"](prompt)
        check_tags(worker, json.dumps(prompt), call)


async def at(worker: Worker, session: Session, call: Call) -> None:
    seen = await session.view()
    before = await session.at(max(1, seen.version // 2))
    check_tags(worker, before.model_dump_json(), call)


async def events(worker: Worker, session: Session, call: Call) -> None:
    found = [event async for event in session.events()]
    _check_positions([event.position for event in found], call)
    if not any(isinstance(event.event, SessionForked) for event in found):
        check_tags(worker, b"".join(event.event.to_json() for event in found).decode(), call)


def _check_positions(positions: list[int], call: Call, after: int = 0) -> None:
    if positions != list(range(after + 1, after + 1 + len(positions))):
        raise WrongAnswerError(f"positions {positions} after {after}, for {call}")


async def follow(_: Worker, session: Session, call: Call) -> None:
    version = (await session.view()).version
    positions = await _taken(session.follow(), lambda event: event.position, version)
    _check_positions(positions, call)


async def deltas(_: Worker, session: Session, call: Call) -> None:
    version = (await session.view()).version
    after = version // 2
    _check_positions(await _taken(session.deltas(after), lambda delta: delta.position, version), call, after)


async def live(_: Worker, session: Session, call: Call) -> None:
    async with session.live() as following:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                version, positions = following.view.version, []
                async for delta in following:
                    positions.append(delta.position)  # noqa: PERF401 what came is kept when time is up
        _check_positions(positions, call, version)


async def _taken(stream: Any, position: Callable[[Any], int], last: int) -> list[int]:
    positions: list[int] = []
    async for one in stream:
        positions.append(position(one))
        if positions[-1] >= last:
            break
    await stream.aclose()
    return positions


async def list_(worker: Worker, _: Session, call: Call) -> None:
    page = await worker.log.list_sessions(call.user, limit=100)
    if others := {item.user_id for item in page.items} - {call.user}:
        raise WrongAnswerError(f"sessions of {others} in the list of {call.user}")


async def usage(worker: Worker, _: Session, call: Call) -> None:
    found = await worker.log.usage(call.user)
    if others := {row.user_id for row in found.rows} - {call.user}:
        raise WrongAnswerError(f"usage of {others} for {call.user}")


async def explain(_: Worker, session: Session, call: Call) -> None:
    await session.explain_prompt()


async def intrude(worker: Worker, _: Session, call: Call) -> None:
    """Somebody else asks for the session in several ways, and is told that there is none."""
    theirs = worker.log.session(call.session_id, "an intruder")
    for attempt in (
        theirs.view,
        theirs.prompt,
        lambda: theirs.prompt("anthropic", max_tokens=100),
        lambda: theirs.say("x"),
        lambda: theirs.add_tool_result("c", "x"),
        lambda: anext(theirs.follow()),
        lambda: worker.log.repair(call.session_id, "an intruder"),
    ):
        try:
            await attempt()
        except SessionNotFoundError:
            continue
        except (StoreError, LogClosedError):
            raise
        except TurnlogError as error:  # which says that there is a session
            raise WrongAnswerError(f"a stranger was told {type(error).__name__}: {call}") from error
        raise WrongAnswerError(f"a stranger was let in: {call}")


READS: dict[str, Made] = {
    "view": view, "prompts": prompts, "window": window, "at": at, "events": events, "follow": follow, "deltas": deltas,
    "live": live, "list": list_, "usage": usage, "explain": explain, "intrude": intrude,
}  # fmt: skip
