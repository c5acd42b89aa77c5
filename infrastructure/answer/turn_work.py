"""The owner of a turn at work: ask, run the tools, ask again, until the model has no more to say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from turnlog.domain.decide_turn import NewsError
from turnlog.domain.errors import LogClosedError, SessionNotFoundError, StoreError, TurnClosedError, TurnlogError
from turnlog.domain.events import CompletionAbandoned, CompletionFailed, CompletionFinished
from turnlog.domain.finish_reasons import meaning_of
from turnlog.domain.state import Known
from turnlog.infrastructure.answer.asking import Asking, recorded
from turnlog.infrastructure.answer.continuing import can_be_continued
from turnlog.infrastructure.answer.session_io import SessionIO
from turnlog.infrastructure.answer.tool_work import ToolWork
from turnlog.infrastructure.append.failures import said
from turnlog.infrastructure.append.step_io import StepPlace
from turnlog.infrastructure.append.stream_recorder import StreamRecorder
from turnlog.infrastructure.append.turn_owner import LEFT, TurnOwner
from turnlog.infrastructure.append.writer_lease import LOG_CLOSED
from turnlog.projections.turn import Step, Turn

RETRY_SECONDS = 0.5
"""The pause before an answer that broke off is begun again, twice as long each time."""

_NOT_THE_ANSWER = (TurnClosedError, StoreError, SessionNotFoundError, LogClosedError)
"""Errors of the log, and not of the answer: whoever waits for it gets them."""


class TurnWork:
    """One run of a turn."""

    def __init__(self, io: SessionIO, asking: Asking, owner: TurnOwner) -> None:
        self._io = io
        self._asking = asking
        self._owner = owner
        self._tools = ToolWork(io, asking, owner)
        self._requests = 0
        self._breaks = 0
        self._limit = asyncio.timeout(asking.seconds)
        self.is_closing = False
        """Whether the log is being closed."""

    async def run(self) -> None:
        """Works until the turn has ended, or waits for somebody, and says so in the log. Raises TurnClosedError when
        somebody else has ended the run, and StoreError."""
        try:
            with self._owner:
                await self._within_limit()
        except TurnClosedError:
            self._owner.let_go()
            raise
        except BaseException as error:
            # Whatever it is: nobody else could go on with a turn that stays in hand.
            reason = said(error) if isinstance(error, Exception) else LOG_CLOSED if self.is_closing else LEFT
            with suppress(TurnlogError):
                await self._owner.end("abandoned", reason)
            raise

    async def _within_limit(self) -> None:
        try:
            async with self._limit:
                await self._work()
        except _NOT_THE_ANSWER:
            raise
        except Exception as error:  # noqa: BLE001 such as a prompt that is too long
            await self._owner.end("failed", self._too_late() if self._limit.expired() else said(error))

    async def _work(self) -> None:
        goes_on = True
        while goes_on and (turn := await self._settled()) is not None:
            if self._requests == self._asking.max_steps:
                await self._owner.end("failed", f"no end after {self._requests} requests")
                return
            recorder = await self._ask(turn)
            goes_on = recorder is None or await self._goes_on(recorder)

    # Between two requests

    async def _settled(self) -> Turn | None:
        """The turn, once the model can be asked: its calls have results, or somebody has said something meanwhile.
        None if it has ended, because a call has to be waited for, or because an owner who died had all but ended it."""
        while True:
            turns, _ = await self._turns()
            if await self._tools.settle(turns):
                continue
            known = self._known()
            _, turn = await self._turns()
            if self._is_to_be_asked(turn, known.unread):
                return turn
            if await self._end_if(known):
                return None

    def _is_to_be_asked(self, turn: Turn, unread: int) -> bool:
        last = turn.steps[-1] if turn.steps else None
        if last is None:
            return unread > 0 or turn.news_after(0)
        if turn.news_after(last.position):
            return True
        return not self._tools.waits(last) and (unread > 0 or not _is_last_word(last))

    async def _end_if(self, known: Known) -> bool:
        """Ends the run, unless something has come that the model has to see."""
        state = self._io.state
        waits = state is not None and state.is_waiting
        try:
            await self._owner.end_if(known, "waiting" if waits else "finished")
        except NewsError:
            return False
        return True

    async def _turns(self) -> tuple[tuple[Turn, ...], Turn]:
        """The turns with calls that may be due, and the one in hand."""
        projector = await self._io.known_turns()
        turns = projector.turns()
        turn = next((turn for turn in reversed(turns) if turn.is_in_hand), None)
        if turn is None or turn.runs[-1].run != self._owner.run:
            raise TurnClosedError(self._owner.turn_id, "was ended by somebody else")
        if not self._tools.has_seen(turn) and not projector.holds_whole(turn.index):
            self._tools.see((await self._io.all_turns()).turns()[turn.index])
        self._tools.see(turn)
        state = self._io.state
        if state is None or not state.awaited.allowed:
            return (turn,), turn
        # Somebody has allowed a call, perhaps one of an earlier turn.
        allowed = {call.step_id for call in state.awaited.in_order() if call.is_allowed}
        turns = (await self._io.all_turns()).turns()
        return tuple(one for one in turns if one.index == turn.index or _made(one, allowed)), turn

    def _known(self) -> Known:
        state = self._io.state
        return Known() if state is None else state.known

    def _has_calls(self, recorder: StreamRecorder[Any]) -> bool:
        state = self._io.state
        return state is not None and bool(state.awaited.unanswered.get(recorder.step.step_id))

    # One request

    async def _ask(self, turn: Turn) -> StreamRecorder[Any] | None:
        """Asks once. None if something has come before it could be asked: then nothing was."""
        known = self._known()
        last = turn.steps[-1] if turn.steps else None
        continues = last is not None and self._asking.on_break == "continue" and can_be_continued(last)
        prompt = await self._io.prompt(await self._io.known_turns(), continues)
        place = StepPlace(self._owner.run, known, continues)
        recorder = self._io.recorder(self._asking.request(prompt, continues=continues), self._asking.model, place)
        try:
            await recorded(recorder, self._cause)
        except NewsError:
            return None
        self._requests += 1
        return recorder

    async def _goes_on(self, recorder: StreamRecorder[Any]) -> bool:
        """Whether the model has to be asked again after this answer. Else it ends the run."""
        match recorder.end:
            case CompletionFinished(finish_reason=reason):
                self._breaks = 0
                return meaning_of(reason) == "paused" or self._has_calls(recorder) or not await self._ends(recorder)
            case CompletionFailed(error=error):
                if await self._tries_again(recorder):
                    return True
                await self._owner.end("failed", error)
            case CompletionAbandoned(reason=reason):
                await self._owner.end("abandoned", reason)
            case _:
                raise TurnClosedError(self._owner.turn_id, "was ended by somebody else")
        return False

    async def _ends(self, recorder: StreamRecorder[Any]) -> bool:
        """Ends the run behind the answer that was recorded, unless something has come."""
        return await self._end_if(Known(0, recorder.step.step_id, "finished", 0))

    async def _tries_again(self, recorder: StreamRecorder[Any]) -> bool:
        """Whether an answer that broke off is asked for again, after a pause. What a provider refuses before its
        stream, its client has tried again already."""
        self._breaks += 1
        if not recorder.has_begun_to_read or self._asking.on_break == "end" or self._breaks >= self._asking.attempts:
            return False
        await asyncio.sleep(RETRY_SECONDS * 2 ** (self._breaks - 1))
        return True

    def _cause(self, error: BaseException) -> tuple[BaseException, str | None]:
        """The error, and the reason, with which a step ends that is cancelled here."""
        if self.is_closing:
            return error, LOG_CLOSED
        ends_at = self._limit.when()
        if ends_at is not None and asyncio.get_running_loop().time() >= ends_at:
            return TimeoutError(self._too_late()), None
        return error, LEFT

    def _too_late(self) -> str:
        return f"not answered within {self._asking.seconds or 0:g} seconds"


def _is_last_word(step: Step) -> bool:
    return step.status == "finished" and not step.is_paused and all(call.cut_off for call in step.message.tool_calls)


def _made(turn: Turn, step_ids: set[str]) -> bool:
    return any(step.step_id in step_ids for step in turn.steps)
