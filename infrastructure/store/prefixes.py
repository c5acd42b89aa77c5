"""Beginnings of conversations that the recording proxy has seen: a request whose messages are known finds its session.

A row is a digest and no text: who asks has to have the messages, and has to be the same principal, which is in the
digest. Rows are a help to find sessions. Where they are lost, a conversation goes on in a new session.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from turnlog.infrastructure.store.threads import StoreThreads

UNCLAIMED = 4
"""Sessions of one beginning that are looked at, of those that do not go on from there."""


class Prefix(NamedTuple):
    """A beginning of a conversation. It stands in the session up to the position; `system` is a digest of what the
    system says. `next` is the beginning with which the session goes on from there, None where it does not."""

    fingerprint: bytes
    session_id: UUID
    position: int
    system: bytes
    next: bytes | None = None


class Prefixes:
    """Every method raises StoreError."""

    def __init__(self, threads: StoreThreads) -> None:
        self._threads = threads

    async def find(self, fingerprints: Sequence[bytes], following: bytes) -> list[Prefix]:
        """What is known of these beginnings, a few sessions of each; among them those that go on with `following`."""
        rows = await self._threads.fetch_by_index("find_prefixes", list(fingerprints), UNCLAIMED, following)
        return [Prefix(fingerprints[number - 1], *found) for number, *found in rows]

    async def claim(self, prefix: Prefix, following: bytes) -> bool:
        """Has the session go on from there with `following`. False if it goes on otherwise: somebody else was first."""
        asked = (following, prefix.fingerprint, prefix.session_id, following)
        return bool(await self._threads.fetch("claim_prefix", *asked))

    async def keep(self, prefixes: Iterable[Prefix]) -> None:
        """Keeps what is known now. What was known of the same beginning in the same session is replaced."""
        columns = [list(column) for column in zip(*prefixes, strict=True)]
        await self._threads.fetch("keep_prefixes", *columns)
