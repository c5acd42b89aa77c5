"""Calls of Redis, which never raise: what it does not answer has no answer.

There are three ways in which a call fails. The server is away, or sends what cannot be understood: an outage. While it
lasts, one call in `PROBE_SECONDS` tries whether it is over. The server refuses (`redis_refusals`): that kind of call is
paused. Or the key holds something else than a string: it is dropped, like any other corrupt entry.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from turnlog.infrastructure.redis_refusals import CALM_SECONDS, NO_CONNECTION, WRONG_TYPE, Kind, Refusals, refusal_code

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger("turnlog")

PROBE_SECONDS = 1.0
CALLS_AT_ONCE = 8
"""Calls that are under way at the same time; others wait. Each takes a connection, which stays open, and hundreds that
are opened at once would time out. More at once are no quicker: the server takes one after the other."""


class RedisCalls:
    """The calls of one open log. Each outage and each refusal is logged once, and once that it is over."""

    def __init__(self, client: Redis | None) -> None:
        self._client = client
        self._room = asyncio.Semaphore(CALLS_AT_ONCE)
        self._refusals = Refusals()
        self._is_down = False
        self._is_said = False
        self._down_until = self._last_failure = self._last_back = 0.0
        self._is_flapping = False

    def allows(self, kind: Kind) -> bool:
        """Whether a call of this kind is worth its preparation: the last one was answered, or may be tried again."""
        return self._client is not None and not self._is_down and self._refusals.allows(kind)

    async def attempt(self, kind: Kind, call: Callable[[Redis], Any], key: str | None = None) -> Any:
        """What the call returns. None if Redis does not answer, refuses, is not asked for a while, or is not used. A
        `key` that holds no string is dropped."""
        if not self._is_worth_a_try(kind):
            return None
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        answer = None
        try:
            async with self._room:
                if (client := self._client) is None or not self._is_worth_a_try(kind):
                    return None
                answer = await call(client)
        except Exception as error:  # noqa: BLE001 what a server sends can make the driver raise anything
            is_wrong_type = self.failed(kind, error) == WRONG_TYPE
        else:
            is_wrong_type = False
            self.answered(kind)
        if task and task.cancelling() > cancelled:
            # Before Python 3.12 `asyncio.wait_for`, which the driver uses, loses a cancellation that comes together
            # with an answer.
            raise asyncio.CancelledError
        if is_wrong_type and key is not None:
            logger.debug("Redis: a key of the cache holds no string and is dropped")
            await self.attempt("write", lambda client: client.unlink(key))
        return answer

    def _is_worth_a_try(self, kind: Kind) -> bool:
        if self._client is None or (self._is_down and time.monotonic() < self._down_until):
            return False
        return self._refusals.allows(kind)

    def failed(self, kind: Kind, error: Exception) -> str | None:
        """A call was not answered, or was refused. Returns the code of the refusal."""
        code = refusal_code(error)
        if code is None:
            self._failed(error)
            return None
        if code != NO_CONNECTION:
            self._answered()
        if code not in (WRONG_TYPE, NO_CONNECTION):
            # Not at a higher level: an error may repeat what was to be stored.
            logger.debug("Redis refuses to %s: %s", kind, type(error).__name__)
            self._refusals.refused(kind, code)
        return code

    def answered(self, kind: Kind) -> None:
        """A call was answered."""
        self._answered()
        self._refusals.allowed(kind)

    async def close(self) -> None:
        """Closes the connections. Later calls find no Redis."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        if not self._is_said:
            self._is_said = True
            self._is_flapping = now < self._last_back + CALM_SECONDS
            logger.warning("Redis: %s; everything is read from Postgres until it is back", reason(error))
        self._is_down, self._last_failure, self._down_until = True, now, now + PROBE_SECONDS

    def _answered(self) -> None:
        self._is_down = False
        if not self._is_said:
            return
        now = time.monotonic()
        # A server that goes and comes all the time is back when it has stayed.
        if not (self._is_flapping and now < self._last_failure + CALM_SECONDS):
            self._is_said, self._last_back = False, now
            logger.warning("Redis is back")


def reason(error: Exception) -> str:
    """Why there is no answer. What cannot be understood may hold anything, and is not repeated."""
    from redis import exceptions  # noqa: PLC0415 importing redis takes a third of a second

    plain = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, EOFError, asyncio.CancelledError)
    cause: BaseException | None = error
    while cause is not None:
        if not isinstance(cause, plain):
            return f"its answer cannot be understood ({type(cause).__name__})"
        cause = cause.__cause__
    return str(error) or type(error).__name__
