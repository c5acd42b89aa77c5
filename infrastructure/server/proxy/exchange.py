"""One request to a provider and its answer, on their way through, while they are recorded.

It is a task of the proxy's and not of the request's: a client that goes away has its answer recorded to the end.
"""

from __future__ import annotations

import logging

import httpx

from turnlog.domain.decide import MessageTakenError
from turnlog.domain.errors import (
    SessionNotFoundError,
    ToolResultError,
    TurnClosedError,
    TurnInProgressError,
    TurnlogError,
)
from turnlog.infrastructure.append.exchanged import Sent
from turnlog.infrastructure.server.proxy.answer import Answer, StoppedError, UpstreamRefusedError
from turnlog.infrastructure.server.proxy.apis import error_event
from turnlog.infrastructure.server.proxy.asked import AskedOfProvider
from turnlog.infrastructure.server.proxy.counts import ProxyCounts
from turnlog.infrastructure.server.proxy.keeping import keep
from turnlog.infrastructure.server.proxy.placing import Place, Placing
from turnlog.infrastructure.server.proxy.proxy_settings import Unrecorded
from turnlog.infrastructure.session import Session

logger = logging.getLogger("turnlog")

LOST = "the log does not record this answer any more"


class Exchange:
    """A request that is to be recorded. `counts` are told what becomes of it."""

    def __init__(self, answer: Answer, asked: AskedOfProvider, placing: Placing, counts: ProxyCounts) -> None:
        self.answer = answer
        self._asked = asked
        self._placing = placing
        self._counts = counts

    async def run(self, unrecorded: Unrecorded) -> None:
        """Carries it out. Raises nothing: what goes wrong is for the client, for the log, or for both."""
        try:
            await self._recorded()
            self._counts.recorded += 1
        except SessionNotFoundError as error:  # the client has named it
            self._counts.refused += 1
            self.answer.end(error)
        except TurnlogError as error:
            await self._lost(error, unrecorded)
        except Exception as error:
            logger.exception("a request through the proxy has failed")
            self.answer.end(error)
        finally:
            await self.answer.close()

    async def _recorded(self) -> None:
        place = await self._placing.find()
        try:
            await self._record(place)
        except (TurnInProgressError, TurnClosedError, SessionNotFoundError):
            if self.answer.is_asked:
                raise
            await self._record(await self._placing.apart(place))

    async def _record(self, place: Place) -> None:
        sent = self._asked.sent(place.known)
        try:
            await self._record_in(place, sent)
        except (ToolResultError, MessageTakenError):  # results of calls that were made elsewhere, say
            if self.answer.is_asked:
                raise
            await self._record_in(place, sent.verbatim())

    async def _record_in(self, place: Place, sent: Sent) -> None:
        answer, session = self.answer, place.session
        recording = session.record_exchange(sent, answer.recorded_in(session.id), self._asked.model)
        failure: Exception | None = None
        try:
            async for _ in recording:
                answer.outlet.confirm()
            if not answer.feed.is_over:
                failure = StoppedError("the turn was stopped")
        except (UpstreamRefusedError, httpx.HTTPError, httpx.StreamError) as error:
            failure = error
        await self._keep(session, recording.step_id)
        answer.end(failure)

    async def _keep(self, session: Session, step_id: str) -> None:
        try:
            await keep(self._placing.log, self._asked, session, step_id)
        except TurnlogError as error:  # the answer is recorded: the next request begins a session of its own
            logger.warning("the end of session %s was not kept: %s", session.id, error)

    # What cannot be recorded

    async def _lost(self, error: TurnlogError, unrecorded: Unrecorded) -> None:
        # Asked and not begun, it is not known what the provider does: it is not asked twice.
        goes_on = unrecorded == "pass" and (self.answer.has_begun or not self.answer.is_asked)
        if not goes_on:
            logger.warning("a request through the proxy is refused: %s: %s", type(error).__name__, error)
            self._counts.refused += 1
            self.answer.end(error, error_event(self._asked.api, LOST))
            return
        logger.warning("a request through the proxy goes on unrecorded: %s: %s", type(error).__name__, error)
        self._counts.unrecorded += 1
        await pass_on(self.answer)


async def pass_on(answer: Answer) -> None:
    """Passes on what is left of an answer, and nobody records it."""
    try:
        if not answer.is_asked:
            await answer.ask()
        await answer.rest()
        answer.end()
    except (UpstreamRefusedError, httpx.HTTPError, httpx.StreamError) as error:
        answer.end(error)
    finally:
        await answer.close()
