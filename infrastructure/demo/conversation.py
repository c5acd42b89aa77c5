"""The first part, and the loop of every handler: ask the model, run its tools, and ask again until it calls none."""

from __future__ import annotations

from turnlog.infrastructure.demo.client import Answerer
from turnlog.infrastructure.demo.meter import Meter
from turnlog.infrastructure.demo.scene import Scene
from turnlog.infrastructure.demo.script import Turn
from turnlog.infrastructure.demo.stage import Stage
from turnlog.infrastructure.demo.tools import Tools, running_calls
from turnlog.infrastructure.session import Session

MAX_STEPS = 10
"""Steps of one turn, after which a live model that keeps calling tools is stopped."""


class Player:
    """Plays turns into sessions."""

    def __init__(self, answerer: Answerer, meter: Meter, stage: Stage) -> None:
        self.answerer = answerer
        self._meter = meter
        self._stage = stage
        self._tools = Tools()

    async def play(self, session: Session, scene: Scene) -> None:
        """The whole conversation."""
        await session.add_message("system", scene.system)
        for turn in scene.turns:
            await self.finish_running(session)
            await self.turn(session, turn)

    async def turn(self, session: Session, turn: Turn) -> None:
        """What the user says, and all steps that answer it."""
        self._stage.user(turn.user)
        await session.say(turn.user)
        self.answerer.script(turn)
        for _ in range(MAX_STEPS):
            await self._step(session)
            if not await self._run_calls(session):
                break

    async def _step(self, session: Session) -> None:
        stream = await self.answerer.ask(await session.prompt())
        async for delta in self._meter.watch(session, stream):
            self._stage.delta(delta)
        self._stage.pause()

    async def _run_calls(self, session: Session) -> bool:
        calls = (await session.view()).pending_tool_calls
        for call in calls:
            result = self._tools.run(call)
            await session.add_tool_result(call.id, result.content, result.status)
            self._stage.result(call.name, result.status, result.content)
        return bool(calls)

    async def finish_running(self, session: Session) -> None:
        """Adds the final results of the tools that have been running since an earlier turn."""
        for call in running_calls(await session.view()):
            result = self._tools.finish(call)
            self._stage.note("(some minutes later)")
            await session.add_tool_result(call.id, result.content, result.status)
            self._stage.result(call.name, result.status, result.content)
