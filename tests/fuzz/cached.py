"""What Redis gives: entries that turnlog has written, changed in any way, and anything else."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any
from uuid import UUID

from tests.fuzz.folding import AT, ID
from tests.fuzz.source import Source
from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.cache import Cache, Entry
from turnlog.infrastructure.read.prompts import Prompts, _parsed
from turnlog.infrastructure.read.views import Views
from turnlog.infrastructure.tasks import Background
from turnlog.projections.projector import VIEW_SCHEMA, Projector


class Held:
    """A Redis that holds one value under every key."""

    def __init__(self) -> None:
        self.value: bytes | None = None

    def register_script(self, _: str) -> Any:
        return None

    async def get(self, _: str) -> bytes | None:
        return self.value

    async def getrange(self, _: str, start: int, _end: int) -> bytes:
        return (self.value or b"")[start:]

    async def delete(self, *_: str) -> None:
        self.value = None


def cache_entries(data: bytes) -> None:
    """Reads a view, its end and a chat prompt out of an entry: either there is nothing, or it can be used."""
    source = Source(data)
    entry = source.rest() if source.chance(4) else _changed(source, source.pick(_written()))
    _loop().run_until_complete(_read(entry))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


async def _read(value: bytes) -> None:
    held = Held()
    cache_ = Cache(held, prefix="t:", log_id="log", schema=VIEW_SCHEMA, ttl_seconds=60)  # type: ignore[arg-type]
    views = Views(None, cache_, Background())  # type: ignore[arg-type]  # nothing is asked of a store
    prompts = Prompts(None, cache_, views, Background(), 0)  # type: ignore[arg-type]
    for turns in (0, 1, 50):
        held.value = value
        _use(await views._cached_end(ID, turns))
    held.value = value
    _use(await views._cached(ID))
    held.value = value
    entry = await cache_.get(prompts.key(ID))
    if entry is not None and (cached := _parsed(entry)) is not None:
        cached.prompt()


def _use(projector: Projector | None) -> None:
    if projector is not None:
        projector.head().to_json()


@cache
def _written() -> tuple[bytes, ...]:
    """Entries as turnlog writes them: a view, another session's, and a prompt."""
    return (_view_entry(ID), _view_entry(UUID(int=8)), Entry.made(3, b'{"role":"user"},\n', _LAST).value)


_LAST = b'{"user_id":"u1","turns":1,"compacted":0,"rest":[]}'


def _view_entry(session_id: UUID) -> bytes:
    history: list[Any] = [e.SessionStarted(at=AT, user_id="u1")]
    for number in range(3):
        history.append(e.MessageAdded(at=AT, message_id=f"m{number}", role="user", content="hi"))
        history.append(e.CompletionStarted(at=AT, step_id=f"s{number}"))
        history.append(e.TextDelta(at=AT, step_id=f"s{number}", text="so"))
        history.append(e.CompletionFinished(at=AT, step_id=f"s{number}", finish_reason="stop"))
    recorded = [RecordedEvent(session_id, at, at, event) for at, event in enumerate(history, 1)]
    projector = Projector(session_id).apply_all(recorded)
    lines = b"".join(page.to_short_json() + b",\n" for page in projector.pages_from(0))
    return Entry.made(projector.version, lines, projector.head().to_json() + b"]").value[:-1]


def _changed(source: Source, value: bytes) -> bytes:
    """The entry with up to four changes."""
    changed = bytearray(value)
    for _ in range(source.byte() % 5):
        at = (source.byte() * 256 + source.byte()) % (len(changed) or 1)
        match source.byte() % 5:
            case 0 if changed:
                changed[at] ^= 1 << source.byte() % 8
            case 1:
                del changed[at:]
            case 2:
                del changed[at : at + source.byte()]
            case 3:
                changed[at:at] = source.text().encode("utf-8", "replace")
            case _:
                changed[at:at] = changed[at : at + source.byte()]
    return bytes(changed)
