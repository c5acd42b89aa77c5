"""The harness can see: what is done to a log behind its back is found by the same looks that follow every fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest

from tests.chaos.calls import Call, WrongAnswerError
from tests.chaos.reads import READS
from tests.chaos.run import Run
from tests.chaos.servers import Servers
from tests.chaos.worker import Worker
from turnlog import SYSTEM, Session, SessionLog, SessionView
from turnlog.domain import events as e

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
        for name, change in VIEWS.items():
            with monkeypatch.context() as patched:
                change_views(patched, change)
                assert ("is not the fold" in str(await run.looked())) == (name != "the same"), name
        for name in ("view", "prompt", "say"):
            with monkeypatch.context() as patched:
                let_strangers_in(patched, name)
                assert "a stranger was let in" in str(await run.looked()), name
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


VIEWS: dict[str, Callable[[SessionView], SessionView]] = {
    "a field is another": lambda view: view.model_copy(update={"title": "another"}),
    "the last turn is not there": lambda view: view.model_copy(update={"turns": view.turns[:-1]}),
    "it is of before the last event": lambda view: view.model_copy(update={"version": view.version - 1}),
    "the same": lambda view: view,
}
"""What a view may have that the fold has not."""


def change_views(monkeypatch: pytest.MonkeyPatch, change: Callable[[SessionView], SessionView]) -> None:
    """Whoever asks for a view gets another one."""
    original = Session.view

    async def answered(session: Session) -> SessionView:
        return change(await original(session))

    monkeypatch.setattr(Session, "view", answered)


def let_strangers_in(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Nobody asks whose the session is. Nothing is stored."""
    original = getattr(Session, name)

    def answered(session: Session, *args: Any, **options: Any) -> Any:
        everybody = Session(session._parts, session._aggregate, SYSTEM)
        return asyncio.sleep(0) if name == "say" else original(everybody, *args, **options)

    monkeypatch.setattr(Session, name, answered)


@pytest.mark.parametrize("name", ["view", "prompt", "say", "add_tool_result", "follow"])
async def test_a_stranger_who_is_told_anything_is_found_by_the_callers(
    log: SessionLog, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    session, worker = await log.start_session("u1"), cast("Worker", SimpleNamespace(log=log))
    call = Call("1", "intrude", session.id, "u1")
    await READS["intrude"](worker, session, call)
    let_strangers_in(monkeypatch, name)
    with pytest.raises(WrongAnswerError, match="a stranger was"):
        await READS["intrude"](worker, session, call)


async def test_a_lock_that_outlives_its_statement_is_found(attacked: Servers) -> None:
    async with Run.open(attacked, 4) as run:
        with psycopg.connect(run.arena.servers.database_url, autocommit=True) as holder:
            holder.execute("select pg_advisory_lock(1)")
            assert "advisory" in str(await run.looked())


async def test_a_turn_that_is_broken_is_found_by_the_looks_that_follow_a_fault(attacked: Servers) -> None:
    async with Run.open(attacked, 9) as run:
        model, talk = run.arena.model, None
        model.begin()
        while talk is None:
            run.arena.begin(Random())
            await run.arena.hold(0.4, 0.5)
            await run.arena.finish()
            assert await run.looked() == []
            talk = finished_talk(run)
        model.touched = {talk}
        with unprotected(run) as admin:
            last = f"select max(originator_version) from turnlog_events where originator_id = '{talk}'"
            admin.execute(
                f"delete from turnlog_events where originator_id = '{talk}' and originator_version = ({last})".encode()
            )
            admin.execute(b"delete from turnlog_heads; delete from turnlog_pages")
            assert "something is left" in str(await run.looked())
        assert await run.looked() == []

        model.effects[talk, "send", "a key"] = 2
        assert "tool send has run 2 times" in str(await run.looked())
        model.effects.clear()
        run.arena.till._paid[talk.hex] += 100
        assert "were paid for" in str(await run.looked())


def finished_talk(run: Run) -> UUID | None:
    """A session whose last event is the end of a turn."""
    for talk, events in run.checker.histories(run.arena.model.talks()).items():
        if events and isinstance(events[-1].event, e.TurnEnded) and events[-1].event.status == "finished":
            return talk
    return None
