"""turnlog itself: `session.answer`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import ClassVar
from uuid import UUID

from benchmarks.loops.loop import Loop
from benchmarks.loops.tools import TOOLS
from benchmarks.ours import USER, settings_of
from turnlog.infrastructure.log import SessionLog
from turnlog.projections.deltas import TextFragment


class TurnlogLoop(Loop):
    """The answer is awaited: clients follow the session elsewhere."""

    name = "turnlog, answer() awaited"
    per_delta = "its event, in one transaction with what all other sessions have waiting"
    per_message = "the same, and who answers the turn, and that a tool begins"
    is_peer: ClassVar[bool] = False
    saves_deltas = True

    async def start(self) -> None:
        self._stack = AsyncExitStack()
        self._log = await self._stack.enter_async_context(SessionLog.open(settings_of(self.url, self.ground)))

    async def stop(self) -> None:
        await self._stack.aclose()
        await super().stop()

    async def create(self, conversations: Sequence[UUID]) -> None:
        await asyncio.gather(*(self._log.start_session(USER, session_id=each) for each in conversations))

    async def answer(self, conversation: UUID, question: str, model: str) -> str:
        session = self._log.session(conversation, USER)
        outcome = await session.answer(self.client, model=model, message=question, tools=list(TOOLS.values()))
        return outcome.text or ""

    async def last_answer(self, conversation: UUID) -> str:
        return str((await self._log.session(conversation, USER).view()).messages[-1]["content"])


class TurnlogShownLoop(TurnlogLoop):
    """Its caller shows each delta, once it is durable."""

    name = "turnlog, answer() iterated"
    per_delta = "the same; a delta is shown once it is durable"
    per_message = "the same"

    async def answer(self, conversation: UUID, question: str, model: str) -> str:
        session = self._log.session(conversation, USER)
        answer = session.answer(self.client, model=model, message=question, tools=list(TOOLS.values()))
        return "".join([delta.text async for delta in answer if isinstance(delta, TextFragment)])
