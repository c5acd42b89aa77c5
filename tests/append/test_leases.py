"""One writer a step, and leases: who counts as alive, for how long, and who may go on after it."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.database import rows
from tests.support.prompt_rules import check_chat_prompt
from tests.support.recording import spoken
from tests.support.sessions import answer, contents, ends, only_step, steps
from tests.support.writers import BRIEF, begun, die
from turnlog import Session, SessionLog, Settings, StepClosedError, TurnInProgressError
from turnlog.domain import events as e
from turnlog.infrastructure.clock import now


async def test_a_second_completion_is_refused_while_one_is_open(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("First.")
        with pytest.raises(TurnInProgressError):
            await answer(session, "Second.")
        await completion.finish("stop")
    assert contents((await session.view()).messages) == ["First."]


async def test_of_two_completions_that_start_at_once_exactly_one_is_refused(session: Session) -> None:
    outcomes = await asyncio.gather(
        answer(session, "First ", "answer."), answer(session, "Second ", "answer."), return_exceptions=True
    )
    (refused,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(refused, TurnInProgressError)
    assert only_step(await session.view()).status == "finished"


async def test_of_two_completions_the_one_that_is_decided_second_is_refused(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    recalled, may_go_on, held_up = session._aggregate._recalled, asyncio.Event(), []

    async def hold_up_the_first(command: Any) -> Any:
        held_up.append(command)
        if len(held_up) == 1:
            await may_go_on.wait()
        return await recalled(command)

    monkeypatch.setattr(session._aggregate, "_recalled", hold_up_the_first)
    first = asyncio.create_task(answer(session, "First."))
    await asyncio.sleep(0.05)
    async with session.completion() as second:
        may_go_on.set()
        with pytest.raises(TurnInProgressError):
            await first
        await second.text("Second.")
        await second.finish("stop")
    assert only_step(await session.view()).message.content == "Second."


# Alive


@pytest.mark.parametrize("takeover", [False, True])
async def test_a_completion_is_refused_while_another_log_writes_and_says_which(
    brief_log: SessionLog, log: SessionLog, takeover: bool
) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "First")
    ours = log.session(theirs.id, "u1")
    with pytest.raises(TurnInProgressError) as refused:
        await answer(ours, "Second", takeover=takeover)
    refusal, (step,) = refused.value, await steps(ours)
    assert (refusal.step_id, refusal.since) == (completion.step_id, step.started_at)
    assert (refusal.writer, refusal.pid) == (brief_log._parts.lease.writer_id, os.getpid())
    assert refusal.host in str(refusal)
    assert refusal.until is not None
    assert 0 < (refusal.until - datetime.now(UTC)).total_seconds() <= BRIEF
    await completion.text(" goes on")
    await completion.finish()
    assert await ends(ours) == [("finished", "First goes on")]


async def test_a_lease_is_renewed_for_as_long_as_a_step_takes(brief_log: SessionLog, log: SessionLog) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "slow")
    await asyncio.sleep(3 * BRIEF)
    with pytest.raises(TurnInProgressError):
        await answer(log.session(theirs.id, "u1"), "Second")
    assert await log.reap() == ()
    await completion.text("ly")
    await completion.finish()
    assert await ends(theirs) == [("finished", "slowly")]


async def test_the_refusal_in_the_same_log_names_the_process(session: Session) -> None:
    completion = await begun(session, "First")
    with pytest.raises(TurnInProgressError, match=f"by process {os.getpid()}") as refused:
        await answer(session, "Second", takeover=True)
    assert refused.value.step_id == completion.step_id
    await completion.finish()


async def test_steps_of_one_log_have_one_lease_and_one_that_only_reads_has_none(
    settings: Settings, log: SessionLog
) -> None:
    reading = await log.start_session("u1")
    await reading.say("hi")
    await reading.view()
    assert rows(settings, "select * from turnlog_writers") == []
    completions = [await begun(await log.start_session("u1"), "x") for _ in range(3)]
    assert rows(settings, "select writer_id from turnlog_writers") == [(log._parts.lease.writer_id,)]
    assert len(rows(settings, "select * from turnlog_sessions where writer is not null")) == 3
    for completion in completions:
        await completion.finish()
    assert rows(settings, "select * from turnlog_sessions where writer is not null") == []


async def test_no_delta_asks_for_the_lease(log: SessionLog, session: Session) -> None:
    completion = await begun(session)
    asked: list[str] = []
    fetch = log._parts.store.recorder.fetch
    log._parts.store.recorder.fetch = lambda name, *params: (asked.append(name), fetch(name, *params))[1]  # type: ignore[method-assign]
    for _ in range(50):
        await completion.text("x")
    await completion.finish()
    async with session.completion() as second:
        await second.finish()
    assert asked == []


async def test_a_log_that_is_closed_ends_what_is_open_and_its_lease(settings: Settings, log: SessionLog) -> None:
    async with SessionLog.open(settings) as closing:
        session = await closing.start_session("u1")
        await begun(session, "half")
    ours = log.session(session.id, "u1")
    assert await ends(ours) == [("interrupted", "half")]
    assert rows(settings, "select * from turnlog_writers") == []


async def test_a_lease_is_renewed_while_all_readers_are_busy(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"lease_seconds": 1.5})) as log:
        session = await log.start_session("u1")
        async with session.completion() as answer:
            await answer.text("a")
            await asyncio.gather(*(log._parts.store.run(time.sleep, 2.5) for _ in range(4)))
            await answer.text("b")
            await answer.finish()
        assert [step.status for step in (await session.view()).turns[0].steps] == ["finished"]


# Gone


async def test_once_the_lease_has_run_out_the_next_completion_abandons_the_step(
    brief_log: SessionLog, log: SessionLog
) -> None:
    theirs = await brief_log.start_session("u1")
    await begun(theirs, "half")
    await die(brief_log)
    ours = log.session(theirs.id, "u1")
    with pytest.raises(TurnInProgressError):
        await answer(ours, "too early")
    await asyncio.sleep(BRIEF)
    await answer(ours, "next")
    assert await ends(ours) == [("abandoned", "half"), ("finished", "next")]
    check_chat_prompt(await ours.prompt())


async def test_a_takeover_waits_until_the_lease_has_run_out(brief_log: SessionLog, log: SessionLog) -> None:
    theirs = await brief_log.start_session("u1")
    await begun(theirs, "half")
    await die(brief_log)
    ours = log.session(theirs.id, "u1")
    async with asyncio.timeout(5 * BRIEF):
        async for _ in ours.record(spoken("next"), takeover=True):
            pass
    assert await ends(ours) == [("abandoned", "half"), ("finished", "next")]


async def test_a_takeover_of_a_step_that_its_writer_ends_is_refused_for_it_was_alive(
    brief_log: SessionLog, log: SessionLog
) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "First")
    taking = asyncio.create_task(answer(log.session(theirs.id, "u1"), "Second", takeover=True))
    await asyncio.sleep(0.1)  # short of the renewal that would show it alive
    await completion.finish()
    with pytest.raises(TurnInProgressError) as refused:
        await taking
    assert refused.value.step_id == completion.step_id
    assert await ends(theirs) == [("finished", "First")]


async def test_of_several_that_take_over_one_does_and_the_others_are_refused(
    brief_log: SessionLog, settings: Settings, log: SessionLog
) -> None:
    async with SessionLog.open(settings) as second, SessionLog.open(settings) as third:
        theirs = await brief_log.start_session("u1")
        takers = [each.session(theirs.id, "u1") for each in (log, second, third)]
        await begun(theirs, "half")
        await die(brief_log)  # late: who comes when it was reaped or answered may give another answer
        outcomes = await asyncio.gather(
            *(answer(taker, "next", takeover=True) for taker in takers), return_exceptions=True
        )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType"] + ["TurnInProgressError"] * 2
    assert await ends(log.session(theirs.id, "u1")) == [("abandoned", "half"), ("finished", "next")]


@pytest.mark.parametrize("takeover", [False, True])
async def test_who_found_a_step_in_the_way_that_somebody_else_took_over_and_answered_is_refused(
    settings: Settings,
    brief_log: SessionLog,
    log: SessionLog,
    other_log: SessionLog,
    monkeypatch: pytest.MonkeyPatch,
    takeover: bool,
) -> None:
    theirs = await brief_log.start_session("u1")
    await begun(theirs, "half")
    await die(brief_log)
    rows(settings, "update turnlog_writers set expires_at = clock_timestamp()")
    look = log._parts.lease.others

    async def look_slowly(writers: Any) -> Any:
        found = await look(writers)
        monkeypatch.undo()
        await answer(other_log.session(theirs.id, "u1"), "next")
        return found

    monkeypatch.setattr(log._parts.lease, "others", look_slowly)
    ours = log.session(theirs.id, "u1")
    with pytest.raises(TurnInProgressError):
        await answer(ours, "again", takeover=takeover)
    assert await ends(ours) == [("abandoned", "half"), ("finished", "next")]


async def test_a_step_without_a_writer_of_before_there_were_leases_is_in_nobodys_way(
    settings: Settings, log: SessionLog, session: Session
) -> None:
    await begun(session, "old")
    await die(log)
    # As the topic's old golden file has it: without the fields.
    rows(settings, "alter table turnlog_events disable trigger turnlog_immutable")
    rows(
        settings,
        """update turnlog_events set state = convert_to(
            (convert_from(state, 'utf8')::jsonb - 'writer' - 'lease_seconds')::text, 'utf8'
        ) where topic = 'completion-started.v1'""",
    )
    async with SessionLog.open(settings) as other:
        ours = other.session(session.id, "u1")
        await answer(ours, "new")
        assert await ends(ours) == [("abandoned", "old"), ("finished", "new")]


async def test_a_writer_that_slept_past_its_lease_comes_back_under_another_id(
    settings: Settings, brief_log: SessionLog, log: SessionLog
) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "half")
    before = brief_log._parts.lease.writer_id
    rows(settings, "update turnlog_writers set expires_at = clock_timestamp()")  # as if it had slept
    await asyncio.sleep(BRIEF)
    with pytest.raises(StepClosedError):
        await completion.text(" more")
    assert await ends(log.session(theirs.id, "u1")) == [("abandoned", "half")]
    await answer(theirs, "again")
    assert brief_log._parts.lease.writer_id != before
    assert await ends(theirs) == [("abandoned", "half"), ("finished", "again")]


async def test_a_lease_that_lapsed_while_nothing_was_open_harms_nothing(brief_log: SessionLog) -> None:
    session = await brief_log.start_session("u1")
    await answer(session, "one")
    await asyncio.sleep(2 * BRIEF)
    await answer(session, "two")
    assert await ends(session) == [("finished", "one"), ("finished", "two")]


async def test_what_the_old_writer_has_under_way_at_a_takeover_is_refused(
    settings: Settings, brief_log: SessionLog, log: SessionLog
) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "half")
    rows(settings, "update turnlog_writers set expires_at = clock_timestamp()")
    ours = log.session(theirs.id, "u1")
    await answer(ours, "next")
    outcomes = await asyncio.gather(*(completion.text("late") for _ in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StepClosedError}
    assert await ends(ours) == [("abandoned", "half"), ("finished", "next")]


async def test_of_many_logs_that_take_over_at_once_one_gets_the_step(settings: Settings, brief_log: SessionLog) -> None:
    theirs = await brief_log.start_session("u1")
    await begun(theirs, "half")
    await die(brief_log)
    await asyncio.sleep(BRIEF)

    async def take_over(number: int) -> str:
        async with SessionLog.open(settings) as log:
            try:
                async with log.session(theirs.id, "u1").completion(takeover=False) as completion:
                    await completion.text(str(number))
                    await together.wait()
                    await completion.finish("stop")
            except TurnInProgressError:
                await together.wait()
                return "refused"
            return "won"

    together = asyncio.Barrier(5)
    outcomes = await asyncio.gather(*(take_over(number) for number in range(5)))
    assert sorted(outcomes) == ["refused"] * 4 + ["won"]
    assert [status for status, _ in await ends(theirs)] == ["abandoned", "finished"]


async def test_an_end_that_could_not_be_stored_is_given_up_with_the_lease(
    settings: Settings, brief_log: SessionLog, log: SessionLog
) -> None:
    theirs, lease = await brief_log.start_session("u1"), brief_log._parts.lease
    completion, before = await begun(theirs, "half"), lease.writer_id
    lease.left(completion.step_id)
    end = e.CompletionFinished(at=now(), step_id=completion.step_id, finish_reason="stop")
    lease._unended[completion.step_id] = (theirs._aggregate, end)  # as where Postgres was away
    rows(settings, "update turnlog_writers set expires_at = clock_timestamp()")
    assert lease._keeping is not None
    await lease._keeping
    assert lease.writer_id != before
    assert await ends(log.session(theirs.id, "u1")) == [("open", "half")]
