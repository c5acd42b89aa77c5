"""The SQL of the store: named statements from queries.sql, and the schema from schema.sql."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString

from psycopg.sql import SQL, Composed, Identifier, Literal

from turnlog.domain.events import TextDelta
from turnlog.infrastructure.store.list_statements import list_statements

EVENTS_TABLE = "turnlog_events"
SCHEMA_VERSION = 7
LOCK_TIMEOUT_MS = 4_000
"""Less than a connection has for an answer by default: Postgres says why it gives up, and the watchdog could not."""

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Statements:
    """The statements for one database schema and events table."""

    def __init__(self, schema: str = "public", events: str = EVENTS_TABLE) -> None:
        self.schema = schema
        self.events = events
        self._names = {
            "schema": Identifier(schema),
            "events": Identifier(events),
            "append": Identifier(f"{events}_append"),
            "events_literal": Literal(f'"{schema}"."{events}"'),
            "events_notification_id": Identifier(f"{events}_notification_id_idx"),
            "notification_id_literal": Literal(f"{events}_notification_id_idx"),
            "positions": Identifier(f"{events}_positions"),
            "positions_literal": Literal(f'"{schema}"."{events}_positions"'),
            "settled": Identifier(f"{events}_settled"),
            "lock_timeout": Literal(str(LOCK_TIMEOUT_MS)),
            "version": Literal(SCHEMA_VERSION),
            "text_delta": Literal(TextDelta.topic),
        }
        queries = _queries()
        self._statements = {name: SQL(text).format(**self._names) for name, text in queries.items()}
        self._statements |= list_statements(self._names["schema"])

    def __getitem__(self, name: str) -> Composed:
        return self._statements[name]

    def create(self) -> Composed:
        """The statements that create the schema or bring it up to date, in order."""
        return SQL(packaged("schema.sql")).format(**self._names)


@cache
def _queries() -> dict[str, str]:
    parts = _NAME.split(packaged("queries.sql"))
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


@cache
def packaged(name: str) -> LiteralString:
    """The text of a file of SQL beside this one."""
    return files(__package__).joinpath(name).read_text("utf-8")
