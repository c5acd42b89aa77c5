"""The owner of a turn at work: ask, run the tools, ask again, until the model has no more to say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, NamedTuple

from turnlog.domain.decide_turn import NewsError
from turnlog.domain.errors import TurnClosedError, TurnlogError
from turnlog.domain.events import CompletionFailed, CompletionFinished, CompletionInterrupted, TurnEnd
from turnlog.infrastructure.answer.asking import Asking, recorded
from turnlog.infrastructure.answer.continuing import can_be_continued
from turnlog.infrastructure.answer.session_io import SessionIO
from turnlog.infrastructure.answer.tool_work import ToolWork
from turnlog.infrastructure.append.failures import said
from turnlog.infrastructure.append.provider_stream import CLIENT_CLOSED
from turnlog.infrastructure.append.step_io import StepPlace
from turnlog.infrastructure.append.stream_recorder import StreamRecorder
from turnlog.infrastructure.append.turn_owner import LEFT, TurnOwner
from turnlog.infrastructure.append.writer_lease import LOG_CLOSED
from turnlog.projections.turn import Step, Turn

RETRY_SECONDS = 0.5
"""The pause before an answer that broke off is begun again, twice as long each time."""


class Ended(NamedTuple):
    """How a run ends."""

    status: TurnEnd
    reason: str = ""
    only_if_done: bool = False


class TurnWork:
    """One run of a turn."""

    def __init__(self, io: SessionIO, asking: Asking, owner: TurnOwner) -> None:
        self._io = io
        self._asking = asking
        self._owner = owner
        self._tools = ToolWork(io, asking, owner)
        self._attempts = 1
        self.is_closing = False
        """Whether the log is being closed."""

    async def run(self) -> None:
        """Works until the turn has ended, or waits for somebody, and says so in the log. Raises TurnClosedError when
        somebody else has ended the run, and StoreError."""
        try:
            with self._owner:
                await self._run()
        except TurnClosedError:
            self._owner.let_go()
            raise
        except asyncio.CancelledError:
            with suppress(TurnlogError):
                await self._owner.end("abandoned", self._reason() or LEFT)
            raise

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(self._asking.seconds) as limit:
                ended = await self._work()
        except TimeoutError:
            if not limit.expired():
                raise
            ended = Ended("failed", f"not answered within {self._asking.seconds:g} seconds")
        except TurnlogError:
            raise
        except Exception as error:  # noqa: BLE001 such as one of the caller's client, before it makes a stream
            ended = Ended("failed", said(error))
        if ended is not None:
            await self._owner.end(ended.status, ended.reason)

    async def _work(self) -> Ended | None:
        for _ in range(self._asking.max_steps):
            turns, turn = await self._turns()
            if not await self._tools.settle(turns):
                return Ended("waiting")
            ended = await self._ask(turn.steps[-1] if turn.steps else None)
            if ended is not None and (not ended.only_if_done or await self._is_done(ended)):
                return None if ended.only_if_done else ended
        return Ended("failed", f"no end after {self._asking.max_steps} requests")

    async def _is_done(self, ended: Ended) -> bool:
        """Ends the turn, unless something has come that the model has to see."""
        state = self._io.state
        waits = state is not None and state.awaited.waiting > 0
        try:
            await self._owner.end("waiting" if waits else ended.status, only_if_done=True)
        except NewsError:
            return False
        return True

    async def _turns(self) -> tuple[tuple[Turn, ...], Turn]:
        """The turns with calls that may be due, and the one in hand."""
        projector = await self._io.last_turns()
        turns = projector.turns()
        turn = next((turn for turn in reversed(turns) if turn.is_in_hand), None)
        if turn is None or turn.runs[-1].run != self._owner.run:
            raise TurnClosedError(self._owner.turn_id, "was ended by somebody else")
        state = self._io.state
        if state is not None and state.awaited.allowed:
            # Somebody has allowed a call, perhaps one of an earlier turn.
            turns = (await self._io.all_turns()).turns()
            allowed = {call.step_id for call in state.awaited.in_order() if call.approval == "approved"}
            return tuple(one for one in turns if one.turn_id == turn.turn_id or _made(one, allowed)), turn
        return (turn,), turn

    async def _ask(self, last: Step | None) -> Ended | None:
        """Asks once. None: ask again."""
        state = self._io.state
        news = 0 if state is None else state.news
        continues = last is not None and self._asking.on_break == "continue" and can_be_continued(last)
        messages = await self._io.prompt(continues)
        place = StepPlace(self._owner.run, news, continues)
        recorder = self._io.recorder(self._asking.request(messages, continues=continues), self._asking.model, place)
        try:
            await recorded(recorder, self._reason)
        except NewsError:
            return None
        return await self._after(recorder)

    async def _after(self, recorder: StreamRecorder[Any]) -> Ended | None:
        end, state = recorder.end, self._io.state
        match end:
            case CompletionFinished():
                has_calls = state is not None and state.awaited.unanswered.get(recorder.step.step_id)
                self._attempts = 1
                return None if has_calls else Ended("finished", only_if_done=True)
            case CompletionFailed(error=error):
                return await self._failed(recorder, error)
            case CompletionInterrupted(reason=reason):
                return Ended("abandoned" if reason in (CLIENT_CLOSED, LOG_CLOSED) else "stopped", reason)
            case _:
                raise TurnClosedError(self._owner.turn_id, "was ended by somebody else")

    async def _failed(self, recorder: StreamRecorder[Any], error: str) -> Ended | None:
        if self._asking.is_client_closed:
            return Ended("abandoned", CLIENT_CLOSED)
        # What a provider refuses before its stream, its client has tried again already.
        is_broken = recorder.has_begun_to_read and self._asking.on_break != "end"
        if not is_broken or self._attempts >= self._asking.attempts:
            return Ended("failed", error)
        await asyncio.sleep(RETRY_SECONDS * 2 ** (self._attempts - 1))
        self._attempts += 1
        return None

    def _reason(self) -> str | None:
        """Why a step is interrupted that this process stops."""
        if self.is_closing:
            return LOG_CLOSED
        limit = self._asking.seconds
        return LEFT if limit is None else f"not answered within {limit:g} seconds"


def _made(turn: Turn, step_ids: set[str]) -> bool:
    return any(step.step_id in step_ids for step in turn.steps)
