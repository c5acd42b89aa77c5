"""Mailboxes: who wants to hear of a session, and telling them and nobody else.

A process that follows sessions has a mailbox, which is a channel of its own. In Redis each followed session has a key
with the names of the mailboxes in which its notices are to be put. One script reads the keys of many sessions and
publishes one message a mailbox. So a process hears of what it follows, and where nobody follows nothing is published.

The keys expire, and are renewed by whoever still follows. Nothing that Redis does raises here. Notices may be lost,
also by keys that were removed or are garbage: who follows looks from time to time as well.

All keys have one hash tag, so that a proxy in front of several servers can run the script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from turnlog.infrastructure.redis_calls import RedisCalls
from turnlog.infrastructure.redis_refusals import Kind

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

ID_BYTES = 16
NAME_LENGTH = 32
"""Characters of a mailbox's name."""
MAX_IDS = 1_000
"""Sessions that one call names at most."""
TTL_SECONDS = 60.0
"""Seconds that a session counts as followed after its followers last said so."""
_MOST = 1_024 * NAME_LENGTH  # of a key are read: a longer one is garbage

# The names in a key, and none where it is no string of ours; and a key without one of its names.
_LIBRARY = f"""
local function names(key)
  local found = redis.pcall('GETRANGE', key, 0, {_MOST - 1})
  if type(found) ~= 'string' or #found % {NAME_LENGTH} ~= 0 then return '' end
  return found
end
local function leave(key, box, ttl)
  local rest, found = {{}}, names(key)
  for at = 1, #found, {NAME_LENGTH} do
    local other = string.sub(found, at, at + {NAME_LENGTH - 1})
    if other ~= box then table.insert(rest, other) end
  end
  if #rest == 0 then return redis.pcall('UNLINK', key) end
  return redis.pcall('SET', key, table.concat(rest), 'PX', ttl)
end
"""
# KEYS: of the sessions. ARGV: the TTL in milliseconds, the mailbox.
_ENTER = f"""{_LIBRARY}
for _, key in ipairs(KEYS) do
  local found = names(key)
  if string.find(found, ARGV[2], 1, true) then
    redis.call('PEXPIRE', key, ARGV[1])
  else
    redis.call('SET', key, found .. ARGV[2], 'PX', ARGV[1])
  end
end
return 1
"""
# KEYS and ARGV: the same.
_LEAVE = f"""{_LIBRARY}
for _, key in ipairs(KEYS) do leave(key, ARGV[2], ARGV[1]) end
return 1
"""
# KEYS: of the sessions. ARGV: the TTL, the sender's own mailbox, the beginning of every message, the channel of a
# mailbox without its name, the channel of older versions, and the sessions' ids, one after the other. Returns how many
# have heard it. A mailbox to which nobody listens is gone.
_TELL = f"""{_LIBRARY}
local ttl, own, head, channel, ids = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local boxes = {{}}
for number, key in ipairs(KEYS) do
  local found = names(key)
  for at = 1, #found, {NAME_LENGTH} do
    local box = string.sub(found, at, at + {NAME_LENGTH - 1})
    if box ~= own then
      boxes[box] = boxes[box] or {{head}}
      table.insert(boxes[box], string.sub(ids, {ID_BYTES} * number - {ID_BYTES - 1}, {ID_BYTES} * number))
    end
  end
end
local told = redis.call('PUBLISH', ARGV[5], head .. ids)
for box, parts in pairs(boxes) do
  local heard = redis.call('PUBLISH', channel .. box, table.concat(parts))
  told = told + heard
  if heard == 0 then
    for _, key in ipairs(KEYS) do
      if string.find(names(key), box, 1, true) then leave(key, box, ttl) end
    end
  end
end
return told
"""


class Mailboxes:
    """The mailboxes of one log. `prefix` is in front of all its keys and channels, and `old_channel` is where processes
    of older versions listen to everything."""

    def __init__(self, calls: RedisCalls, prefix: str, old_channel: str) -> None:
        self._calls = calls
        self._key = f"{prefix}{{followed}}:"
        self._channel = f"{prefix}follower:"
        self._old_channel = old_channel
        self._scripts: dict[str, AsyncScript] = {}

    def channel(self, box: str) -> str:
        """The channel of a mailbox."""
        return self._channel + box

    async def enter(self, box: str, ids: Sequence[bytes]) -> bool:
        """From now on, and for TTL_SECONDS, this mailbox hears of these sessions, of which there are at most MAX_IDS.
        False where Redis does not do it."""
        return await self._run("write", _ENTER, ids, box) is not None

    async def leave(self, box: str, ids: Sequence[bytes]) -> None:
        """From now on it hears of these sessions no more."""
        await self._run("write", _LEAVE, ids, box)

    async def tell(self, own: str, head: bytes, ids: Sequence[bytes]) -> int:
        """Puts these sessions, behind `head`, into the mailboxes of all who follow them, but for the sender's `own`.
        Returns how many have heard it; 0 where Redis does not do it."""
        told = await self._run("publish", _TELL, ids, own, head, self._channel, self._old_channel, b"".join(ids))
        return told if isinstance(told, int) else 0

    async def _run(self, kind: Kind, text: str, ids: Sequence[bytes], *args: str | bytes) -> Any:
        keys = [self._key + session_id.hex() for session_id in ids]

        async def run(client: Redis) -> Any:
            script = self._scripts.get(text)
            if script is None:
                script = self._scripts[text] = client.register_script(text)
            return await script(keys=keys, args=(round(TTL_SECONDS * 1000), *args))

        return await self._calls.attempt(kind, run)
