"""A datastore for the library's recorders that takes a whole connection URL."""

from __future__ import annotations

from typing import Any

from eventsourcing.postgres import ConnectionPool, PostgresDatastore
from psycopg import Connection, ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from turnlog.domain.errors import InvalidInputError


class UrlDatastore(PostgresDatastore):
    """As the library's, but all of libpq's options (sslmode, options, several hosts, ...) can be in the URL."""

    def __init__(self, url: str, *, schema: str, pool_size: int, timeout: float) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", schema=schema)
        self.pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
            url,
            connection_class=Connection[DictRow],
            kwargs={"row_factory": dict_row, "connect_timeout": max(2, round(timeout)), **_KEEPALIVE},
            min_size=1,
            max_size=pool_size,
            open=False,
            configure=self.after_connect_func(),
            timeout=timeout,
            reconnect_timeout=timeout,
        )


def check_url(url: str) -> None:
    """Raises InvalidInputError for what libpq does not take as a connection URL or string."""
    try:
        conninfo_to_dict(url)
    except ProgrammingError:
        # Not what libpq says: it repeats the URL, password included.
        raise InvalidInputError("database_url", "is not a connection URL of libpq") from None


# A database host that vanished is noticed in seconds, not in the hours of the kernel's default.
_KEEPALIVE: dict[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
