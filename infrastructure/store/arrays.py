"""Postgres' binary format for one-dimensional arrays (`array_send` in src/backend/utils/adt/arrayfuncs.c).

A header has the number of dimensions, a flag for nulls and the type of the elements. Then each element follows, its
length first; a length of -1 stands for null.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct

_HEADER = Struct(">iiiii")
_LENGTH = Struct(">i")
_NULL = _LENGTH.pack(-1)
_SHORT = [_LENGTH.pack(length) for length in range(1024)]
_UUID_LENGTH = _LENGTH.pack(16)
_INT8 = Struct(">iq")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

BOOL, BYTEA, INT8, TEXT, TIMESTAMPTZ, UUID = 16, 17, 20, 25, 1184, 2950
"""The numbers of the element types."""
ARRAY_OF = {BOOL: 1000, BYTEA: 1001, INT8: 1016, TEXT: 1009, TIMESTAMPTZ: 1185, UUID: 2951}
"""The number of the array type, by that of its elements."""
_ONE_UUID = _HEADER.pack(1, 1, UUID, 1, 1) + _UUID_LENGTH
_ONE_INT8 = _HEADER.pack(1, 1, INT8, 1, 1)


def uuid(value: bytes) -> bytes:
    """An array of one uuid. Quicker than `uuids`."""
    return _ONE_UUID + value


def int8(value: int) -> bytes:
    """An array of one bigint. Quicker than `int8s`."""
    return _ONE_INT8 + _INT8.pack(8, value)


def uuids(values: Iterable[bytes]) -> bytes:
    """An array of uuid. Each value is the 16 bytes of one."""
    parts = list(values)
    return _HEADER.pack(1, 1, UUID, len(parts), 1) + _UUID_LENGTH.join([b"", *parts])


def int8s(values: Iterable[int]) -> bytes:
    """An array of bigint."""
    pack = _INT8.pack
    return _array(INT8, [pack(8, value) for value in values])


def byteas(values: Iterable[bytes | None]) -> bytes:
    """An array of bytea."""
    return _array(BYTEA, _with_lengths(values))


def bodies(values: Sequence[bytes]) -> bytes:
    """An array of bytea, made for many short values of which none is null."""
    try:
        parts = [_SHORT[len(value)] + value for value in values]
    except IndexError:
        return byteas(values)
    return _array(BYTEA, parts)


def texts(values: Iterable[bytes | None]) -> bytes:
    """An array of text. The values are UTF-8."""
    return _array(TEXT, _with_lengths(values))


def names(values: Sequence[str]) -> bytes:
    """An array of text, made for many values of which few differ."""
    packed = {value: _LENGTH.pack(len(value.encode())) + value.encode() for value in set(values)}
    return _array(TEXT, [packed[value] for value in values])


def bools(values: Iterable[bool]) -> bytes:
    """An array of boolean."""
    return _array(BOOL, _with_lengths(b"\1" if value else b"\0" for value in values))


def timestamps(values: Iterable[datetime | None]) -> bytes:
    """An array of timestamptz."""
    pack = _INT8.pack
    parts = [_NULL if value is None else pack(8, (value - _EPOCH) // _MICROSECOND) for value in values]
    return _array(TIMESTAMPTZ, parts)


def _with_lengths(values: Iterable[bytes | None]) -> list[bytes]:
    pack = _LENGTH.pack
    return [_NULL if value is None else pack(len(value)) + value for value in values]


def _array(element: int, parts: Sequence[bytes]) -> bytes:
    # The flag for nulls is always set: Postgres looks at the lengths in any case.
    return _HEADER.pack(1, 1, element, len(parts), 1) + b"".join(parts)
