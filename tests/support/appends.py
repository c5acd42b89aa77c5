"""Appends of others that are in the way of whoever reads the whole log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg

from turnlog.infrastructure.settings import Settings


@contextmanager
def under_way(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """An append whose transaction is still open."""
    nulls = ", ".join(["null"] * 11)
    with psycopg.connect(settings.database_url or "") as connection:
        connection.execute(
            f"select {settings.database_schema}.turnlog_events_append(%s, %s, %s, %s, {nulls})".encode(),
            ([uuid4()], [1], ["t"], [b"x"]),
        )
        yield connection


@contextmanager
def held_back(settings: Settings) -> Iterator[None]:
    """An append that looked for its place long ago, and has not begun: the head of the log goes back to the start."""
    with psycopg.connect(settings.database_url or "") as connection:
        table = f"{settings.database_schema}.turnlog_events"
        connection.execute("select pg_advisory_lock_shared(%s::regclass::oid::integer, 0)", (table,))
        yield
