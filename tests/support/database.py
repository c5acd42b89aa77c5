"""The database of a test, asked without turnlog."""

from __future__ import annotations

from typing import Any

import psycopg

from turnlog import Settings


def rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    """What a statement gives, on a connection of its own that looks into the test's schema."""
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute(f"set search_path to {settings.database_schema}".encode())
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
