"""The view cache in Redis: one hash a session, one field a closed turn, and a head.

It holds nothing that Postgres does not: an entry may vanish, be old, or be garbage at any time. Entries carry the
schema version and the position they stand for, and one Lua script sets them, only over older ones. Trouble is
logged once an outage; while it lasts, one read in a while tries whether it is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from turnlog.projections.projector import VIEW_SCHEMA, Projector, SessionHead
from turnlog.projections.view import Turn

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger("turnlog")

PROBE_SECONDS = 1.0

# KEYS[1]: the hash. ARGV: schema, position, the position that the fields were computed against, TTL in
# milliseconds, head, then pairs of field and value. Answers -1 when set, else the position that is there: equal or
# newer ones win, and a part of the pages cannot be laid over an entry other than the one it was computed against.
_SET_SCRIPT = """
local there = redis.call('HMGET', KEYS[1], 'schema', 'position')
local position = -1
if there[1] == ARGV[1] and tonumber(there[2]) then position = tonumber(there[2]) end
if position >= tonumber(ARGV[2]) then return position end
local base = tonumber(ARGV[3])
if base > 0 and position ~= base then return math.max(position, 0) end
if base == 0 then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'position', ARGV[2], 'head', ARGV[5])
for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return -1
"""


class ViewCache:
    """Never raises for anything that Redis does: a read answers None, a write does nothing."""

    def __init__(self, client: Redis | None, *, prefix: str, log_id: str, ttl_seconds: float) -> None:
        self._client = client
        # The log's id keeps a Redis that two databases share, or that outlived one, from mixing them up.
        self._prefix = f"{prefix}{log_id}:v{VIEW_SCHEMA}:"
        self._ttl = max(1, round(ttl_seconds * 1000))
        self._script = client.register_script(_SET_SCRIPT) if client else None
        self._down_until: float | None = None

    @property
    def is_down(self) -> bool:
        """Whether the last thing that was tried failed."""
        return self._down_until is not None

    def key(self, session_id: UUID) -> str:
        """The key of the session's hash."""
        return f"{self._prefix}{session_id}"

    async def get(self, session_id: UUID) -> Projector | None:
        """The projection that is cached, or None: nothing there, unreadable, or no Redis."""
        key = self.key(session_id)
        fields: dict[bytes, bytes] | None = await self.attempt(lambda client: client.hgetall(key), key)
        if not fields:
            return None
        try:
            return restore(fields[b"head"], [fields[b"%d" % i] for i in range(_pages(fields))], session_id)
        except (ValueError, KeyError):
            await self.drop(session_id)
            return None

    async def get_head(self, session_id: UUID) -> bytes | None:
        """The cached head alone."""
        key = self.key(session_id)
        head: bytes | None = await self.attempt(lambda client: client.hget(key, "head"), key)
        return head

    async def put(self, projector: Projector, base: int) -> None:
        """Caches the projection. `base` is the position of the entry that was read before, 0 if there was none."""
        there = await self._set(projector, base)
        if there is not None and 0 <= there < projector.version:
            await self._set(projector, 0)

    async def _set(self, projector: Projector, base: int) -> int | None:
        if self._script is None:
            return None
        fields: list[Any] = []
        for page in projector.pages(after=base):
            fields += [str(page.index), page.to_json()]
        args = [VIEW_SCHEMA, projector.version, base, self._ttl, projector.head().to_json(), *fields]
        script, key = self._script, self.key(projector.session_id)
        there: int | None = await self.attempt(lambda _: script(keys=[key], args=args), key)
        return there

    async def drop(self, session_id: UUID) -> None:
        """Removes the session's entry."""
        await self.attempt(lambda client: client.delete(self.key(session_id)))

    async def ping(self) -> str | None:
        """The server's version, or None when it does not answer. Tries even while it is known to be down."""
        self._down_until = None
        info = await self.attempt(lambda client: client.info("server"))
        return f"{info.get('server_name', 'redis')} {info.get('redis_version')}" if info else None

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def attempt(self, call: Callable[[Redis], Any], key: str | None = None) -> Any:
        """What the call answers; None when Redis does not, when it is known to be down, or where there is none."""
        from redis.exceptions import RedisError, ResponseError  # noqa: PLC0415 importing redis takes a third of a second

        if self._client is None or (self._down_until is not None and time.monotonic() < self._down_until):
            return None
        try:
            answer = await _but_for_wrong_types(self._client, call, key, ResponseError)
        except (RedisError, OSError, TimeoutError) as error:
            self.failed(error)
            return None
        self.answered()
        return answer

    def failed(self, error: Exception) -> None:
        """Redis did not answer: it is left alone for a while. Logged once an outage."""
        if self._down_until is None:
            logger.warning("Redis: %s; all comes from Postgres until it is back", error)
        self._down_until = time.monotonic() + PROBE_SECONDS

    def answered(self) -> None:
        """Redis answered."""
        if self._down_until is not None:
            logger.warning("Redis is back")
            self._down_until = None


async def _but_for_wrong_types(
    client: Redis, call: Callable[[Redis], Any], key: str | None, response_error: type[Exception]
) -> Any:
    """The answer; a key that holds no hash is dropped like any other corrupt entry."""
    try:
        return await call(client)
    except response_error as error:
        if key is None or not str(error).startswith("WRONGTYPE"):
            raise
        await client.delete(key)
        return None


def restore(head: bytes, pages: list[bytes], session_id: UUID) -> Projector:
    """The projector of a kept head and its pages. Raises ValueError when they do not belong together."""
    kept = SessionHead.from_json(head)
    turns = [Turn.from_json(page) for page in pages]
    if kept.session_id != session_id or kept.closed_turns != len(turns):
        raise ValueError("a kept view is incomplete or another session's")
    if any(turn.index != index or turn.position > kept.version for index, turn in enumerate(turns)):
        raise ValueError("a kept page is out of place")
    return Projector.resume(kept, turns)


def _pages(fields: dict[bytes, bytes]) -> int:
    return sum(1 for name in fields if name.isdigit())
