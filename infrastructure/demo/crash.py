"""The second part: a handler is killed in mid-stream, and nothing that anyone has seen is lost."""

from __future__ import annotations

import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, cast

from turnlog.domain.events import ReasoningDelta, TextDelta
from turnlog.domain.step_appends import AppendText
from turnlog.infrastructure.cli.transcript import print_step
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.demo.child import Job, ended_by, kill, started
from turnlog.infrastructure.demo.conversation import Player
from turnlog.infrastructure.demo.scene import Scene
from turnlog.infrastructure.demo.stage import Stage
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.testing.errors import RequestRefusedError
from turnlog.infrastructure.testing.validation import check_messages
from turnlog.projections.view import Step

SHOWN_BEFORE_KILL = 60
"""Deltas that are seen before the handler is killed."""
LEASE_SECONDS = 1.0
"""The lease of the handler that is killed, which the next answer has to wait for."""


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
        """Whether all that was shown is in the log, and the conversation went on."""
        seen = self.shown > 0 and self.missing == 0
        return seen and self.prompt_is_valid and self.status_afterwards != "open"

    def as_json(self) -> dict[str, Any]:
        """The facts."""
        return asdict(self) | {"survived": self.is_survived}


async def crash(session: Session, settings: Settings, scene: Scene, player: Player, stage: Stage) -> Crash:
    """Lets a child process record an answer, kills it, checks the log, and goes on with the conversation."""
    await session.add_message("system", scene.system)
    await session.say(scene.long_answer.user)
    stage.user(scene.long_answer.user)
    player.answerer.script(scene.long_answer)
    answerer = player.answerer
    brief = settings.model_copy(update={"lease_seconds": LEASE_SECONDS})
    job = Job(settings=brief, session_id=str(session.id), model=answerer.model, base_url=answerer.base_url)
    shown, ended_by = await _killed(job, stage)
    logged = await _logged(session)
    missing = sum(1 for number, text in enumerate(shown) if logged[number : number + 1] != [text])
    status = await _show_partial(session, stage)
    stage.check(
        not missing,
        f"{len(shown) - missing} of the {len(shown)} deltas that were seen are in the log; the step is {status}",
    )
    is_valid = await _check_prompt(session, stage)
    stage.note(f"(its lease runs out {LEASE_SECONDS:.0f} s after it was last heard of; the next answer waits for that)")
    await player.turn(session, scene.afterwards)
    afterwards = await _first_step(session)
    stage.check(afterwards.status != "open", f"the cut step is {afterwards.status}: {afterwards.note}")
    return Crash(ended_by, len(shown), len(logged), missing, status, is_valid, afterwards.status)


async def _killed(job: Job, stage: Stage) -> tuple[list[str], str]:
    """The deltas that the child showed until it was dead, and the name of the signal that ended it."""
    process = await started("turnlog.infrastructure.demo.victim", job)
    try:
        shown = await _watch(process, stage)
    except BaseException:
        kill(process)
        raise
    return shown, await ended_by(process)


async def _watch(process: Process, stage: Stage) -> list[str]:
    """Kills the child in mid-stream; all deltas that it has shown."""
    stage.note(f"(a handler in a process of its own, {process.pid}, records and shows the answer)")
    shown: list[str] = []
    async for text in _shown(process):
        shown.append(text)
        stage.delta(AppendText(now(), "shown", text))
        if len(shown) == SHOWN_BEFORE_KILL:
            kill(process)
            # The loop goes on: what the child wrote before it was killed was shown too.
    stage.note(f"(kill -9 {process.pid}, after {len(shown)} deltas were seen)", style="bold red")
    return shown


async def _shown(process: Process) -> AsyncIterator[str]:
    assert process.stdout is not None  # noqa: S101 for the type checker
    while (line := await process.stdout.readline()).endswith(b"\n"):
        yield json.loads(line)


async def _logged(session: Session) -> list[str]:
    return [each.event.text async for each in session.events() if isinstance(each.event, TextDelta | ReasoningDelta)]


async def _first_step(session: Session) -> Step:
    return (await session.view()).turns[0].steps[0]


async def _show_partial(session: Session, stage: Stage) -> str:
    step = await _first_step(session)
    stage.note("What the log holds:")
    print_step(stage.screen, step)
    return step.status


async def _check_prompt(session: Session, stage: Stage) -> bool:
    prompt = await session.prompt()
    try:
        check_messages(cast("list[dict[str, Any]]", prompt))
    except RequestRefusedError as refusal:
        stage.check(False, f"the next prompt would be refused: {refusal}")
        return False
    roles = ", ".join(message["role"] for message in prompt)
    stage.check(True, f"the next prompt is valid: {roles}")
    return True
