"""Where a page of a list ends, as an opaque text that the next page begins after."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from struct import Struct
from struct import error as StructError  # noqa: N812 it is a class
from typing import NamedTuple
from uuid import UUID

from turnlog.domain.errors import InvalidInputError
from turnlog.projections.view import SessionSummary

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLACE = Struct(">Bq16s")
"""The version, the time in microseconds since 1970, and the id of the last line."""
_VERSION = 1
_CHECK_BYTES = 8


class Filters(NamedTuple):
    """Which sessions a list has. None means all of them."""

    user_id: str | None = None
    statuses: Sequence[str] | None = None


class Place(NamedTuple):
    """A place in a list: after the line with this time and id. A time of None is before all lines."""

    at: datetime | None = None
    session_id: UUID = UUID(int=0)


def cursor_after(last: SessionSummary, filters: Filters) -> str:
    """The cursor for what comes after this line of the list with these filters."""
    place = _PLACE.pack(_VERSION, (last.updated_at - _EPOCH) // _MICROSECOND, last.session_id.bytes)
    return base64.urlsafe_b64encode(place + _check(place, filters)).decode().rstrip("=")


def place_of(cursor: str, filters: Filters) -> Place:
    """The place that a cursor names. Raises InvalidInputError for what is none of a list with these filters."""
    try:
        packed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        version, microseconds, session_id = _PLACE.unpack(packed[: _PLACE.size])
        at = _EPOCH + microseconds * _MICROSECOND
    except (ValueError, binascii.Error, OverflowError, StructError):
        raise _refused() from None
    if version != _VERSION or packed[_PLACE.size :] != _check(packed[: _PLACE.size], filters):
        raise _refused()
    return Place(at, UUID(bytes=session_id))


def _check(place: bytes, filters: Filters) -> bytes:
    """Tells cursors of another list from those of this one. It is no signature: what a cursor leads to is asked for
    with the principal's own id."""
    statuses = None if filters.statuses is None else sorted(set(filters.statuses))
    bound = json.dumps([filters.user_id, statuses]).encode()
    return blake2b(place + bound, digest_size=_CHECK_BYTES, person=b"turnlog list").digest()


def _refused() -> InvalidInputError:
    return InvalidInputError("cursor", "is none that a list of this principal with these filters has given")
