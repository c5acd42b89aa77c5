"""The cache in Redis: entries that grow at their end, so that an addition to a long session costs only its own size.

Redis holds nothing that Postgres does not: an entry may vanish, be old, or be garbage at any time. What an entry looks
like, and how it is known to be turnlog's own and of this session, is in `cache_entry`. One that is not is dropped.

One Lua script writes an entry. It replaces only an older entry, and adds lines only to the very entry that they were
made for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Literal, get_args
from uuid import UUID
from weakref import WeakValueDictionary

from turnlog.infrastructure.cache_entry import (
    END_BYTES,
    FOOTER_BYTES,
    MAX_BYTES,
    CorruptEntryError,
    Entry,
    Signer,
)
from turnlog.infrastructure.redis_calls import RedisCalls

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

logger = logging.getLogger("turnlog")

What = Literal["view", "chat", "anthropic", "responses"]
"""What is cached of a session: its view, and its prompt for each API."""

_SHAPE = 2
"""The version of what an entry looks like. Processes of another one have keys of their own."""

# KEYS[1]: the key. ARGV: the new position, the tag of the entry that the lines are added to ('': the lines are the
# whole entry), the TTL in milliseconds, the lines, the last line, the footer without its first field, the most bytes of
# all lines. Returns -1 when written, else the stored position.
_WRITE = f"""
local position, base = tonumber(ARGV[1]), ARGV[2]
local size = redis.call('STRLEN', KEYS[1])
local footer = redis.call('GETRANGE', KEYS[1], -{FOOTER_BYTES}, -1)
local tail, there, tag = string.match(footer, '^,"(%d+) %d+ (%d+) (%x+)"%]$')
there = tonumber(there) or 0
if there >= position then return there end
local at, blanks = 0, 0
local last = #ARGV[5] + {FOOTER_BYTES}
if base ~= '' then
  if tag ~= base then return there end
  at = size - tail
  blanks = math.max(0, size - at - #ARGV[4] - last)
end
if at + #ARGV[4] > tonumber(ARGV[7]) or at + #ARGV[4] + last + blanks > {MAX_BYTES} then return there end
local new_footer = string.format(',"%010d', last + blanks) .. ARGV[6] .. '"]'
local text = ARGV[4] .. ARGV[5] .. string.rep(' ', blanks) .. new_footer
if base == '' then
  redis.call('SET', KEYS[1], text, 'PX', ARGV[3])
else
  redis.call('SETRANGE', KEYS[1], at, text)
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return -1
"""


class Cache:
    """Never raises for anything that Redis does: a read returns None, and a write does nothing."""

    def __init__(
        self, calls: RedisCalls, signer: Signer, *, prefix: str, log_id: str, schema: int, ttl_seconds: float
    ) -> None:
        self._calls = calls
        self._signer = signer
        # With the log's id, two databases can share a Redis, and a Redis can outlive its database.
        self._prefix = f"{prefix}{log_id}:v{schema}.{_SHAPE}:"
        self._ttl = max(1, round(ttl_seconds * 1000))
        self._script: AsyncScript | None = None
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._dropped = 0

    def key(self, session_id: UUID, what: What) -> str:
        """The key under which this is cached of the session. An entry is bound to its key."""
        return f"{self._prefix}{session_id}" + ("" if what == "view" else f":{what}")

    @property
    def is_writable(self) -> bool:
        """Whether it is worth preparing a write."""
        return self._calls.allows("write")

    async def get(self, key: str) -> Entry | None:
        """The entry with all its lines. None if there is none, if it is not what was written for this key, or if Redis
        does not answer."""
        return await self._read(key, MAX_BYTES, whole=True)

    async def get_end(self, key: str, size: int) -> Entry | None:
        """The last line of the entry, and the lines in about `size` bytes before its end. None as in `get`, or if not
        even the last line fits."""
        return await self._read(key, min(size + END_BYTES, MAX_BYTES), whole=False)

    async def _read(self, key: str, size: int, *, whole: bool) -> Entry | None:
        # A range even for the whole: the largest string that Redis can hold would else come.
        value = await self._calls.attempt("read", lambda client: client.getrange(key, -size, -1), key)
        if not value:
            return None
        try:
            if not isinstance(value, bytes):
                raise CorruptEntryError("it is not bytes")
            return self._signer.checked(key, value, whole=whole)
        except CorruptEntryError as error:
            self._dropped += 1
            logger.debug("Redis: an entry of the cache is dropped: %s (%d until now)", error, self._dropped)
            await self.drop(key)
            return None

    def made(self, key: str, position: int, lines: Sequence[bytes], last: bytes, base: Entry | None = None) -> Entry:
        """The entry for this key with these lines after those of `base`, and this last line."""
        return self._signer.made(key, position, lines, last, base)

    async def put(self, entry: Entry, base: Entry | None = None, most: int = MAX_BYTES) -> bool:
        """Writes an entry: what it has more than `base`, or the whole, unless its lines would have more than `most`
        bytes. False if it was not written, and nothing as new as it is there."""
        tag, begin = (base.tag, base.start) if base else (b"", 0)
        text = entry.value[begin : entry.start]
        if len(text) + len(entry.last) > MAX_BYTES:
            return False
        key, args = entry.key, (entry.position, tag, self._ttl, text, entry.last, entry.footer, most)
        async with self._turn(key):
            there: int | None = await self._calls.attempt("write", lambda client: self._write(client, key, args), key)
        return there is None or there < 0 or there >= entry.position

    async def drop(self, *keys: str) -> None:
        """Removes entries. What this process was writing there before is written first."""
        async with AsyncExitStack() as stack:
            for key in sorted(keys):
                await stack.enter_async_context(self._turn(key))
            await self._calls.attempt("write", lambda client: client.unlink(*keys))

    async def forget(self, session_id: UUID) -> None:
        """Removes all that is cached of the session."""
        await self.drop(*(self.key(session_id, what) for what in get_args(What)))

    def _turn(self, key: str) -> asyncio.Lock:
        # Two connections keep no order: what was to be removed could come after its removal.
        return self._turns.setdefault(key, asyncio.Lock())

    async def _write(self, client: Redis, key: str, args: tuple[int | bytes, ...]) -> int:
        if self._script is None:
            self._script = client.register_script(_WRITE)
        there: int = await self._script(keys=[key], args=args)
        return there
