"""What an entry of the cache looks like, and how a reader knows that turnlog wrote it, and for this key.

An entry is one string, the text of a JSON list. It grows at its end, and is read as a whole or from its end::

    ["link",              a link that stands before no block
    lines that never change again: values, each followed by a comma
    "link",               the digest and the size of the block before it
    lines                 the next block
    the last line: a value that every write replaces, followed by blanks ,"footer"]

A block is a link and the lines after it, and ends when it has `BLOCK_BYTES`. So the links are a chain: each stands for
all that is before it. The footer has the sizes of the last two parts, the entry's position, and a tag. The tag is a
keyed digest of the key in Redis, the position, the last block and the last line. Whoever does not know the secret can
neither make an entry, nor change one, nor move it to another key: not to another session, kind, schema or log. A part
that is missing breaks the chain. What is left is an older entry of the same key: whoever reads one compares what its
last line says with the log.

SHA-256 and not BLAKE2b: processors of servers have instructions for it, with which it takes less than half the time.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic_core import from_json

BLOCK_BYTES = 4 * 1024
PARSED_AT_ONCE = 1024 * 1024
"""Bytes, about."""
MAX_BYTES = 8 * 1024 * 1024
"""Size of the largest entry that is written, and of what is read of any."""

_LINK = b'"%b %010d",\n'
_FIRST = b"[" + _LINK % (b"0" * 64, 0)
_LINK_BYTES = len(_FIRST) - 1
_FOOTER = re.compile(rb',"(\d{10}) (\d{10}) (\d{20}) ([0-9a-f]{64})"\]')
FOOTER_BYTES = 111
"""Size of the footer, with the comma and the quote before it."""
END_BYTES = BLOCK_BYTES + _LINK_BYTES + FOOTER_BYTES
"""Most that the end of an entry has beside its last line."""


class CorruptEntryError(ValueError):
    """The bytes are not what turnlog wrote under this key. Never leaves the cache."""


class Entry(NamedTuple):
    """An entry, or the end of one, as it was written for a key.

    `begin` is the offset of the first line in `value`, `block` that of the last block, and `start` that of the last
    line.
    """

    key: str
    position: int
    value: bytes
    begin: int
    block: int
    start: int

    @property
    def is_whole(self) -> bool:
        """Whether these are all lines."""
        return self.begin == len(_FIRST) and self.value.startswith(_FIRST)

    @property
    def lines(self) -> list[bytes]:
        """The lines before the last one, without their commas."""
        return [line for line in self.value[self.begin : self.start].split(b",\n")[:-1] if line[:1] != b'"']

    @property
    def last(self) -> bytes:
        """The last line."""
        return self.value[self.start : -FOOTER_BYTES].rstrip(b" ")

    @property
    def tag(self) -> bytes:
        """What tells this entry from any other."""
        return self.value[-66:-2]

    @property
    def footer(self) -> bytes:
        """What the footer says beside the size of the part that it ends, which depends on what is overwritten."""
        return self.value[12 - FOOTER_BYTES : -2]

    def parsed(self) -> tuple[list[Any], Any]:
        """The values of the lines, and that of the last one, of an entry that is whole. Raises ValueError."""
        values, at = list[Any](), self.begin
        while at < self.start:  # a thread lets others go on between two pieces
            end = self.value.index(b",\n", min(at + PARSED_AT_ONCE, self.start - 2))
            values += from_json(b"".join((b"[", memoryview(self.value)[at:end], b"]")), cache_strings="keys")
            at = end + 2
        if self.block > 1:  # there are more links than the first
            values = [value for value in values if type(value) is not str]
        return values, from_json(self.last, cache_strings="keys")

    def end(self) -> Entry:
        """What is needed to add lines to this entry."""
        value = self.value[self.block :]
        return self._replace(value=value, begin=_LINK_BYTES, block=0, start=self.start - self.block)


class Signer:
    """Makes entries, and checks them. Whoever knows the secret can make any."""

    def __init__(self, secret: bytes) -> None:
        # Keyed once: the key takes longer than an entry of some messages.
        self._keyed = hmac.new(secret, digestmod="sha256")

    def made(self, key: str, position: int, lines: Sequence[bytes], last: bytes, base: Entry | None = None) -> Entry:
        """The entry with these lines, after those of `base`, and this last line. Lines are JSON objects, or several
        with commas between them, and hold no line break."""
        parts, block, at = [base.value[: base.start]] if base else [_FIRST], bytearray(), base.block if base else 1
        block += parts[0][at:]
        for line in lines:
            text = line + b",\n"
            parts.append(text)
            block += text
            if len(block) >= BLOCK_BYTES:
                at += len(block)
                block = bytearray(_LINK % (_digest(block), len(block)))
                parts.append(bytes(block))
        start = at + len(block)
        tag = self._tag(key, position, _digest(block), last)
        sizes = len(last) + FOOTER_BYTES, len(block)
        footer = b',"%010d %010d %020d %b"]' % (*sizes, position, tag)
        begin = base.begin if base else len(_FIRST)
        return Entry(key, position, b"".join((*parts, last, footer)), begin, at, start)

    def checked(self, key: str, value: bytes, *, whole: bool) -> Entry | None:
        """The entry. None if its end alone is longer than `value`, which is the end of a string in Redis. Raises
        CorruptEntryError, also for a part of an entry that was to be `whole`."""
        footer = _FOOTER.fullmatch(value, max(0, len(value) - FOOTER_BYTES))
        if footer is None:
            raise CorruptEntryError("it has no footer")
        tail, size, position = map(int, footer.groups()[:3])
        start = len(value) - tail
        block = start - size
        if tail < FOOTER_BYTES or not _LINK_BYTES <= size <= END_BYTES or (whole and block < 0):
            raise CorruptEntryError("its sizes are not possible")
        if block < 0:
            return None
        text, last = memoryview(value), value[start:-FOOTER_BYTES].rstrip(b" ")
        tag = self._tag(key, position, _digest(text[block:start]), last)
        if not hmac.compare_digest(tag, footer[4]):
            raise CorruptEntryError("it was not written for this key, or was changed")
        entry = Entry(key, position, value, _first_line(text, block), block, start)
        if whole and not entry.is_whole:
            raise CorruptEntryError("it lacks its first lines")
        return entry

    def _tag(self, key: str, position: int, block: bytes, last: bytes) -> bytes:
        name = key.encode()
        tag = self._keyed.copy()
        tag.update(b"%020d %b %d %b%b" % (position, block, len(name), name, last))
        return tag.hexdigest().encode()


def _first_line(text: memoryview, block: int) -> int:
    """The offset of the first line, after the blocks before this one are checked as far back as they are there. Raises
    CorruptEntryError."""
    while size := int(text[block + 66 : block + 76]):
        before = block - size
        if before < 0:
            break
        if _digest(text[before:block]) != text[block + 1 : block + 65]:
            raise CorruptEntryError("its lines are not those that were written")
        block = before
    return block + _LINK_BYTES


def _digest(block: bytearray | memoryview) -> bytes:
    return sha256(block).hexdigest().encode()
