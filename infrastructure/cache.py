"""The cache in Redis: entries that grow at their end, so that an addition to a long session costs only its own size.

Redis holds nothing that Postgres does not: an entry may vanish, be old, or be garbage at any time. Each entry is one
string, the text of a JSON list::

    ["position of the entry and offset of its last line, in fixed width",
    lines that never change again: values, each followed by a comma
    the last line: a value that every write replaces]  followed by blanks

One Lua script writes an entry. It replaces only an older entry, and adds lines only to the entry that they were made
for. An outage is logged once. While it lasts, one call in `PROBE_SECONDS` tries whether it is over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger("turnlog")

PROBE_SECONDS = 1.0
_HEADER = 46

# KEYS[1]: the key. ARGV: the new position, the position of the entry that the lines are added to (0: the lines are the
# whole entry), the TTL in milliseconds, the lines, the last line. Returns -1 when written, else the stored position.
_WRITE = """
local position, base = tonumber(ARGV[1]), tonumber(ARGV[2])
local there = tonumber(redis.call('GETRANGE', KEYS[1], 2, 21)) or 0
if there >= position then return there end
local at = 46
if base > 0 then
  at = tonumber(redis.call('GETRANGE', KEYS[1], 23, 42))
  if there ~= base or not at then return there end
else
  redis.call('DEL', KEYS[1])
end
local last = at + #ARGV[4]
redis.call('SETRANGE', KEYS[1], 0, string.format('["%020d %020d",\\n', position, last))
redis.call('SETRANGE', KEYS[1], at, ARGV[4] .. ARGV[5])
local size = last + #ARGV[5]
local old = redis.call('STRLEN', KEYS[1]) - size
if old > 0 then redis.call('SETRANGE', KEYS[1], size, string.rep(' ', old)) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return -1
"""


class Entry(NamedTuple):
    """An entry as it was read. `start` is the offset of its last line."""

    position: int
    start: int
    value: bytes

    @classmethod
    def made(cls, position: int, lines: bytes, last: bytes) -> Entry:
        """The entry of these lines, each of which ends with `,` and a line break, and this last line."""
        start = _HEADER + len(lines)
        return cls(position, start, b'["%020d %020d",\n%b%b]' % (position, start, lines, last))

    @property
    def lines(self) -> bytes:
        """The lines before the last one."""
        return self.value[_HEADER : self.start]

    @property
    def last(self) -> bytes:
        """The last line."""
        return self.value[self.start :].rstrip(b" ")[:-1]


class Ending(NamedTuple):
    """The last line of an entry and the lines before it that were read, without their commas. `is_whole` if these are
    all lines."""

    lines: list[bytes]
    last: bytes
    is_whole: bool


class Cache:
    """Never raises for anything that Redis does: a read returns None, and a write does nothing."""

    def __init__(self, client: Redis | None, *, prefix: str, log_id: str, schema: int, ttl_seconds: float) -> None:
        self._client = client
        # With the log's id, two databases can share a Redis, and a Redis can outlive its database.
        self.prefix = f"{prefix}{log_id}:v{schema}:"
        self._ttl = max(1, round(ttl_seconds * 1000))
        self._script = client.register_script(_WRITE) if client else None
        self._down_until: float | None = None

    @property
    def is_down(self) -> bool:
        """Whether the last call failed."""
        return self._down_until is not None

    async def get(self, key: str) -> Entry | None:
        """The entry. None if there is none, if it cannot be read, or if Redis does not answer."""
        value: bytes | None = await self.attempt(lambda client: client.get(key), key)
        if value is None:
            return None
        try:
            position, start = int(value[2:22]), int(value[23:43])
        except ValueError:
            position = start = 0
        if position < 1 or not _HEADER <= start <= len(value):
            await self.drop(key)
            return None
        return Entry(position, start, value)

    async def get_end(self, key: str, size: int) -> Ending | None:
        """The lines in the last `size` bytes of the entry. None if there is no entry, if Redis does not answer, or if
        not even the last line fits."""
        value: bytes | None = await self.attempt(lambda client: client.getrange(key, -size, -1), key)
        if not value:
            return None
        before, found, last = value.rpartition(b",\n")
        if not found:
            return None
        # The first line is the header, or was cut off.
        return Ending(before.split(b",\n")[1:], last.rstrip(b" ")[:-1], is_whole=len(value) < size)

    async def put(self, key: str, position: int, base: int, lines: bytes, last: bytes) -> bool:
        """Writes an entry: `lines` are added to the entry at the position `base`, or are the whole entry (0). Each line
        ends with `,` and a line break. False if there is an older entry that is not the one at `base`."""
        script, args = self._script, (position, base, self._ttl, lines, last + b"]")
        if script is None:
            return True
        there: int | None = await self.attempt(lambda _: script(keys=[key], args=args), key)
        return there is None or there < 0 or there >= position

    async def drop(self, *keys: str) -> None:
        """Removes entries."""
        await self.attempt(lambda client: client.delete(*keys))

    async def close(self) -> None:
        """Closes the connections. Later calls find no Redis."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def attempt(self, call: Callable[[Redis], Any], key: str | None = None) -> Any:
        """What the call returns. None if Redis does not answer, is known to be down, or is not used."""
        from redis.exceptions import RedisError, ResponseError  # noqa: PLC0415 importing redis takes a third of a second

        if self._client is None or (self._down_until is not None and time.monotonic() < self._down_until):
            return None
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            answer = await _but_for_wrong_types(self._client, call, key, ResponseError)
        except (RedisError, OSError, TimeoutError) as error:
            self.failed(error)
            answer = None
        else:
            self.answered()
        if task and task.cancelling() > cancelled:
            # Before Python 3.12 `asyncio.wait_for`, which the driver uses, loses a cancellation that comes together
            # with an answer.
            raise asyncio.CancelledError
        return answer

    def failed(self, error: Exception) -> None:
        """Redis did not answer: it is not asked for a while. Each outage is logged once."""
        if self._down_until is None:
            logger.warning("Redis: %s; everything is read from Postgres until it is back", error)
        self._down_until = time.monotonic() + PROBE_SECONDS

    def answered(self) -> None:
        """Redis answered."""
        if self._down_until is not None:
            logger.warning("Redis is back")
            self._down_until = None


async def _but_for_wrong_types(
    client: Redis, call: Callable[[Redis], Any], key: str | None, response_error: type[Exception]
) -> Any:
    """What the call returns. A key that holds no string is dropped, like any other corrupt entry."""
    try:
        return await call(client)
    except response_error as error:
        if key is None or "WRONGTYPE" not in str(error):
            raise
        await client.delete(key)
        return None
