"""The harness can see: what is done to a log behind its back is found by the same looks that follow every fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import psycopg
import pytest

from tests.chaos.calls import Call
from tests.chaos.run import Run
from tests.chaos.servers import Servers
from turnlog import SYSTEM, Session

pytestmark = pytest.mark.servers

_STATE = "state = convert_to(replace(convert_from(state, 'UTF8'), '{}', '{}'), 'UTF8')"
_ONE = "originator_id = '{session}' and originator_version = {at}"
_LAST = "(select max(originator_version) from turnlog_events where originator_id = '{session}')"

IN_ROWS = {
    "a row is deleted": f"delete from turnlog_events where {_ONE}",
    "the last row is deleted": "delete from turnlog_events where originator_id = '{session}' "
    f"and originator_version = {_LAST}",
    "a row is stored twice": f"""insert into turnlog_events select originator_id, 1 + {_LAST}, topic, state,
        nextval('turnlog_events_positions') from turnlog_events where {_ONE}""",
    "a text is another session's": f"update turnlog_events set {_STATE.format('{tag}', '0' * 12)} where {_ONE}",
    "the owner is another": f"update turnlog_events set {_STATE.format('{user}', 'somebody')} "
    "where originator_id = '{session}' and originator_version = 1",
    "two rows are exchanged": """update turnlog_events set originator_version = originator_version + 1000000
        where originator_id = '{session}' and originator_version in ({at}, {at} + 1);
        update turnlog_events set originator_version = 2 * {at} + 1 - originator_version + 1000000
        where originator_id = '{session}' and originator_version > 1000000""",
    "a piece of a text is gone": f"update turnlog_events set {_STATE.format(' 7', '')} "
    "where topic = 'text-delta.v1' and originator_id = '{session}'",
    "a session is not in the lists": "delete from turnlog_sessions where session_id = '{session}'",
    "nothing": "select 1",
}
"""What somebody does to the tables. Each must be found."""


@asynccontextmanager
async def worked(servers: Servers) -> AsyncIterator[tuple[Run, Call]]:
    """A run after some work in which nothing was wrong, and a message in it that was acknowledged."""
    async with Run.open(servers, 3) as run:
        run.arena.model.begin()
        call = None
        while call is None:  # how much is done in a while says how busy the machine is
            run.arena.begin(Random())
            await asyncio.sleep(0.5)
            await run.arena.finish()
            call = said(run)
        assert await run.looked() == []
        model = run.arena.model
        others = [each for each in model.touched if each != call.session_id]
        model.touched = {call.session_id, others[0]}  # a look at all of them takes longer
        yield run, call


def said(run: Run) -> Call | None:
    """A message that was acknowledged, in a session that has an answer, too."""
    model = run.arena.model
    for session_id in model.touched:
        known = [one for one in model.by_session[session_id] if one.acked_at is not None]
        if {"answer", "say"} <= {one.call.kind for one in known}:
            return next(one.call for one in known if one.call.kind == "say")
    return None


@contextmanager
def unprotected(run: Run) -> Iterator[Any]:
    """A connection on which rows can be changed. They are as they were afterwards, and so is what Redis holds."""
    tables = ("turnlog_events", "turnlog_sessions", "turnlog_heads", "turnlog_pages")
    with run.arena.servers.admin() as admin, run.arena.servers.redis() as redis:
        admin.execute("alter table turnlog_events disable trigger all")
        for table in tables:
            admin.execute(f"create table kept_{table} as table {table}".encode())
        redis.flushall()
        yield admin
        redis.flushall()
        for table in tables:
            admin.execute(f"truncate {table}; insert into {table} table kept_{table}; drop table kept_{table}".encode())


async def test_what_is_changed_in_the_tables_is_found(attacked: Servers) -> None:
    async with worked(attacked) as (run, call):
        missed = []
        for name, statement in IN_ROWS.items():
            with unprotected(run) as admin:
                at = "select originator_version from turnlog_events where originator_id = %s and state like %s"
                (place,) = admin.execute(at, (call.session_id, f'%"{call.id}"%'.encode())).fetchone()
                values = {"session": call.session_id, "at": place, "tag": call.session_id.hex[:12], "user": call.user}
                admin.execute("delete from turnlog_heads; delete from turnlog_pages")
                admin.execute(statement.format(**values).encode())
                missed += [] if await run.looked() else [name]
        assert missed == ["nothing"]
        assert await run.looked() == []


async def test_what_is_answered_wrongly_or_not_stored_is_found(
    attacked: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worked(attacked) as (run, call):
        other = next(each for each in run.arena.model.touched if each != call.session_id)
        for name in ("prompt", "view"):
            with monkeypatch.context() as patched:
                swap_answers(patched, name, call.session_id, other)
                assert await run.looked(), f"the {name} of another session"
        assert await run.looked() == []

        model = run.arena.model
        model.hear(1, ("try", replace(call, id="never stored")))
        model.hear(1, ("ack", "never stored", None))
        assert "is stored 0 times" in str(await run.looked())


def swap_answers(monkeypatch: pytest.MonkeyPatch, name: str, one: Any, other: Any) -> None:
    """Two sessions answer with what the other one has."""
    original = getattr(Session, name)

    async def answered(session: Session, *args: Any, **options: Any) -> Any:
        asked = {one: other, other: one}.get(session.id, session.id)
        return await original(Session(session._parts, session._parts.aggregate(asked), SYSTEM), *args, **options)

    monkeypatch.setattr(Session, name, answered)


async def test_a_lock_that_outlives_its_statement_is_found(attacked: Servers) -> None:
    async with Run.open(attacked, 4) as run:
        with psycopg.connect(run.arena.servers.database_url, autocommit=True) as holder:
            holder.execute("select pg_advisory_lock(1)")
            assert "advisory" in str(await run.looked())
