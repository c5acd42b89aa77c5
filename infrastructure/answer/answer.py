"""An answer: what `Session.answer` gives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

from turnlog.domain.commands import AddMessage
from turnlog.domain.errors import (
    InvalidInputError,
    LogClosedError,
    SessionNotFoundError,
    StoreUnavailableError,
    TurnClosedError,
    TurnInProgressError,
    UnknownPositionError,
)
from turnlog.domain.events import CompletionEnded, SessionDeleted, TurnEnded
from turnlog.domain.turns import next_turn
from turnlog.infrastructure.answer.asking import Asking, OnBusy
from turnlog.infrastructure.answer.outcome import AnswerOutcome
from turnlog.infrastructure.answer.session_io import SessionIO, turn_of_message
from turnlog.infrastructure.answer.turn_work import TurnWork
from turnlog.infrastructure.answer.waiting import Waiting
from turnlog.infrastructure.append.turn_owner import TurnOwner
from turnlog.infrastructure.append.writer_lease import LOG_CLOSED
from turnlog.infrastructure.follow.live import Deltas
from turnlog.infrastructure.tasks import cancel_and_wait, spawned, started
from turnlog.projections.deltas import Delta, MessageCame
from turnlog.projections.projector import Projector
from turnlog.projections.turn import Turn

logger = logging.getLogger("turnlog")

STOPPED_FOR_NEW = "the user sent another message"
LOOKS = 3
"""How often a turn is looked at again that nobody can begin."""


class Answer:
    """An answer that is being given, in a task of its own: it goes on when nobody waits for it.

    Await it for its AnswerOutcome; iterate over it for the deltas after the message, each durable, until the turn ends;
    or leave it. Awaiting raises TurnInProgressError with `on_busy="refuse"`, TurnClosedError without a message if there
    is nothing to answer, OwnTurnError for the caller on whose turn it waits, LogClosedError when the log is closed, and
    StoreError. What goes wrong with the provider or with tools is in the outcome and in the log.
    """

    def __init__(
        self, io: SessionIO, asking: Asking, message: AddMessage | None, on_busy: OnBusy, answers: set[Answer]
    ) -> None:
        self._io = io
        self._asking = asking
        self._message = message
        self._on_busy = on_busy
        self._answers = answers
        self._work: TurnWork | None = None
        self._is_closing = self._is_awaited = False
        self._runs: set[str] = set()
        self._refusal: TurnInProgressError | None = None
        self._waiting = Waiting()
        self._start = 0
        self.is_new = False
        """Whether the message was new. Known once it has begun."""
        self.turn_id: str | None = None
        """The turn that answers the message, once there is one."""
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._seen: Projector | None = None  # the turns as they were when they were looked at last
        self._outcome: asyncio.Future[AnswerOutcome] = asyncio.get_running_loop().create_future()
        self._task = spawned(self._run(), "an answer")
        answers.add(self)
        self._task.add_done_callback(lambda _: answers.discard(self))

    @property
    def message_id(self) -> str | None:
        """The id of the message that is answered; None where none was given."""
        return None if self._message is None else self._message.message_id

    def __await__(self) -> Generator[Any, Any, AnswerOutcome]:
        self._io.home.check()
        self._is_awaited = True
        return self._waiting.until(self._outcome).__await__()

    async def begun(self) -> Answer:
        """Waits until the message is durable, and returns the answer. Raises what awaiting it raises."""
        self._io.home.check()
        self._is_awaited = True
        await self._waiting.until(self._begun)
        return self

    async def __aiter__(self) -> AsyncIterator[Delta]:
        await self.begun()
        async with (
            self._waiting.task(self._outcome) as outcome,
            aclosing(deltas_until(self._io.deltas(self._start), outcome, self._start)) as deltas,
        ):
            is_after = not self.is_new
            async for delta in deltas:
                if is_after:
                    yield delta
                is_after = is_after or (isinstance(delta, MessageCame) and delta.message_id == self.message_id)

    async def close(self) -> None:
        """Ends the answer because the log is closed."""
        self._is_closing = True
        if self._work is not None:
            self._work.is_closing = True
        self._task.cancel()
        await asyncio.wait([self._task])

    # The task

    async def _run(self) -> None:
        try:
            await self._io.check()
            turn, position = await self._answered()
            outcome = AnswerOutcome.of(self._io.aggregate.session_id, turn, position, self.message_id, self.is_new)
            self._settle(outcome)
            await self._go_on_with_queue()
        except asyncio.CancelledError:
            self._fail(LogClosedError(LOG_CLOSED) if self._is_closing else asyncio.CancelledError())
            raise
        except BaseException as error:  # noqa: BLE001 whoever awaits it gets it, whatever a tool has raised
            self._fail(error)

    def _settle(self, outcome: AnswerOutcome) -> None:
        self._begin(outcome.turn_id)
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def _fail(self, error: BaseException) -> None:
        if self._outcome.done():
            if not isinstance(error, asyncio.CancelledError | LogClosedError | TurnClosedError | TurnInProgressError):
                logger.warning("a queued message was not answered: %s", error)
            return
        for future in (self._begun, self._outcome):
            if not future.done():
                future.set_exception(error)
                future.exception()  # marks it as seen
        if not self._is_awaited and isinstance(error, Exception) and not self._is_closing:
            logger.warning("an answer that nobody waits for has failed: %s", error)

    def _begin(self, turn_id: str | None) -> None:
        self.turn_id = turn_id or self.turn_id
        if not self._begun.done():
            self._begun.set_result(None)

    async def _answered(self) -> tuple[Turn, int]:
        """The turn, when nothing more is to be done for it here, and the position of the session."""
        await self._io.aggregate.ready()
        self._start = self._io.aggregate.stored_version  # what is still under way may not be stored
        if self._message is not None:
            await self._say(self._message)
        retries, looks = not self.is_new, 0
        while True:
            turn, position = await self._found()
            if turn is not None and self._is_over(turn, retries):
                return await self._whole(turn), position
            retries = False
            try:
                await self._own(None if turn is None or not turn.runs else turn.turn_id)
                looks = 0
            except TurnInProgressError as busy:
                self.turn_id = self.turn_id or (busy.turn_id if self._message is None else None)
                await self._wait(busy, position)
            except TurnClosedError:
                looks += 1
                if looks > LOOKS:
                    if turn is None:
                        raise
                    return turn, position

    def _is_over(self, turn: Turn, retries: bool) -> bool:
        """Whether nothing more is to be done here. A retry goes on with what has failed, and so does a message that
        came when it was failing, and that no request had."""
        status = turn.status
        if turn.runs and turn.runs[-1].run in self._runs:
            return status not in ("queued", "answering", "running_tools")
        if status in ("open", "queued", "answering", "running_tools", "abandoned"):
            return False
        return status != "failed" or not (retries or self._is_unheard(turn))

    def _is_unheard(self, turn: Turn) -> bool:
        last = turn.steps[-1].position if turn.steps else 0
        mine = (one for one in turn.messages if self._message and one.message_id == self._message.message_id)
        return any(message.position > last for message in mine)

    async def _found(self) -> tuple[Turn | None, int]:
        """The turn that is answered, as it is now, and the position of the session."""
        projector = self._seen = await self._io.last_turns()
        turn = self._in(projector.turns())
        if turn is None and self._message is not None:
            projector = self._seen = await self._io.all_turns()
            turn = self._in(projector.turns())
        if not projector.exists:
            raise SessionNotFoundError(self._io.aggregate.session_id)
        if self._message is not None:
            if turn is None and self.is_new:
                raise StoreUnavailableError("the message is gone: the log went back")
            if turn is None:
                raise self._refusal or InvalidInputError("message_id", "is the id of an answer, and not of a message")
            if not self.is_new:
                self._start = next(one.position for one in turn.messages if one.message_id == self._message.message_id)
        elif not self._runs:
            self._start = projector.version
        if turn is not None:
            self._begin(turn.turn_id)
        return turn, projector.version

    async def _whole(self, turn: Turn) -> Turn:
        """The turn that was found, with all of its steps."""
        if self._seen is None or self._seen.holds_whole(turn.index):
            return turn
        return (await self._io.all_turns()).turns()[turn.index]

    def _in(self, turns: tuple[Turn, ...]) -> Turn | None:
        if self._message is not None:
            return turn_of_message(turns, self._message.message_id)
        return next((turn for turn in reversed(turns) if turn.turn_id == self.turn_id), None) if self.turn_id else None

    async def _say(self, message: AddMessage) -> None:
        """Adds the message, and begins its turn with it if nothing is in the way. Where the message is not to come
        while a turn is in hand, it is refused; unless it is known, which the turns will tell."""
        owner, on_busy = self._io.owner(), self._on_busy
        stops = STOPPED_FOR_NEW if on_busy == "stop" else None
        message = replace(message, queue=on_busy == "queue", stops=stops, joins=on_busy != "refuse")
        try:
            self.is_new = await owner.begin(message=message) > 0
        except TurnInProgressError as refusal:
            self._refusal = refusal
        if owner.is_held:
            self._begin(owner.turn_id if owner.turn_id == message.message_id else None)
            await self._run_owner(owner)

    async def _own(self, turn_id: str | None) -> None:
        """Takes the turn in hand, or the one whose turn it is, and works on it as long as there is something to do."""
        owner = self._io.owner()
        await owner.begin(turn_id)
        if self._message is None:
            self._begin(owner.turn_id)
        await self._run_owner(owner)

    async def _run_owner(self, owner: TurnOwner) -> None:
        self._runs.add(owner.run)
        self._work = TurnWork(self._io, self._asking, owner)
        self._work.is_closing = self._is_closing
        try:
            await self._work.run()
        except TurnClosedError as error:  # the turn says how it has ended
            logger.debug("turn %s: %s", owner.turn_id, error)
        finally:
            self._work = None

    async def _wait(self, busy: TurnInProgressError, position: int) -> None:
        """Waits until the turn or the step in the way has ended, or until its owner's lease may have run out."""
        ends = (TurnEnded, SessionDeleted) if busy.turn_id is not None else (CompletionEnded, SessionDeleted)
        following = self._io.follow(position)
        try:
            # Where the log went back meanwhile, something else is in the way.
            with self._waiting.on(busy), suppress(TimeoutError, UnknownPositionError):
                async with asyncio.timeout(self._io.lease_seconds / 3):
                    async for recorded in following:
                        if isinstance(recorded.event, ends):
                            return
        finally:
            await following.aclose()

    async def _go_on_with_queue(self) -> None:
        """Answers the messages that were queued behind the turn: whoever sent them may be gone."""
        done = set[str]()
        while (state := self._io.state) is not None and state.queue and state.in_hand is None:
            turn_id = next_turn(state)
            if turn_id is None or turn_id in done:
                return
            done.add(turn_id)
            with suppress(TurnInProgressError, TurnClosedError):
                await self._own(None)


async def deltas_until(deltas: Deltas, outcome: asyncio.Future[AnswerOutcome], position: int) -> AsyncGenerator[Delta]:
    """The deltas up to the end of the turn. Raises what the outcome raises."""
    coming: asyncio.Task[Delta] | None = None
    try:
        while not outcome.done() or outcome.result().end > position:
            if coming is None and not deltas.is_ready:  # of the deltas of a commit only the first is waited for
                coming = started(_next(deltas))
            if coming is not None:
                waited_for: list[asyncio.Future[Any]] = [coming] if outcome.done() else [coming, outcome]
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    continue
            try:
                delta, coming = await (coming or anext(deltas)), None
            except StopAsyncIteration:
                return
            position = delta.position
            yield delta
    finally:
        await cancel_and_wait(coming)
        await deltas.aclose()


async def _next(deltas: Deltas) -> Delta:
    return await anext(deltas)


async def close_answers(answers: set[Answer]) -> None:
    """Ends the answers that still run when a log is closed."""
    await asyncio.gather(*(answer.close() for answer in list(answers)))
