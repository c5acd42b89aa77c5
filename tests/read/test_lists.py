"""Lists by cursor: every session once and in order, and a page that reads its own lines and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest

from tests.support.database import rows
from tests.support.inputs import refused
from turnlog import SYSTEM, SessionLog, SessionPage, SessionSummary, Settings
from turnlog.infrastructure.store import lists
from turnlog.infrastructure.store.list_cursor import Filters, cursor_after
from turnlog.infrastructure.store.list_statements import list_name
from turnlog.infrastructure.store.statements import Statements

THEN = datetime(2026, 11, 30, 12, tzinfo=UTC)
STATUSES = ["open", "finished", "failed", None]
FILTERS: list[tuple[Any, list[str] | None]] = [
    (SYSTEM, None),
    ("u1", None),
    (SYSTEM, ["finished"]),
    (SYSTEM, ["open", "failed", "open"]),
    ("u2", ["finished", "open"]),
    ("u1", ["queued"]),
]


class Line(NamedTuple):
    session_id: UUID
    user_id: str | None
    updated_at: datetime
    deleted: bool
    turn_status: str | None


@pytest.fixture
def lines(log: SessionLog, settings: Settings) -> list[Line]:
    """Lines of many sessions, a lot of them of one time."""
    rng = Random(7)
    made = [
        Line(
            UUID(int=rng.getrandbits(128)),
            rng.choice(["u1", "u2", None]),
            THEN + timedelta(microseconds=rng.choice([0, 1, 2, rng.randrange(10**9)])),
            rng.random() < 0.1,
            rng.choice(STATUSES),
        )
        for _ in range(200)
    ]
    insert(settings, made)
    return made


def insert(settings: Settings, lines: list[Line]) -> None:
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute(f"set search_path to {settings.database_schema}".encode())
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into turnlog_sessions (session_id, user_id, updated_at, deleted, turn_status, started_at,"
                " version) values (%s, %s, %s, %s, %s, now(), 1)",
                lines,
            )


def expected(lines: list[Line], principal: Any, statuses: list[str] | None) -> list[UUID]:
    """As the list is defined."""
    there = [
        line
        for line in lines
        if not line.deleted
        and principal in (SYSTEM, line.user_id)
        and (statuses is None or line.turn_status in statuses)
    ]
    return [line.session_id for line in sorted(there, key=lambda line: (THEN - line.updated_at, line.session_id))]


async def pages_of(log: SessionLog, principal: Any, limit: int, status: Any) -> list[SessionPage]:
    pages = [await log.list_sessions(principal, limit, status=status)]
    while pages[-1].next_cursor is not None:
        pages.append(await log.list_sessions(principal, limit, status=status, cursor=pages[-1].next_cursor))
    return pages


async def test_pages_by_cursor_have_every_session_once_and_in_order(log: SessionLog, lines: list[Line]) -> None:
    for principal, statuses in FILTERS:
        wanted = expected(lines, principal, statuses)
        for limit in (1, 7, 100):
            pages = await pages_of(log, principal, limit, statuses)
            assert [item.session_id for page in pages for item in page.items] == wanted
            assert len(pages) == max(1, -(-len(wanted) // limit))
            assert [page.total for page in pages] == [len(wanted), *[None] * (len(pages) - 1)]
        by_offset = [
            item.session_id
            for offset in range(0, len(wanted), 40)
            for item in (await log.list_sessions(principal, 40, offset, statuses)).items  # type: ignore[arg-type]
        ]
        assert by_offset == wanted
        beyond = await log.list_sessions(principal, 40, 2**40, statuses)  # type: ignore[arg-type]
        assert (beyond.items, beyond.total, beyond.next_cursor) == ((), len(wanted), None)


async def test_ids_come_in_their_order_in_pieces(
    log: SessionLog, lines: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "ID_PAGE_SESSIONS", 7)
    for principal in (SYSTEM, "u1", "nobody"):
        found = [session_id async for session_id in log.session_ids(principal)]
        assert found == sorted(expected(lines, principal, None))


async def test_a_session_that_is_active_between_two_pages_is_not_listed_twice(log: SessionLog) -> None:
    sessions = [await log.start_session("u1") for _ in range(6)]
    first = await log.list_sessions("u1", 2)
    await sessions[5].say("Hi")  # it was on the first page
    await sessions[0].say("Hi")  # it would have been on the last one
    second = await log.list_sessions("u1", 10, cursor=first.next_cursor)

    assert [item.session_id for item in first.items] == [sessions[5].id, sessions[4].id]
    assert [item.session_id for item in second.items] == [sessions[number].id for number in (3, 2, 1)]
    assert (await log.list_sessions("u1", 1)).items[0].session_id == sessions[0].id


async def test_a_total_is_counted_up_to_a_thousand_or_as_far_as_it_is_asked_for(
    log: SessionLog, settings: Settings
) -> None:
    def total_of(page: SessionPage) -> tuple[int | None, bool]:
        return page.total, page.next_cursor is not None

    rng = Random(3)
    insert(settings, [Line(UUID(int=rng.getrandbits(128)), "u1", THEN, False, "open") for _ in range(1_000)])
    assert total_of(await log.list_sessions("u1", 1)) == (1_000, True)
    assert total_of(await log.list_sessions("u1", 1, with_total=False)) == (None, True)
    await log.start_session("u1")
    for asked in ({}, {"status": ["open"]}):
        page = await log.list_sessions(SYSTEM, 100, **asked)  # type: ignore[arg-type]
        assert total_of(page) == ((1_000 if asked else None), True)
    page = await log.list_sessions("u1", 100)
    assert total_of(page) == (None, True)
    assert total_of(await log.list_sessions("u1", 100, with_total=True)) == (1_001, True)
    after = await log.list_sessions("u1", 100, cursor=page.next_cursor, with_total=True)
    assert total_of(after) == (1_001, True)
    assert total_of(await log.list_sessions("nobody", with_total=True)) == (0, False)


BAD_CURSORS: list[Any] = ["", "x", "a" * 44, "é" * 44, "A" * 1_000_000, "_-" * 22, "\ud800", 7, b"x", True]


async def test_what_is_no_cursor_is_refused(log: SessionLog) -> None:
    for cursor in BAD_CURSORS:
        with refused("cursor"):
            await log.list_sessions("u1", cursor=cursor)


async def test_a_cursor_of_another_list_is_refused(log: SessionLog) -> None:
    for user in ("u1", "u2"):
        for _ in range(3):
            await (await log.start_session(user)).say("Hi")
    cursors = {
        (principal, status): (await log.list_sessions(principal, 1, status=status)).next_cursor  # type: ignore[arg-type]
        for principal in ("u1", "u2", SYSTEM)
        for status in (None, ("open",), ("open", "failed"))
    }
    for principal, status in cursors:
        for of, cursor in cursors.items():
            assert cursor is not None
            if of == (principal, status):
                page = await log.list_sessions(principal, 1, status=status, cursor=cursor)  # type: ignore[arg-type]
                assert len(page.items) == 1
            else:
                with refused("cursor"):
                    await log.list_sessions(principal, 1, status=status, cursor=cursor)  # type: ignore[arg-type]
    # The order of the statuses, and one that is there twice, make no other list; nor does the size of the page.
    cursor = cursors["u1", ("open", "failed")]
    assert len((await log.list_sessions("u1", 9, status=["failed", "open", "open"], cursor=cursor)).items) == 2


async def test_each_character_of_a_cursor_counts(log: SessionLog) -> None:
    for _ in range(2):
        await log.start_session("u1")
    cursor = (await log.list_sessions("u1", 1)).next_cursor or ""
    for place, character in enumerate(cursor):
        with refused("cursor"):
            broken = cursor[:place] + ("B" if character == "A" else "A") + cursor[place + 1 :]
            await log.list_sessions("u1", 1, cursor=broken)
        with refused("cursor"):
            await log.list_sessions("u1", 1, cursor=cursor[:place])


async def test_an_offset_beside_a_cursor_and_a_bad_with_total_are_refused(log: SessionLog) -> None:
    for _ in range(2):
        await log.start_session("u1")
    cursor = (await log.list_sessions("u1", 1)).next_cursor
    with refused("offset"):
        await log.list_sessions("u1", 1, 1, cursor=cursor)
    with refused("with_total"):
        await log.list_sessions("u1", with_total=1)  # type: ignore[arg-type]


# What a page reads


def scanned(plan: dict[str, Any]) -> Iterator[float]:
    """The rows that scans of tables and indexes have read."""
    if plan["Node Type"] not in ("Subquery Scan", "Function Scan") and "Scan" in plan["Node Type"]:
        removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        yield (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    for below in plan.get("Plans", []):
        yield from scanned(below)


def rows_read(connection: psycopg.Connection[Any], statements: Statements, name: str, *params: Any) -> float:
    with connection.transaction():
        connection.execute(statements["by_index"])
        statement = f"explain (analyze, format json) {statements[name].as_string()}"
        cursor = connection.execute(statement.encode(), params, prepare=True)
        ((found,),) = cursor.fetchall()
    plan = json.loads(found) if isinstance(found, str) else found
    return sum(scanned(plan[0]["Plan"]))


@pytest.mark.owner  # who else may not have the planner know the table
@pytest.mark.parametrize("known", ["nothing", "other lines", "all"])
async def test_every_page_of_every_list_reads_its_own_lines(log: SessionLog, settings: Settings, known: str) -> None:
    def fill(user: str, first: int, last: int) -> None:
        rows(
            settings,
            f"""insert into turnlog_sessions
                (session_id, user_id, updated_at, deleted, turn_status, started_at, version)
            select gen_random_uuid(), {user}, timestamptz '2026-11-30 12:00Z' - make_interval(secs => n / 4 / 10.0),
                n % 20 = 0, case n % 4 when 0 then 'failed' when 1 then 'open' else 'finished' end, now(), 1
            from generate_series({first}, {last}) n""",
        )

    fill("'u' || n", 1, 3_000)
    if known != "nothing":
        rows(settings, "analyze turnlog_sessions")
    fill("'u' || n % 3", 3_001, 12_000)
    if known == "all":
        rows(settings, "analyze turnlog_sessions")
    statements, first = Statements(settings.database_schema), (datetime.max.replace(tzinfo=UTC), UUID(int=0))
    half = UUID(int=2**127)
    places = [first, *((THEN - timedelta(seconds=seconds), half) for seconds in (100.5, 299))]
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        for of_user, by_status in ((False, False), (False, True), (True, False), (True, True)):
            asked = list_name(of_user=of_user, by_status=by_status), "u1" if of_user else None
            asked += (["finished"] if by_status else None,)

            def read(at: datetime, after: UUID, skipped: int, count_to: int, asked: Any = asked) -> float:
                return rows_read(connection, statements, *asked, at, after, 21, skipped, count_to)

            assert [read(*place, 0, 0) <= 21 + 4 for place in places] == [True] * 3
            assert read(*first, 0, 101) <= 101 + 21
            assert read(*first, 100, 0) <= 121
        assert rows_read(connection, statements, "session_ids_of_user", "u1", half, 50) <= 50
        assert rows_read(connection, statements, "session_ids", half, 50) <= 50 * 1.3  # deleted ones among them


def test_a_cursor_names_the_last_line_to_the_microsecond() -> None:
    last = SessionSummary(
        session_id=UUID(int=5), user_id="u1", title=None, started_at=THEN, version=1,
        updated_at=datetime(2026, 11, 30, 12, 0, 0, 999_999, tzinfo=UTC),
    )  # fmt: skip
    later = last.model_copy(update={"updated_at": last.updated_at + timedelta(microseconds=1)})
    other = last.model_copy(update={"session_id": UUID(int=6)})
    assert len({cursor_after(line, Filters("u1")) for line in (last, later, other)}) == 3
    assert cursor_after(last, Filters("u1")) != cursor_after(last, Filters())
