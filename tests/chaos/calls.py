"""The calls that a workload is made of: what is asked, as data that any process can ask again, and how it is asked."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.support.rules import CHECKS
from turnlog.domain.errors import InvalidInputError, PromptTooLongError, SessionNotFoundError
from turnlog.domain.events import CompletionEnded, SessionForked
from turnlog.infrastructure.session import Session
from turnlog.projections.view import SessionView

if TYPE_CHECKING:
    from tests.chaos.worker import Worker

TAG = re.compile(r"\[([0-9a-f]{12}) ")
"""Every text of a workload begins with the session that it belongs to."""
WORDS = 12
"""Texts of an answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `id` is the id under which it counts once; `text` belongs to the session and nowhere else."""

    id: str
    kind: str
    session_id: UUID
    user: str
    step_id: str = ""
    is_twin: bool = False
    """Another process makes the same call at the same time."""

    @property
    def text(self) -> str:
        """What the call writes, if it writes a text."""
        return f"[{self.session_id.hex[:12]} {self.id}]"

    @property
    def words(self) -> list[str]:
        """The deltas of an answer."""
        return [self.text, *(f" {number}" for number in range(WORDS))]


class WrongAnswerError(AssertionError):
    """An answer that should not be."""


Made = Callable[["Worker", Session, Call], Awaitable[Any]]


async def start(worker: Worker, _: Session, call: Call) -> None:
    await worker.log.start_session(call.user, title=None, metadata={"made": call.text}, session_id=call.session_id)


async def start_unowned(worker: Worker, _: Session, call: Call) -> None:
    await worker.log.start_session(None, session_id=call.session_id)


async def assign(worker: Worker, _: Session, call: Call) -> None:
    await worker.log.assign_owner(call.session_id, call.user)


async def say(_: Worker, session: Session, call: Call) -> None:
    await session.say(call.text, message_id=call.id)


async def advise(_: Worker, session: Session, call: Call) -> None:
    await session.add_message("system", call.text, message_id=call.id)


async def quote(_: Worker, session: Session, call: Call) -> None:
    await session.add_message("assistant", [{"type": "text", "text": call.text}], message_id=call.id)


async def increment(_: Worker, session: Session, call: Call) -> None:
    await session.increment("calls", "all", id=call.id)


async def report(_: Worker, session: Session, call: Call) -> None:
    await session.add_usage(model="m", id=call.id, prompt_tokens=3, completion_tokens=4)


async def title(_: Worker, session: Session, call: Call) -> None:
    await session.set_title(call.text)


async def metadata(_: Worker, session: Session, call: Call) -> None:
    await session.set_metadata({"last": call.text})


async def import_(worker: Worker, _: Session, call: Call) -> None:
    await worker.log.import_session(imported(call), call.user, session_id=call.session_id)


def imported(call: Call) -> list[dict[str, Any]]:
    """The messages of an import."""
    return [{"role": ("user", "assistant")[at % 2], "content": f"{call.text} {at}"} for at in range(6)]


async def fork(_: Worker, session: Session, call: Call) -> UUID:
    return (await session.fork()).id


async def compact(_: Worker, session: Session, call: Call) -> None:
    view = await session.view()
    upto = min((turn.position for turn in view.turns if turn.status != "finished"), default=view.version) - 1
    if upto > 0:
        with suppress(InvalidInputError):  # a call up to there waits for its result
            await session.compact(call.text, upto)


async def repair(worker: Worker, session: Session, call: Call) -> None:
    await worker.log.repair(session.id, call.user, dry_run=False)


async def cancel(_: Worker, session: Session, call: Call) -> None:
    await session.cancel(call.text)


async def delete(worker: Worker, session: Session, call: Call) -> bool:
    return await worker.log.delete_session(session.id, call.user)


async def answer(worker: Worker, session: Session, call: Call) -> str:
    """Records a stream of words, and tells of each that is shown."""
    recording = session.record(_words(call), model="m", takeover=True)
    worker.tell("step", call.id, recording.step_id)
    async for chunk in recording:
        if chunk["choices"][0]["delta"].get("content") is not None:
            worker.tell("shown", call.id)
    return recording.step_id


async def _words(call: Call) -> AsyncIterator[dict[str, Any]]:
    for word in call.words:
        yield {"id": "r", "model": "m", "choices": [{"index": 0, "delta": {"content": word}}]}
        await asyncio.sleep(0.002)
    function = {"index": 0, "id": f"call-{call.id}", "function": {"name": "find", "arguments": '{"a": 1}'}}
    yield {"choices": [{"index": 0, "delta": {"tool_calls": [function]}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 1}}


async def ask(worker: Worker, session: Session, call: Call) -> str:
    """Asks the fake provider, which refuses what real ones refuse."""
    client = await worker.client()
    stream = await client.chat.completions.create(
        model="m", messages=[*await session.prompt(), {"role": "user", "content": call.text}], stream=True
    )
    recording = session.record(stream, takeover=True)
    worker.tell("step", call.id, recording.step_id)
    async for _ in recording:
        pass
    return recording.step_id


async def write(worker: Worker, session: Session, call: Call) -> str:
    """Writes a step by hand."""
    completion = session.completion(model="m", takeover=True)
    worker.tell("step", call.id, completion.step_id)  # before it is opened: that may be cancelled
    async with completion:
        for word in call.words:
            await completion.text(word)
            worker.tell("shown", call.id)
        await completion.reasoning(call.text)
        await completion.tool_call(f"call-{call.id}", "find", '{"b": 2}')
        await session.add_tool_result(f"call-{call.id}", call.text, status="pending")
        await completion.finish("tool_calls", usage={"prompt_tokens": 5})
    return completion.step_id


async def result(_: Worker, session: Session, call: Call) -> None:
    await session.add_tool_result(f"call-{call.id.removeprefix('result-')}", call.text, step_id=call.step_id)


async def background(worker: Worker, session: Session, call: Call) -> str:
    """Records without a consumer, and follows to the end of the step."""
    step_id = await session.record_in_background(_words(call), takeover=True)
    worker.tell("step", call.id, step_id)
    async for recorded in session.follow():
        if isinstance(recorded.event, CompletionEnded) and recorded.event.step_id == step_id:
            break
    return step_id


async def undo_repair(worker: Worker, session: Session, call: Call) -> None:
    await worker.log.undo_repair(session.id, call.user)


async def reap(worker: Worker, _: Session, call: Call) -> None:
    await worker.log.reap(dry_run=True)


# Reading


async def view(worker: Worker, session: Session, call: Call) -> None:
    check_view(worker, await session.view(), call)


def check_view(worker: Worker, seen: SessionView, call: Call) -> None:
    """Asserts that a view is the session's own, and has what this process was told is stored."""
    check_tags(worker, seen.model_dump_json(), call)
    if seen.user_id not in (call.user, None) or seen.session_id != call.session_id:
        raise WrongAnswerError(f"the view of {seen.session_id} of {seen.user_id} for {call}")
    there = {message.message_id for turn in seen.turns for message in turn.messages}
    there |= {step.step_id for turn in seen.turns for step in turn.steps}
    if missing := worker.said[call.session_id] - there:
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
        raise WrongAnswerError(f"somebody else was let in: {call}")


WRITES: dict[str, Made] = {
    "start": start, "start_unowned": start_unowned, "assign": assign, "say": say, "advise": advise, "quote": quote,
    "increment": increment, "report": report, "title": title, "metadata": metadata, "import": import_, "fork": fork,
    "compact": compact, "repair": repair, "cancel": cancel, "delete": delete, "answer": answer, "ask": ask,
    "write": write, "result": result, "background": background, "undo_repair": undo_repair, "reap": reap,
}  # fmt: skip
READS: dict[str, Made] = {
    "view": view, "prompts": prompts, "window": window, "at": at, "events": events, "follow": follow, "deltas": deltas,
    "live": live, "list": list_, "usage": usage, "explain": explain, "intrude": intrude,
}  # fmt: skip
REPEATABLE = frozenset(
    ("start", "start_unowned", "assign", "say", "advise", "quote", "increment", "report", "import", "delete", "result")
)
"""What may be asked again when its outcome is not known: it counts once."""
STEPS = frozenset(("answer", "ask", "write", "background"))
