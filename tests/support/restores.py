"""A log that goes back, as by a restore from a backup, or by a failover that lost commits: under the same names, and on
the same Redis."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from turnlog import Settings

_TABLES = "select tablename from pg_tables where schemaname = %s order by tablename"


class Backup:
    """The tables of a log as they were, with the sequence of its log positions."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.database_url or ""
        self._schema = settings.database_schema
        with self._connected() as connection:
            names = connection.execute(_TABLES, (self._schema,)).fetchall()
            self._tables = [name for (name,) in names]
            for name in self._tables:
                self._run(connection, "create table {schema}.{copy} as table {schema}.{table}", name)
            found = connection.execute(self._sql("select last_value, is_called from {schema}.{positions}")).fetchone()
            self._sequence: tuple[Any, ...] = found or ()

    def restore(self, *, except_for: tuple[str, ...] = (), cut: bool = True) -> None:
        """Everything is as it was. `cut`: connections are lost on the way, as they are by a failover."""
        with self._connected() as connection:
            for name in self._tables:
                if name in except_for:
                    continue
                self._run(connection, "alter table {schema}.{table} disable trigger user", name)
                self._run(connection, "delete from {schema}.{table}", name)
                self._run(connection, "insert into {schema}.{table} select * from {schema}.{copy}", name)
                self._run(connection, "alter table {schema}.{table} enable trigger user", name)
            setval = "select setval(format('%%I.%%I', %s::text, %s::text)::regclass, %s, %s)"
            connection.execute(setval, (self._schema, "turnlog_events_positions", *self._sequence))
        if cut:
            with self._connected() as connection:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where pid <> pg_backend_pid() and datname = current_database() and query like %s",
                    (f'%"{self._schema}"%',),
                )

    def _connected(self) -> Connection[Any]:
        return psycopg.connect(self._url)

    def _sql(self, text: LiteralString, table: str = "") -> Any:
        return SQL(text).format(
            schema=Identifier(self._schema),
            table=Identifier(table),
            copy=Identifier(f"backup_{table}"),
            positions=Identifier("turnlog_events_positions"),
        )

    def _run(self, connection: Connection[Any], text: LiteralString, table: str) -> None:
        connection.execute(self._sql(text, table))
