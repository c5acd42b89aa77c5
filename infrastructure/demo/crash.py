"""The second part: a handler is killed in mid-stream, and nothing that anyone has seen is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from turnlog.domain.commands import AppendText
from turnlog.domain.events import ReasoningDelta, TextDelta
from turnlog.infrastructure.cli.transcript import print_step
from turnlog.infrastructure.completion import now
from turnlog.infrastructure.demo.client import Answerer
from turnlog.infrastructure.demo.conversation import Player
from turnlog.infrastructure.demo.scene import Scene
from turnlog.infrastructure.demo.stage import Stage
from turnlog.infrastructure.demo.victim import Job
from turnlog.infrastructure.provider.errors import RequestRefusedError
from turnlog.infrastructure.provider.validation import check_messages
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings

SHOWN_BEFORE_KILL = 60


@dataclass(frozen=True, slots=True)
class Crash:
    """What became of the killed handler's step. `shown` and `logged` count deltas."""

    signal: str
    shown: int
    logged: int
    missing: int
    status_after_kill: str
    prompt_is_valid: bool
    status_afterwards: str

    @property
    def is_survived(self) -> bool:
        """Whether all that was shown is there, and the conversation could go on."""
        return self.missing == 0 and self.prompt_is_valid and self.status_afterwards != "open"

    def as_json(self) -> dict[str, Any]:
        """The facts."""
        return asdict(self) | {"survived": self.is_survived}


async def crash(session: Session, settings: Settings, scene: Scene, answerer: Answerer, stage: Stage) -> Crash:
    """Lets a child process record an answer, kills it, and looks at the log."""
    await session.add_message("system", scene.system)
    await session.say(scene.long_answer.user)
    stage.user(scene.long_answer.user)
    answerer.script(scene.long_answer.streams)
    job = Job(settings=settings, session_id=str(session.id), model=answerer.model, base_url=answerer.base_url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "turnlog.infrastructure.demo.victim", stdin=PIPE, stdout=PIPE
    )
    try:
        shown = await _watch(process, job, stage)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        code = await process.wait()
    return await _examine(session, shown, _signal_name(code), stage)


async def _watch(process: Process, job: Job, stage: Stage) -> list[str]:
    """The deltas that the child had shown when it was dead."""
    assert process.stdin is not None  # noqa: S101 for the type checker
    process.stdin.write(job.model_dump_json().encode() + b"\n")
    await process.stdin.drain()
    stage.note(f"(a handler in a process of its own, {process.pid}, records and shows the answer)")
    shown: list[str] = []
    async for text in _shown(process):
        shown.append(text)
        stage.delta(AppendText(now(), "shown", text))
        if len(shown) == SHOWN_BEFORE_KILL:
            process.kill()
            # What it had written by then was shown too, and is still read.
    stage.note(f"(kill -9 {process.pid}, after {len(shown)} deltas were seen)", style="bold red")
    return shown


async def _shown(process: Process) -> AsyncIterator[str]:
    assert process.stdout is not None  # noqa: S101 for the type checker
    while (line := await process.stdout.readline()).endswith(b"\n"):
        yield json.loads(line)


def _signal_name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"none, exit code {code}"
