"""Usage over the whole log is what the views say, told apart by user, model and day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.real_data import real_corpus
from turnlog import SYSTEM, InvalidInputError, Session, SessionLog, UsageRow
from turnlog.infrastructure.testing import own_corpus
from turnlog.projections.usage import TOKEN_PATHS

TODAY = datetime.now(UTC).date()


async def steps_and_tokens(log: SessionLog, session: Session) -> dict[str, int]:
    """What the view says of a session."""
    view = await session.view()
    ended = [step for turn in view.turns for step in turn.steps if step.ended_at is not None]
    return {"steps": len(ended), **{name: getattr(view.usage, name) for name in TOKEN_PATHS}}


def numbers(row: UsageRow) -> dict[str, int]:
    return {name: getattr(row, name) for name in ("steps", *TOKEN_PATHS)}


async def test_usage_is_that_of_the_views_over_all_streams(log: SessionLog) -> None:
    streams = [*own_corpus(), *real_corpus()]

    async def record(user_id: str, chunks: list[dict[str, Any]]) -> tuple[str, dict[str, int]]:
        session = await log.start_session(user_id)

        async def stream() -> AsyncIterator[dict[str, Any]]:
            for chunk in chunks:
                yield chunk

        async for _ in session.record(stream()):
            pass
        return user_id, await steps_and_tokens(log, session)

    recorded = await asyncio.gather(*(record(f"u{n}", stream.parsed()) for n, stream in enumerate(streams)))
    report = await log.usage(SYSTEM, by=["user"])

    assert {row.user_id: numbers(row) for row in report.rows} == dict(recorded)
    assert sum(row.total_tokens for row in report.rows) == report.total.total_tokens > 0
    assert report.events_behind == 0


async def answer(session: Session, model: str, tokens: int) -> None:
    async with session.completion(model=model) as completion:
        await completion.text("So.")
        await completion.finish("stop", usage={"prompt_tokens": tokens, "completion_tokens": 1})


async def test_usage_is_told_apart_by_user_model_and_day(log: SessionLog) -> None:
    first, second = await log.start_session("u1"), await log.start_session("u2")
    await answer(first, "m1", 10)
    await answer(first, "m2", 20)
    await answer(second, "m1", 40)
    await second.add_usage(prompt_tokens=100, model="m1")
    await second.add_usage({"input_tokens": 2**70})

    report = await log.usage(SYSTEM)
    assert [(row.user_id, row.model, row.day, row.steps, row.prompt_tokens) for row in report.rows] == [
        ("u1", "m1", TODAY, 1, 10),
        ("u1", "m2", TODAY, 1, 20),
        ("u2", "m1", TODAY, 1, 140),
        ("u2", None, TODAY, 0, 2**70),
    ]
    by_model = await log.usage(SYSTEM, by=["model"], model="m1")
    assert [(row.user_id, row.model, row.day, row.total_tokens) for row in by_model.rows] == [(None, "m1", None, 152)]
    mine = await log.usage("u1", by=())
    assert [numbers(row) for row in mine.rows] == [numbers(mine.total)]
    assert (mine.total.steps, mine.total.prompt_tokens, mine.total.total_tokens) == (2, 30, 32)
    assert (await log.usage(SYSTEM, since=TODAY, until=str(TODAY))).total == report.total
    assert (await log.usage(SYSTEM, since=TODAY + timedelta(1))).rows == ()
    assert (await log.usage(SYSTEM, until=TODAY - timedelta(1))).rows == ()
    assert (await log.usage("nobody")).rows == ()


async def test_usage_counts_deleted_sessions_and_no_copies(log: SessionLog) -> None:
    session = await log.start_session(None)
    await answer(session, "m", 10)
    assert (await log.usage(SYSTEM, by=["user"])).rows[0].user_id is None
    async with session.completion(model="m") as completion:
        await completion.text("Not")
        fork = await log.session(session.id, SYSTEM).fork()  # with a copy of the open step, too
        await completion.finish("stop", usage={"prompt_tokens": 1})
    await answer(fork, "m", 100)
    again = await fork.fork()
    await answer(again, "m", 1000)
    await log.import_session([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}], "u1")
    await log.assign_owner(session.id, "u1")
    await log.delete_session(session.id, "u1")

    report = await log.usage(SYSTEM, by=["user"])

    assert [(row.user_id, row.steps, row.prompt_tokens) for row in report.rows] == [("u1", 2, 11), (None, 2, 1100)]


async def test_a_report_that_is_called_as_a_step_is_counts_beside_it(log: SessionLog) -> None:
    session = await log.start_session("u1")
    await answer(session, "m", 10)
    (turn,) = (await session.view()).turns
    for _ in range(2):
        await session.add_usage(prompt_tokens=100, id=turn.steps[0].step_id)

    total = (await log.usage("u1")).total
    assert (total.steps, total.prompt_tokens) == (1, 110)


async def test_a_model_that_no_database_can_write_is_counted(log: SessionLog) -> None:
    session = await log.start_session("u1")
    await answer(session, "m\0\ud83d", 10)

    assert [row.model for row in (await log.usage("u1")).rows] == ["m\ufffd\ufffd"]


async def test_without_catching_up_a_report_says_what_it_does_not_know(log: SessionLog) -> None:
    session = await log.start_session("u1")
    await answer(session, "m", 10)

    known = await log.usage("u1", catch_up=False)
    assert (known.rows, known.log_position, known.events_behind) == ((), 0, 4)
    caught_up = await log.usage("u1")
    assert (caught_up.total.steps, caught_up.log_position, caught_up.events_behind) == (1, 4, 0)


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"by": ["week"]}, "by"), ({"by": "day"}, "by"), ({"since": "now"}, "since"), ({"until": 7}, "until")],
)
async def test_usage_that_cannot_be_asked_for_is_refused(log: SessionLog, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await log.usage(SYSTEM, **asked)

    assert caught.value.field == field


async def test_usage_without_a_principal_is_refused(log: SessionLog) -> None:
    with pytest.raises(InvalidInputError):
        await log.usage(None)  # type: ignore[arg-type]
