"""Time is the database's: what the clocks of machines say changes neither the order of lists nor the days of usage."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.sessions import answer
from turnlog import Session, SessionLog, Settings
from turnlog.infrastructure import clock

FEW = timedelta(minutes=2)


@pytest.fixture(autouse=True)
def unset_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_base", None)


class Wrong(datetime):
    """The clock of a machine that is days behind."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) - timedelta(days=3)


async def test_lists_and_days_follow_the_database_and_no_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "datetime", Wrong)
    async with SessionLog.open(settings) as log:
        first, second = await log.start_session("u1"), await log.start_session("u1")
        await second.say("hi")
        await first.say("later")
        await first.add_usage(prompt_tokens=5, model="m")

        listed = (await log.list_sessions("u1")).items
        assert [item.session_id for item in listed] == [first.id, second.id]
        assert abs(listed[0].updated_at - datetime.now(UTC)) < FEW
        assert abs((await first.view()).updated_at - datetime.now(UTC)) < FEW
        report = await log.usage("u1")
    assert {row.day for row in report.rows} <= {datetime.now(UTC).date(), (datetime.now(UTC) - FEW).date()}


async def test_a_clock_that_is_set_back_in_the_middle_of_a_step_does_not_hold_the_list_up(
    log: SessionLog, session: Session
) -> None:
    async with session.completion() as completion:
        await completion.text("a")
        reading = asyncio.get_running_loop().time()
        clock.set_clock(datetime.now(UTC) - timedelta(hours=2), reading, reading)
        await asyncio.sleep(0)
        await completion.text("b")
        assert (await log.list_sessions("u1")).items[0].version == (await session.view()).version
        await completion.finish("stop")


async def test_time_goes_on_between_two_questions_for_it(session: Session) -> None:
    await answer(session, "a")
    assert abs(clock.now() - datetime.now(UTC)) < FEW
    at = clock.now()
    await asyncio.sleep(0.05)
    assert timedelta(milliseconds=40) < clock.now() - at < FEW
