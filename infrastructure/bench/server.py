"""A database to measure on, of the run's own: nothing of the user's is touched, and nothing is left behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Composed, Identifier

from turnlog.domain.errors import StoreUnavailableError
from turnlog.infrastructure.embedded import EmbeddedServers


@contextmanager
def fresh_database(server_url: str | None) -> Iterator[str]:
    """The URL of an empty database on that server, or on a throw-away embedded one with Postgres' defaults.

    Raises StoreUnavailableError where the server cannot be reached or refuses a new database.
    """
    with _server(server_url) as url:
        name = f"turnlog_bench_{token_hex(4)}"
        _run(url, SQL("create database {}").format(Identifier(name)))
        try:
            yield make_conninfo(url, dbname=name)
        finally:
            _run(url, SQL("drop database {} with (force)").format(Identifier(name)))


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    folder = Path(tempfile.mkdtemp(prefix="turnlog-bench-"))
    try:
        with EmbeddedServers(folder, redis=False) as embedded:
            yield embedded.start().database_url or ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(url: str, statement: Composed) -> None:
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)
    except psycopg.Error as error:
        raise StoreUnavailableError(f"Postgres: {error}") from error
