"""A turn that a handler with a loop of its own holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from turnlog.domain.errors import StepClosedError, TurnClosedError
from turnlog.domain.inputs import check_kind, checked_id
from turnlog.infrastructure.append.turn_owner import TurnOwner
from turnlog.projections.turn import OpenToolCall


class HeldTurn:
    """The owner of a turn, for as long as the `async with` block runs.

    Entering raises TurnInProgressError while a turn or a step is in somebody else's hand, and TurnClosedError if
    `turn_id` is not the turn to be answered now. Leaving ends the turn: as `waiting` if a call waits for a result or a
    decision, else as `finished`; as `failed` after an exception, or if its last answer has failed; as `abandoned`, so
    that anybody can go on, when the task was cancelled. When somebody else ends the turn, as by `Session.cancel`, the
    task is cancelled within about a second, and the block raises TurnClosedError.
    """

    def __init__(
        self, owner: TurnOwner, authorise: Callable[[], Awaitable[None]], turn_id: str | None, takeover: bool
    ) -> None:
        self._owner = owner
        self._authorise = authorise
        self._wanted = None if turn_id is None else checked_id(turn_id, "turn_id")
        check_kind(takeover, bool, "takeover")
        self._takeover = takeover

    @property
    def turn_id(self) -> str:
        """The id of the turn: that of the message that it answers."""
        return self._owner.turn_id

    @property
    def has_news(self) -> bool:
        """Whether a message of the user, or a result, has come that no request has had yet."""
        return self._owner.has_news

    async def start_tool(self, call: OpenToolCall) -> None:
        """Notes that the tool of this call begins to run, so that after a crash it is known that it may have had
        effects. Raises TurnClosedError."""
        await self._owner.start_tool(call.step_id, call)

    async def __aenter__(self) -> Self:
        await self._authorise()
        await self._owner.begin(self._wanted, takeover=self._takeover, anyway=True)
        if not self._owner.is_held:
            raise TurnClosedError(self.turn_id, "has been held already: call session.turn() for each block")
        self._owner.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._owner.__exit__(kind, error, traceback)
        finally:
            if self._owner.is_lost or isinstance(error, TurnClosedError):
                self._owner.let_go()
            else:
                with suppress(TurnClosedError, StepClosedError):
                    await self._owner.end(*self._owner.end_of(error))
