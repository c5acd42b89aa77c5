"""The third part: a process is killed while its tool runs, and another one goes on with the turn."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.step_appends import AppendText, AppendToolCall
from turnlog.infrastructure.demo.child import Job, ended_by, kill, started
from turnlog.infrastructure.demo.client import Answerer
from turnlog.infrastructure.demo.scene import Scene
from turnlog.infrastructure.demo.stage import Stage
from turnlog.infrastructure.demo.worker import SLOW_TOOL
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings
from turnlog.projections.turn import Turn

LEASE_SECONDS = 1.0
"""The lease of the process that is killed, which the other one has to wait for."""
_WORKER = "turnlog.infrastructure.demo.worker"


@dataclass(frozen=True, slots=True)
class KilledTurn:
    """What became of the turn. `runs` are the starts of each tool, `requests` those that the provider was paid for, and
    `steps` the answers that the log has."""

    signal: str
    status_after_kill: str
    status_afterwards: str
    runs: dict[str, int]
    requests: int
    steps: int

    @property
    def is_survived(self) -> bool:
        """Whether the turn was finished, and nothing was asked for twice."""
        return self.status_afterwards == "finished" and self.requests == self.steps

    def as_json(self) -> dict[str, Any]:
        """The facts."""
        return asdict(self) | {"survived": self.is_survived}


async def killed_turn(
    session: Session, settings: Settings, scene: Scene, answerer: Answerer, stage: Stage
) -> KilledTurn:
    """Lets a child process answer, kills it while its tool runs, and lets another one go on."""
    paid = answerer.paid() if answerer.paid is not None else 0
    await session.add_message("system", scene.system)
    await session.say(scene.with_tools.user)
    answerer.script(scene.with_tools)
    brief = settings.model_copy(update={"lease_seconds": LEASE_SECONDS})
    job = Job(settings=brief, session_id=str(session.id), model=answerer.model, base_url=answerer.base_url, hangs=True)
    show = _Show(session, stage)
    ended = await _killed(job, show, stage)
    after_kill = (await _turn(session)).status
    if ended == "SIGKILL":
        is_known = after_kill == "running_tools"
        stage.check(is_known, f"the turn is {after_kill}: the log has its calls, and says which tool had begun")
        await _gone_on_with(job, show, stage)
    turn = await _turn(session)
    steps = len(turn.steps)
    requests = steps if answerer.paid is None else answerer.paid() - paid
    outcome = KilledTurn(ended, after_kill, turn.status, dict(show.runs), requests, steps)
    runs = ", ".join(f"{name} {count}x" for name, count in sorted(outcome.runs.items())) or "none"
    stage.check(
        outcome.is_survived,
        f"the turn is {turn.status}, with {requests} requests, as without the kill; tools ran: {runs}",
    )
    return outcome


async def _killed(job: Job, show: _Show, stage: Stage) -> str:
    """Kills the process that answers; the name of the signal that ended it."""
    process = await started(_WORKER, job)
    stage.note(f"(a process of its own, {process.pid}, answers; {SLOW_TOOL} takes its time)")
    try:
        await show.until_the_slow_tool_runs(process)
    finally:
        kill(process)
    ended = await ended_by(process)
    if ended == "SIGKILL":
        stage.note(f"(kill -9 {process.pid}, while {SLOW_TOOL} runs)", style="bold red")
    else:
        stage.note("(the model called no tool that takes its time: there was nothing to kill)")
    return ended


async def _gone_on_with(job: Job, show: _Show, stage: Stage) -> None:
    process = await started(_WORKER, job.model_copy(update={"hangs": False}))
    stage.note(
        f"(another process, {process.pid}, waits for the lease of the dead one, {LEASE_SECONDS:.0f} s, and goes on)"
    )
    try:
        await show.to_the_end(process)
    except BaseException:
        kill(process)
        raise


async def _turn(session: Session) -> Turn:
    return (await session.view()).turns[-1]


class _Show:
    """Shows a session as it grows, and counts the runs of tools."""

    def __init__(self, session: Session, stage: Stage) -> None:
        self.runs = Counter[str]()
        self._session = session
        self._stage = stage
        self._position = 0
        self._names: dict[tuple[str, int], str] = {}
        self._results = set[str]()

    async def until_the_slow_tool_runs(self, process: Process) -> None:
        """Until it runs and the other tools have their results, or until the process has ended."""
        await self._follow(process, lambda: bool(self.runs[SLOW_TOOL]) and len(self._results) == len(self._names) - 1)

    async def to_the_end(self, process: Process) -> None:
        """Until the process has ended, and all that is in the log was shown."""
        await self._follow(process, lambda: False)
        async for recorded in self._session.events(after=self._position):
            self._show(recorded)
        self._stage.pause()

    async def _follow(self, process: Process, is_enough: Callable[[], bool]) -> None:
        ended = asyncio.create_task(process.wait())
        following = self._session.follow(self._position)
        coming: asyncio.Task[RecordedEvent] | None = None
        try:
            while not is_enough():
                coming = asyncio.ensure_future(anext(following))
                await asyncio.wait([coming, ended], return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    return
                self._show(coming.result())
        finally:
            ended.cancel()
            if coming is not None:
                coming.cancel()
            await following.aclose()

    def _show(self, recorded: RecordedEvent) -> None:
        self._position = recorded.position
        match recorded.event:
            case e.MessageAdded(role="user", content=str(content)):
                self._stage.user(content)
            case e.ToolCallStarted(at=at, step_id=step_id, index=index, id=call_id, name=name):
                self._names[step_id, index] = name
                self._stage.delta(AppendToolCall(at, step_id, index, call_id, name))
            case e.ToolCallArgumentsDelta(at=at, step_id=step_id, index=index, arguments=arguments):
                self._stage.delta(AppendToolCall(at, step_id, index, arguments=arguments))
            case e.ToolStarted(step_id=step_id, index=index):
                name = self._names[step_id, index]
                self.runs[name] += 1
                self._stage.note(f"  ● {name} begins" + (", again" if self.runs[name] > 1 else ""))
            case e.ToolResultAdded(step_id=step_id, index=index, status=status, content=content):
                name = self._names[step_id, index]
                self._results.add(name)
                self._stage.result(name, status, str(content))
            case e.TextDelta(at=at, step_id=step_id, text=text):
                self._stage.delta(AppendText(at, step_id, text))
            case _:
                pass
