"""A principal's access to a session: nothing is done with a session before it is known to be theirs."""

from __future__ import annotations

from turnlog.domain.errors import SessionNotFoundError
from turnlog.domain.inputs import checked_range
from turnlog.domain.state import SessionState
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.principal import Principal, may_use


class Access:
    """Every check raises SessionNotFoundError when the session is unknown, deleted, or not the principal's, and
    LogClosedError when the log is closed."""

    def __init__(self, parts: LogParts, aggregate: Aggregate, principal: Principal) -> None:
        self.principal = principal
        self._parts = parts
        self._aggregate = aggregate

    async def check(self) -> None:
        """Checks by what this process knows, and asks the log only if that does not allow it. For writing: the append
        itself meets what other processes have done since."""
        self._parts.check_open()
        await self._aggregate.ready()
        if not may_use(self._aggregate.state, self.principal):
            # Another process may have started it, or given it to this principal, since it was read.
            await self._aggregate.refresh()
        self.check_state(self._aggregate.state)

    async def check_now(self) -> None:
        """Checks by what the log says now."""
        self._parts.check_open()
        await self._aggregate.refresh()
        self.check_state(self._aggregate.state)

    def check_state(self, state: SessionState) -> None:
        """Checks by a state that was just read."""
        if not may_use(state, self.principal):
            raise SessionNotFoundError(self._aggregate.session_id)

    async def version(self, given: int | None = None) -> int:
        """The position of the session's last event now; or the position that is given, if the session has it. Raises
        InvalidInputError."""
        self._parts.check_open()
        await self._aggregate.flush()
        await self.check_now()
        last = self._aggregate.stored_version
        return last if given is None else checked_range(given, "version", 1, last)
