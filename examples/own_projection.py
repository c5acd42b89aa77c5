"""A projection of one's own: how many questions each day brought, over all sessions, in a table to query.

    python examples/own_projection.py
    turnlog project examples.own_projection:Questions --once
    turnlog rebuild examples.own_projection:Questions

Without DATABASE_URL it runs on embedded servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg

from turnlog import Projection, RecordedEvent, SessionLog
from turnlog.domain.events import MessageAdded


class Questions(Projection):
    """Questions by day (UTC). In the database the table is `turnlog_projection_questions`."""

    name = "questions"
    events = (MessageAdded,)
    tables = "create table {questions} (day date primary key, asked bigint not null)"

    def process(self, recorded: RecordedEvent) -> Iterator[tuple[str, tuple[object, ...]]]:
        """The statements for an event: committed together with the projection's position, so each counts once."""
        message = recorded.event
        if isinstance(message, MessageAdded) and message.role == "user":
            add = "insert into {questions} as q values (%s, 1) on conflict (day) do update set asked = q.asked + 1"
            yield add, (message.at.date(),)


async def main() -> None:
    """Asks two questions, brings the projection up to the log, and reads its table."""
    async with SessionLog.open() as log:
        session = await log.start_session(user_id="u1")
        await session.say("What is the weather?")
        await session.say("And tomorrow?")
        position = await log.projections.catch_up(Questions())
        print(f"up to log position {position}:")
        table = f'"{log.settings.database_schema}".turnlog_projection_questions'
        async with await psycopg.AsyncConnection.connect(log.settings.database_url or "") as connection:
            rows = await connection.execute(f"select day, asked from {table} order by day")  # noqa: S608 our own name
            async for day, asked in rows:
                print(f"{day}  {asked}")


if __name__ == "__main__":
    asyncio.run(main())
