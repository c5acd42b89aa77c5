"""A principal's access to a session: nothing is done with a session before it is known to be theirs.

To find out whose a session is costs the same for every session, and for an id that nobody has. So neither the answer
nor the time that it takes tells a stranger which sessions there are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from turnlog.domain.errors import UnknownPositionError
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.principal import Principal, may_use
from turnlog.infrastructure.read.asked import AskedAccess

if TYPE_CHECKING:
    from turnlog.infrastructure.store.standings import Standing


class Access:
    """Every check raises SessionNotFoundError when the session is unknown, deleted, or not the principal's, StoreError,
    and LogClosedError when the log is closed."""

    def __init__(self, parts: LogParts, aggregate: Aggregate, principal: Principal) -> None:
        self.principal = principal
        self._parts = parts
        self._aggregate = aggregate

    async def check(self) -> None:
        """Checks by what this process knows, and asks the log only if that does not allow it. For writing: the append
        itself meets what other processes have done since."""
        self._parts.check_open()
        if not self._is_known:
            await self.standing()

    async def standing(self, base: int = 0) -> Standing:
        """Where the session stands now, with everything that this process has appended; and the commit id at the
        position `base`."""
        return await (await self.ask(base)).standing()

    async def ask(self, base: int = 0) -> AskedAccess:
        """Asks for `standing`. The answer is not awaited."""
        self._parts.check_open()
        since = time.monotonic()
        if self._is_known:
            await self._aggregate.flush()
        return AskedAccess(self._parts.store, self._aggregate.session_id, self.principal, base, since)

    async def check_position(self, position: int) -> None:
        """Raises UnknownPositionError if the session has no event at a position, but for 0."""
        last = (await self.standing()).position
        if position > last:
            raise UnknownPositionError(position, last)

    @property
    def _is_known(self) -> bool:
        return may_use(self._aggregate.state, self.principal)
