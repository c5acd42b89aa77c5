"""A process under attack: a few callers on one log, that tell everything they try and everything they are told."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import os
import random
import resource
import signal
import time
import traceback
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psutil  # type: ignore[import-untyped]
from openai import AsyncOpenAI

from tests.chaos import talks
from tests.chaos.calls import REPEATABLE, STEPS, WRITES, Call, WrongAnswerError
from tests.chaos.reads import READS
from tests.chaos.script import Caller
from tests.support.openai_client import client_at, client_of
from tests.support.processes import Line
from turnlog.domain import state
from turnlog.domain.errors import AppendConflictError, AppendRefusedError, LogClosedError, StoreError, TurnlogError
from turnlog.infrastructure import clock
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings
from turnlog.testing import FakeProvider

HANG_SECONDS = 20.0
"""A call that takes longer has hung."""
ROUND_PAUSE = 0.001
RETRIES = 40


async def work(line: Line, settings: Settings, callers: int, provider_url: str) -> None:
    """The process. Does what it is told, until that is "stop" or the other side is gone."""
    worker = Worker(line, settings, callers, provider_url)
    with suppress(EOFError, OSError):
        await worker.run()
    os._exit(0)


class Worker:
    """The log of the process, and who calls it."""

    def __init__(self, line: Line, settings: Settings, callers: int, provider_url: str) -> None:
        self._provider_url = provider_url
        self._till_client: AsyncOpenAI | None = None
        self._line, self._settings, self._callers = line, settings, callers
        self._stack = AsyncExitStack()
        self._log: SessionLog | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._ends = asyncio.Event()
        self._rounds: list[asyncio.Task[None]] = []
        self._unknown: list[Call] = []
        self._asked_by: set[tuple[UUID, str]] = set()
        self._client: AsyncOpenAI | None = None
        self.said: dict[UUID, set[str]] = defaultdict(set)
        self.expects_losses = False
        self.logged = Logged()

    @property
    def log(self) -> SessionLog:
        """The open log. Raises LogClosedError while it is not."""
        if self._log is None:
            raise LogClosedError("it is being opened again")
        return self._log

    def tell(self, *what: Any) -> None:
        """Tells the model."""
        self._line.say(what)

    async def client(self) -> AsyncOpenAI:
        """A client of a provider that refuses what real ones refuse."""
        if self._client is None:
            provider = FakeProvider()
            provider.start()
            self._client = client_of(provider)
        return self._client

    def till_client(self) -> AsyncOpenAI:
        """A client of the provider that all processes pay."""
        if self._till_client is None:
            self._till_client = client_at(self._provider_url)
        return self._till_client

    async def run(self) -> None:
        """Hears and does."""
        asyncio.get_running_loop().set_exception_handler(self._loop_failed)
        logging.getLogger().addHandler(self.logged)
        state.MEMORY_LIMIT = 3  # so that a round has more ids than are remembered
        await self._open()
        self.tell("ready", os.getpid())
        while (order := await self._line.hear()) != "stop":
            await getattr(self, order[0])(*order[1:])
        await self._close()
        self.tell("closed")

    def _loop_failed(self, _: Any, context: dict[str, Any]) -> None:
        error: BaseException | None = context.get("exception")
        whose = context.get("task") or context.get("future")
        where = traceback.format_exception(error)[-4:] if error is not None else []
        self.tell("wrong", f"the loop: {context.get('message')} {error!r} of {whose!r} {_in_a_line(where)}")

    async def _open(self) -> None:
        for _ in range(RETRIES):
            with suppress(StoreError):
                self._log = await self._stack.enter_async_context(SessionLog.open(self._settings))
                return
            await asyncio.sleep(0.2)
        self.tell("wrong", "the log could not be opened")

    async def _close(self) -> None:
        self._log = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    # Orders

    async def begin(self, name: str, seed: str, users: list[str], own: list[UUID], shared: list[UUID]) -> None:
        """Callers begin to call. Those of all processes share sessions."""
        self._ends.clear()
        self.expects_losses = False
        self.said.clear()
        self._asked_by.clear()
        self._unknown.clear()
        self.logged.lines = 0
        for number in range(self._callers):
            caller = Caller(f"{name}-{number}", f"{seed} {number}", users[number], own[number], shared[number])
            self._rounds.append(asyncio.create_task(self._call_on(caller)))

    async def finish(self, inherited: list[Call]) -> None:
        """The callers end what they are at, and ask again for what they were not told."""
        self._ends.set()
        await asyncio.gather(*self._rounds)
        self._rounds.clear()
        for call in sorted(
            dict.fromkeys([*self._unknown, *inherited]), key=lambda call: not call.kind.startswith("start")
        ):
            await self._settle(call)
        self.tell("settled")

    async def look(self) -> None:
        """Tells what it sees, when all processes have settled: before that, a session may still be to come."""
        for session_id, user in sorted(self._asked_by):
            await self._look(session_id, user)
        gc.collect()
        memory = psutil.Process().memory_info().rss
        self.tell("done", {"lines": self.logged.lines, "memory": memory, "files": psutil.Process().num_fds()})

    async def call(self, calls: list[Call]) -> None:
        """Makes these calls, one after the other, beside what the callers do."""

        async def make() -> None:
            for call in calls:
                await self._attempt(call)

        self._rounds.append(asyncio.create_task(make()))

    async def cancel_some(self, seed: int) -> None:
        """Cancels some of the calls that are under way."""
        rng = random.Random(seed)
        for task in sorted(self._running, key=lambda task: task.get_name()):
            if rng.random() < 0.6:
                task.cancel()

    async def block(self, seconds: float) -> None:
        """The loop stands still."""
        time.sleep(seconds)  # noqa: ASYNC251 that is the fault

    async def set_clock(self, seconds: float) -> None:
        """The clock of this process is wrong by so much."""
        reading = time.monotonic()
        clock.set_clock(datetime.now(UTC) + timedelta(seconds=seconds), reading, reading)

    async def expect_losses(self) -> None:
        """The log goes back in this round: what was acknowledged before may be gone."""
        self.expects_losses = True

    async def limit_files(self, spare: int | None) -> None:
        """No more than so many descriptors beside the open ones; None: as many as allowed."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        soft = hard if spare is None else max(psutil.Process().num_fds(), 3) + spare
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    async def reopen(self) -> None:
        """Closes the log under its callers, and opens it again."""
        await self._close()
        await self._open()

    async def fork_process(self, uses_the_log: bool) -> None:
        """A copy of the process comes and goes, with the log open in it. If it uses the log, it says something more in
        each session."""
        calls = [Call(f"copy-{at}", "say", *asked) for at, asked in enumerate(self._asked_by)] if uses_the_log else []
        for call in calls:
            self.tell("try", call)
            self.tell("unknown", call.id, "it is the copy that is told")
        if (child := os.fork()) == 0:
            if calls:
                signal.alarm(1)
                _say_in_a_copy(self, calls)
            os._exit(0)
        await asyncio.to_thread(os.waitpid, child, 0)

    # Callers

    async def _call_on(self, caller: Caller) -> None:
        for call in caller.calls():
            if self._ends.is_set():
                return
            answer = await self._attempt(call)
            if call.kind in STEPS and isinstance(answer, str) and call.kind != "ask":
                caller.steps.append((call, answer))
            await asyncio.sleep(ROUND_PAUSE)

    async def _settle(self, call: Call) -> None:
        """Asks again until it is known that the call counts."""
        for _ in range(RETRIES):
            if await self._attempt(call, again=True) is not _UNKNOWN:
                return
            await asyncio.sleep(0.1)
        self.tell("wrong", f"no answer after {RETRIES} times: {call}")

    async def _attempt(self, call: Call, *, again: bool = False) -> Any:
        """Makes the call and tells what became of it."""
        self._asked_by.add((call.session_id, call.user))
        self.tell("try", call)
        began = time.monotonic()
        task = asyncio.create_task(self._made(call), name=call.id)
        self._running.add(task)
        try:
            answer = await task
        except asyncio.CancelledError:
            outcome, answer = ("unknown", "cancelled"), _UNKNOWN
        except TurnlogError as error:
            lost = isinstance(error, StoreError | LogClosedError)
            sure = isinstance(error, AppendConflictError | AppendRefusedError)
            outcome, answer = ("unknown" if lost else "no", type(error).__name__), _UNKNOWN if lost else None
            if sure and call.kind in REPEATABLE and call.kind != "talk":  # it may fail after its message is stored
                self.tell("not stored", call.id)
        except Exception as error:  # noqa: BLE001 that is what is looked for
            outcome, answer = ("wrong", _described(error, call)), None
        else:
            outcome = ("ack", answer)
        finally:
            self._running.discard(task)
        self.tell(outcome[0], *([] if outcome[0] == "wrong" else [call.id]), outcome[1])
        if (taken := time.monotonic() - began) > HANG_SECONDS / 2:
            self.tell("slow", f"{taken:.1f} s for {call}")
        self._note(call, outcome[0], again=again)
        return answer

    def _note(self, call: Call, outcome: str, *, again: bool) -> None:
        if outcome == "ack" and call.kind in ("say", "advise", "quote", "talk"):
            self.said[call.session_id].add(call.id)
        if outcome == "unknown" and call.kind in REPEATABLE and not again:
            self._unknown.append(call)

    async def _made(self, call: Call) -> Any:
        try:
            async with asyncio.timeout(HANG_SECONDS):
                return await (self._made_twice(call) if call.is_doubled else self._made_once(call))
        except TimeoutError:
            raise WrongAnswerError("hung") from None

    async def _made_once(self, call: Call) -> Any:
        session = self.log.session(call.session_id, call.user)
        return await _MADE[call.kind](self, session, call)

    async def _made_twice(self, call: Call) -> Any:
        """The call twice at once, with another one between. One that has succeeded is enough to know that it is
        stored."""
        calls = [call, call]
        if call.kind in ("say", "increment", "report") and not call.is_twin:
            calls.insert(1, replace(call, id=f"{call.id}-between"))
            self.tell("try", calls[1])
        answers = await asyncio.gather(*map(self._made_once, calls), return_exceptions=True)
        if len(calls) > 2:
            between = answers.pop(1)
            self.tell("unknown" if isinstance(between, BaseException) else "ack", calls[1].id, repr(between))
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        if any(not isinstance(error, TurnlogError) for error in errors) or len(errors) == len(answers):
            raise errors[0]
        return next(answer for answer in answers if not isinstance(answer, BaseException))

    async def _look(self, session_id: UUID, user: str) -> None:
        """Tells what this process sees of a session, with all that it remembers."""
        session = self.log.session(session_id, user)
        seen: tuple[Any, str, str] = ("nothing", "", "")
        for _ in range(RETRIES):
            try:
                view, prompt = await session.view(), await session.prompt()
            except StoreError as error:  # says nothing of the session
                seen = (type(error).__name__, "", "")
                await asyncio.sleep(0.1)
            except TurnlogError as error:
                seen = (type(error).__name__, "", "")
                break
            else:
                seen = (view.version, digest(view.model_dump(mode="json")), digest(prompt))
                break
        self.tell("seen", session_id, *seen)


def _say_in_a_copy(worker: Worker, calls: list[Call]) -> None:
    """What a forked process does that does not know that it is one: the same log, on a loop of its own."""

    async def say() -> None:
        for call in calls:
            await worker.log.session(call.session_id, call.user).say(call.text, message_id=call.id)

    asyncio.events._set_running_loop(None)
    with suppress(Exception):
        asyncio.run(say())


_UNKNOWN = object()
_MADE = {**WRITES, **READS, "talk": talks.talk, "decide": talks.decide, "stop": talks.stop, "resume": talks.resume}


def digest(value: Any) -> str:
    """A short name for a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _described(error: Exception, call: Call) -> str:
    lines = traceback.format_exception(error)[-4:]
    return f"{type(error).__name__}: {str(error)[:300]} | {call} | {_in_a_line(lines)}"


def _in_a_line(lines: list[str]) -> str:
    return " ".join("".join(lines).split())[-400:]


class Logged(logging.Handler):
    """Counts what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        """One more."""
        self.lines += 1
