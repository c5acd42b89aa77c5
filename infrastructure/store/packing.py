"""From a batch to the parameters of the append function: a binary array for each column."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from turnlog.infrastructure.store import arrays
from turnlog.infrastructure.store.appends import Append, Past
from turnlog.infrastructure.store.rows import KeyRow, SessionRow

Parameters = Sequence[bytes | None]

_EVENT_TYPES = (arrays.UUID, arrays.INT8, arrays.TEXT, arrays.BYTEA)
_SESSION_TYPES = (
    arrays.UUID, arrays.TEXT, arrays.BYTEA, arrays.TIMESTAMPTZ, arrays.TIMESTAMPTZ, arrays.INT8, arrays.BOOL,
    arrays.TEXT, arrays.TEXT, arrays.TEXT, arrays.TIMESTAMPTZ, arrays.INT8,
)  # fmt: skip
_KEY_TYPES = (arrays.UUID, arrays.BYTEA, arrays.TEXT, arrays.BOOL)
_BASE_TYPES = (arrays.UUID, arrays.INT8, arrays.INT8)
_NO_SESSIONS: Parameters = (None,) * len(_SESSION_TYPES)
_NO_KEYS: Parameters = (None,) * len(_KEY_TYPES)
_NO_BASES: Parameters = (None,) * len(_BASE_TYPES)
_COLUMN_TYPES = (*_EVENT_TYPES, *_SESSION_TYPES, *_KEY_TYPES, *_BASE_TYPES)
PARAMETER_TYPES = [*(arrays.ARRAY_OF[kind] for kind in _COLUMN_TYPES), arrays.INT8, arrays.INT8, arrays.INT8]


def new_commit_id() -> int:
    """A random number for the events of one commit."""
    return secrets.randbits(62)


def pack_appends(appends: Sequence[Append], commit_id: int, past: Past) -> Parameters:
    """The parameters for these appends, with the lines of the lists and the keys that go with them, and with the commit
    before them and the events that new lanes rest on.

    All of them are in the order of the sessions' ids, in every process, so that two processes never wait for each
    other's rows.
    """
    appends = sorted(appends, key=attrgetter("id_bytes"))
    columns = _single(appends) or _several(appends)
    sessions = {append.session.session_id: append.session for append in appends if append.session}
    keys = [row for append in appends for row in append.keys]
    # Of keys that may be left again the last one counts. Of the others Postgres finds the ones that come twice.
    again = {(row.session_id, row.key): row for row in keys if not row.once}
    keys = sorted([*(row for row in keys if row.once), *again.values()], key=attrgetter("session_id", "key"))
    return [
        *_event_arrays(*columns),
        *_session_arrays([sessions[session_id] for session_id in sorted(sessions)]),
        *_key_arrays(keys),
        *_base_arrays(resting([append for append in appends if append.lane.past != past.number])),
        past.log_position.to_bytes(8),
        past.commit_id.to_bytes(8),
        commit_id.to_bytes(8),
    ]


Columns = tuple[Sequence[bytes], Sequence[int], Sequence[str], Sequence[bytes]]
"""Of events: the sessions' ids, positions, topics, and bodies."""


def _single(appends: Sequence[Append]) -> Columns | None:
    """The events of appends with one each, as those of deltas are; None where one has more."""
    rows = [append.rows for append in appends if append.count == 1]
    if len(rows) != len(appends):
        return None
    return (
        [append.id_bytes for append in appends],
        [append.position for append in appends],
        [row[0] for row in rows],
        [row[1] for row in rows],
    )


def _several(appends: Sequence[Append]) -> Columns:
    ids: list[bytes] = []
    positions: list[int] = []
    rows: list[Any] = []
    for append in appends:
        ids += [append.id_bytes] * append.count
        positions += range(append.position, append.position + append.count)
        rows += append.rows
    return ids, positions, rows[::2], rows[1::2]


def resting(appends: Sequence[Append]) -> list[Append]:
    """The appends that rest on an event which is stored already: the first one of each session, but not its very
    first."""
    firsts = {append.id_bytes: append for append in reversed(appends)}
    return [append for append in firsts.values() if append.position > 1]


def pack_rows(
    ids: Sequence[bytes], positions: Sequence[int], topics: Sequence[str], states: Sequence[bytes]
) -> Parameters:
    """The parameters for events alone."""
    events = _event_arrays(ids, positions, topics, states)
    nothing_before = (0).to_bytes(8)
    return [
        *events, *_NO_SESSIONS, *_NO_KEYS, *_NO_BASES, nothing_before, nothing_before, new_commit_id().to_bytes(8)
    ]  # fmt: skip


def _event_arrays(
    ids: Iterable[bytes], positions: Iterable[int], topics: Sequence[str], states: Sequence[bytes]
) -> Parameters:
    return [arrays.uuids(ids), arrays.int8s(positions), arrays.names(topics), arrays.bodies(states)]


def _session_arrays(rows: Sequence[SessionRow]) -> Parameters:
    if not rows:
        return _NO_SESSIONS
    return [
        arrays.uuids(row.session_id.bytes for row in rows),
        _texts(row.user_id for row in rows),
        arrays.byteas(row.title for row in rows),
        arrays.timestamps(row.started_at for row in rows),
        arrays.timestamps(row.updated_at for row in rows),
        arrays.int8s(row.version for row in rows),
        arrays.bools(row.deleted for row in rows),
        _texts(row.writer for row in rows),
        _texts(row.turn.status for row in rows),
        _texts(row.turn.unfinished for row in rows),
        arrays.timestamps(row.turn.since for row in rows),
        arrays.int8s(row.turn.waiting_calls for row in rows),
    ]


def _texts(values: Iterable[str | None]) -> bytes:
    return arrays.texts(None if value is None else value.encode() for value in values)


def _key_arrays(rows: Sequence[KeyRow]) -> Parameters:
    if not rows:
        return _NO_KEYS
    return [
        arrays.uuids(row.session_id.bytes for row in rows),
        arrays.byteas(row.key for row in rows),
        arrays.texts(row.value.encode() for row in rows),
        arrays.bools(row.once for row in rows),
    ]


def _base_arrays(appends: Sequence[Append]) -> Parameters:
    if not appends:
        return _NO_BASES
    return [
        arrays.uuids(append.id_bytes for append in appends),
        arrays.int8s(append.position - 1 for append in appends),
        arrays.int8s(append.owner.stored_commit_id for append in appends),
    ]
