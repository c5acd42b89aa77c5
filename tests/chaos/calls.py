"""The calls that a workload is made of: what is asked, as data that any process can ask again, and how it is asked."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zlib import crc32

from httpx import HTTPError
from openai import APIConnectionError, InternalServerError

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.events import CompletionEnded
from turnlog.infrastructure.session import Session
from turnlog.projections.step import Step

if TYPE_CHECKING:
    from tests.chaos.worker import Worker

DOUBLED = frozenset(("say", "advise", "quote", "increment", "report", "import", "result", "talk"))
WORDS = 12
"""Texts of an answer."""
FOLLOW_SECONDS = 8.0
"""An answer in the background has ended by then."""


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
    play: str = ""
    """What a message asks the model for (see `talks`)."""

    @property
    def text(self) -> str:
        """What the call writes, if it writes a text."""
        return f"[{self.session_id.hex[:12]} {self.id}]"

    @property
    def is_doubled(self) -> bool:
        """Whether it is made twice at the same time, as by a client that is impatient."""
        return self.kind in DOUBLED and crc32(self.id.encode()) % 3 == 0

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


async def extend(worker: Worker, _: Session, call: Call) -> None:
    """Goes on with an import that another process goes on with at the same time, in another way."""
    begun = [{"role": "user", "content": f"[{call.session_id.hex[:12]} begun]"}]
    await worker.log.import_session(begun, call.user, session_id=call.session_id)
    more = [*begun, {"role": "assistant", "content": call.text}]
    await worker.log.import_session(more, call.user, session_id=call.session_id)


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
    """Asks the fake provider, which refuses what real ones refuse. That it is out of reach is no fault of turnlog's."""
    try:
        return await _asked(worker, session, call)
    except (OSError, APIConnectionError, HTTPError):
        return "not answered"
    except InternalServerError as error:
        if os.strerror(errno.EMFILE) in str(error):  # the provider is in this process, and may open no file either
            return "not answered"
        raise


async def _asked(worker: Worker, session: Session, call: Call) -> str:
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


async def background(worker: Worker, session: Session, call: Call) -> str | None:
    """Records without a consumer, and follows to the end of the step."""
    step_id = await session.record_in_background(_words(call), takeover=True)
    worker.tell("step", call.id, step_id)
    with suppress(TimeoutError):
        async with asyncio.timeout(FOLLOW_SECONDS):
            async for recorded in session.follow():
                if isinstance(recorded.event, CompletionEnded) and recorded.event.step_id == step_id:
                    return step_id
    if worker.expects_losses and not any(step.step_id == step_id for step in await _steps(session)):
        return None  # the log went back to before the step, and its end will never come
    raise WrongAnswerError("the end of a step did not come")


async def _steps(session: Session) -> list[Step]:
    return [step for turn in (await session.view()).turns for step in turn.steps]


async def undo_repair(worker: Worker, session: Session, call: Call) -> None:
    await worker.log.undo_repair(session.id, call.user)


async def reap(worker: Worker, _: Session, call: Call) -> None:
    await worker.log.reap(dry_run=True)


WRITES: dict[str, Made] = {
    "start": start, "start_unowned": start_unowned, "assign": assign, "say": say, "advise": advise, "quote": quote,
    "increment": increment, "report": report, "title": title, "metadata": metadata, "import": import_, "fork": fork,
    "compact": compact, "repair": repair, "cancel": cancel, "delete": delete, "answer": answer, "ask": ask,
    "write": write, "result": result, "background": background, "undo_repair": undo_repair, "reap": reap,
    "extend": extend,
}  # fmt: skip
REPEATABLE = frozenset(
    ("start", "start_unowned", "assign", "say", "advise", "quote", "increment", "report", "import", "delete", "result",
     "talk")
)  # fmt: skip
"""What may be asked again when its outcome is not known: it counts once."""
STEPS = frozenset(("answer", "ask", "write", "background"))
