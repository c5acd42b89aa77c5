"""Which session a request belongs to, and where in it.

* A conversation that is known goes on in its session. What was said up to there is compared by digests.
* One that goes on otherwise from there, because a message was edited or an answer is wanted anew, is a fork.
* A request that is asked again after its answer broke off goes on where it broke off.
* Everything else is a new session. Two conversations that begin alike are two, unless an answer tells that they are
  one.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from turnlog.domain.errors import SessionNotFoundError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.server.keys import session_id_for
from turnlog.infrastructure.server.proxy.asked import AskedOfProvider
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.store.prefixes import Prefix


@dataclass(frozen=True, slots=True)
class Place:
    """A session, and how many of the request's messages it has. `origin` is the beginning that was known."""

    session: Session
    known: int
    origin: Prefix | None = None


class Placing:
    """Finds the place of one request. Every method raises StoreError, and what else the log raises."""

    def __init__(self, log: SessionLog, asked: AskedOfProvider) -> None:
        self.log = log
        self._asked = asked

    async def find(self) -> Place:
        """The place. Raises SessionNotFoundError for a session that is named by its id and is not the principal's."""
        named = None if self._asked.name is None else await self._named(self._asked.name)
        return await self._known() or named or await self._new()

    async def apart(self, place: Place) -> Place:
        """A place of its own, where the one that was found is taken or gone."""
        shares_an_answer = place.origin is not None and self._asked.boundaries
        made = await self._fork(place.origin, place.known) if place.origin is not None and shares_an_answer else None
        return made or await self._new()

    async def _known(self) -> Place | None:
        """The place behind the longest beginning that is known."""
        counts = {one.fingerprint: one.length for one in self._asked.boundaries}
        asked = self._asked.asked
        if asked not in counts:
            counts[asked] = len(self._asked.messages)
        found = await self.log.prefixes.find(list(counts), asked)
        for fingerprint in sorted({one.fingerprint for one in found}, key=counts.__getitem__, reverse=True):
            candidates = [one for one in found if one.fingerprint == fingerprint]
            candidates.sort(key=lambda one: (one.system == self._asked.trail.system, one.session_id), reverse=True)
            if place := await self._behind(candidates, counts[fingerprint]):
                return place
        return None

    async def _behind(self, candidates: list[Prefix], count: int) -> Place | None:
        """The place behind this beginning: in a session that ends there, or else in a fork."""
        asked = self._asked.asked
        for one in candidates:
            if one.next is not None and one.next != asked:
                continue
            if one.fingerprint == asked or await self.log.prefixes.claim(one, asked):
                return Place(self.log.session(one.session_id, self._asked.principal), count, one)
        if not self._asked.boundaries:  # all that they share is what was asked
            return None
        return await self._fork(candidates[0], count)

    async def _fork(self, origin: Prefix, count: int) -> Place | None:
        session = self.log.session(origin.session_id, self._asked.principal)
        try:
            return Place(await session.fork(origin.position), count)
        except SessionNotFoundError:  # it was deleted
            return None

    async def _named(self, name: str) -> Place | None:
        """The place at the end of the session that the client names, which is started if it is not there."""
        asked, principal = self._asked, self._asked.principal
        try:
            session = await self.log.session(UUID(name), principal)
        except ValueError:
            user_id = None if principal is SYSTEM else principal
            session_id = session_id_for(principal, name, "conversation")
            session = await self.log.start_session(user_id=user_id, session_id=session_id)
        has_turns = bool(await session.turns(limit=1))
        return Place(session, asked.tail if has_turns else 0)

    async def _new(self) -> Place:
        principal = self._asked.principal
        session = await self.log.start_session(user_id=None if principal is SYSTEM else principal)
        return Place(session, 0)
