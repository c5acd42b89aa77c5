"""What Redis gives: entries that turnlog has written, changed in any way, and anything else."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from tests.fuzz.source import Source
from turnlog.infrastructure.cache_entry import CorruptEntryError, Entry, Signer

_SIGNER = Signer(b"a secret")
_KEYS = ("t:log:v1:one", "t:log:v1:two", "t:log:v1:one:chat")
_LINE = b'{"index":%d,"text":"%b"}'


class _Written(NamedTuple):
    """What was written under a key, one after the other."""

    key: str
    entries: tuple[Entry, ...]


def cache_entries(data: bytes) -> None:
    """Reads an entry, or its end: it is refused, or it is one that was written for this key, unchanged."""
    source = Source(data)
    read, asked = source.pick(_written()), source.pick(_written())
    value = source.rest() if source.chance(8) else _changed(source, source.pick(read.entries).value)
    whole = source.chance(2)
    if not whole:
        value = value[-(1 + source.byte() * 256 + source.byte()) :]
    try:
        entry = _SIGNER.checked(asked.key, value, whole=whole)
    except CorruptEntryError:
        return
    if entry is not None:
        assert any(_is_end_of(entry, one) for one in asked.entries), "an entry that nobody has written"


def _is_end_of(entry: Entry, written: Entry) -> bool:
    lines = entry.lines
    same = (entry.position, entry.last) == (written.position, written.last)
    return same and lines == written.lines[len(written.lines) - len(lines) :]


@cache
def _written() -> tuple[_Written, ...]:
    """Entries of several keys: a short one, one that has grown twice, and one of several blocks."""
    return tuple(_Written(key, tuple(_grown(key))) for key in _KEYS)


def _grown(key: str) -> list[Entry]:
    entries = [_SIGNER.made(key, 3, [_LINE % (0, b"a")], b'{"version":3,"turns":1}')]
    for position, count in ((5, 3), (60, 40)):
        lines = [_LINE % (at, b"x" * 700) for at in range(count)]
        entries.append(_SIGNER.made(key, position, lines, b'{"version":%d}  ' % position, entries[-1]))
    return entries


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
