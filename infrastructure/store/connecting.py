"""The one way to a connection. Whoever needs one, the pool, a wire or a caller with a lock, comes through here.

Each connection speaks UTF-8, whatever the environment, the URL or the role say, and is looked at before it is used.
Behind a pooler a transaction may meet another server process than the one before it. There nothing is prepared, because
a prepared statement stays with its server process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection, ProgrammingError
from psycopg.abc import Query
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from turnlog.domain.errors import (
    DatabaseEncodingError,
    DatabaseVersionError,
    InvalidInputError,
    TurnlogError,
    UnfitDatabaseError,
)
from turnlog.infrastructure.process import close_in_children
from turnlog.infrastructure.urls import without_secrets

OLDEST_POSTGRES = 14

KEEPALIVE: dict[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""Options of libpq by which a host that is gone is noticed within half a minute. The kernel's default is two hours."""

NOT_LIBPQS = "is not a connection URL of libpq: it has an option that libpq does not know, or a wrong % or blank"

ROOMY_IDLE_SECONDS = 60.0
"""Seconds that a connection stays open which nobody uses, where the server has room for many more."""
CROWDED_IDLE_SECONDS = 2.0
"""The same where it has not: processes that share it then come by with hardly more than one connection each."""
ROOMY_SHARE = 0.25
"""The server has room as long as no larger part of its connections is there."""

_WHICH_SERVER: Query = """
select pg_backend_pid(), (select count(*) from pg_stat_activity) as connections,
    current_setting('max_connections')::integer as max_connections
"""
_CREATE_IN_UTF8 = "Make one with: create database NAME encoding 'UTF8' template template0"


class Door:
    """Makes connections to the database at a URL. `timeout` is the number of seconds to connect in. `failure` is why
    the last attempt failed; None after one that did not. `idle_seconds`: how long a connection stays open that nobody
    uses, by how full the server was when the last one was made."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._refusal: Callable[[], TurnlogError] | None = None
        self.failure: Exception | None = None
        self.idle_seconds = CROWDED_IDLE_SECONDS
        self.options: dict[str, Any] = {
            "autocommit": True,
            "connect_timeout": max(2, round(timeout)),
            "client_encoding": "utf8",
            **KEEPALIVE,
        }

    def connect(self, **options: Any) -> Connection[DictRow]:
        """A connection, in autocommit mode. Raises psycopg.Error and UnfitDatabaseError."""
        self._check_open()
        try:
            connection = Connection[DictRow].connect(self._url, row_factory=dict_row, **{**self.options, **options})
            try:
                _check(connection)
                self._look(connection, connection.execute(_WHICH_SERVER).fetchone())
            except BaseException:
                connection.close()
                raise
        except (psycopg.Error, UnfitDatabaseError) as error:
            self.failure = error
            raise
        self.failure = None
        return connection

    async def connect_async(self) -> AsyncConnection[DictRow]:
        """The same, for the event loop."""
        self._check_open()
        connection = await AsyncConnection[DictRow].connect(self._url, row_factory=dict_row, **self.options)
        try:
            _check(connection)
            self._look(connection, await (await connection.execute(_WHICH_SERVER)).fetchone())
        except BaseException:
            await connection.close()
            raise
        return connection

    def _look(self, connection: psycopg.BaseConnection[Any], row: DictRow | None) -> None:
        if _is_pooled(connection, row):
            connection.prepare_threshold = None
        is_roomy = row is not None and row["connections"] <= ROOMY_SHARE * row["max_connections"]
        self.idle_seconds = ROOMY_IDLE_SECONDS if is_roomy else CROWDED_IDLE_SECONDS

    def refuse(self, error: Callable[[], TurnlogError]) -> None:
        """Makes no connection from now on, and raises this error instead."""
        self._refusal = error

    def _check_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal()

    def why(self, error: Exception) -> str:
        """Why there is no connection, in libpq's words. The error of the pool says only that it waited in vain."""
        return without_secrets(str(self.failure or error).strip(), self._url)


def is_pooled(connection: psycopg.BaseConnection[Any]) -> bool:
    """Whether the connection leads to a pooler, so that nothing may stay in the server process."""
    return connection.prepare_threshold is None


def _is_pooled(connection: psycopg.BaseConnection[Any], row: DictRow | None) -> bool:
    # A pooler gives out keys for cancelling that it has made up, and no server process has their number.
    return row is None or row["pg_backend_pid"] != connection.pgconn.backend_pid


def _check(connection: psycopg.BaseConnection[Any]) -> None:
    """By what the server says of itself when it is connected to: this takes no round trip."""
    close_in_children(connection, type(connection).fileno)
    info = connection.info
    if fault := fault_of(
        info.server_version, info.parameter_status("server_encoding"), info.parameter_status("client_encoding")
    ):
        raise fault


def fault_of(version: int, server_encoding: str | None, client_encoding: str | None) -> UnfitDatabaseError | None:
    """What is wrong with a server of this version number (140005 is 14.5) and these encodings."""
    if version < OLDEST_POSTGRES * 10_000:
        return DatabaseVersionError(
            f"Postgres {version // 10_000} is too old", f"turnlog needs Postgres {OLDEST_POSTGRES} or newer"
        )
    if not _is_utf8(server_encoding):
        return DatabaseEncodingError(
            f"the encoding of the database is {server_encoding}: a log needs one in UTF8", _CREATE_IN_UTF8
        )
    if not _is_utf8(client_encoding):
        return DatabaseEncodingError(
            f"the encoding of the connection is {client_encoding}, although UTF8 was asked for",
            "See to the pooler between turnlog and Postgres: it has to take client_encoding",
        )
    return None


def _is_utf8(encoding: str | None) -> bool:
    # A pooler may say nothing of it, or repeat how it was asked for.
    return encoding is None or encoding.upper().replace("-", "") in {"UTF8", "UNICODE"}


def check_url(url: str) -> None:
    """Raises InvalidInputError if libpq does not take this as a connection URL or string."""
    try:
        conninfo_to_dict(url)
    except ProgrammingError:
        # Without libpq's message: it repeats a piece of the URL, and that may be of the password.
        raise InvalidInputError("database_url", NOT_LIBPQS) from None
