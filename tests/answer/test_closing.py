"""Closing a log while it answers: whichever is closed first, somebody can go on, and what was shown stays."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.answering import Gate, asking, calling, said, slow, statuses, turns_of, until
from turnlog import LogClosedError, Session, SessionLog, Settings
from turnlog.testing import Answer


@pytest.mark.parametrize("first", ["the log", "the client"])
@pytest.mark.parametrize("then", ["it is gone on with", "another message comes"])
async def test_an_answer_that_is_closed_in_mid_stream_is_abandoned(
    settings: Settings, session: Session, first: str, then: str
) -> None:
    async with asking([slow(delay=0.1), Answer("Again.")]) as model:
        async with SessionLog.open(settings) as log:
            answer = model.answer(log.session(session.id, "u1"), "Hi", "m-1")
            shown = ""
            async for delta in answer:
                if delta.kind == "text":
                    shown += delta.text
                if len(shown) > 5:
                    break
            if first == "the client":
                await model.client.close()
        if first == "the log":
            with pytest.raises(LogClosedError):
                await answer
        assert await statuses(session) == ["abandoned"]
        (turn,) = await turns_of(session)
        assert turn.steps[-1].message.content.startswith(shown)
        async with asking([Answer("Again.")]) as other:
            if then == "it is gone on with":
                assert (await other.answer(session, "Hi", "m-1")).text == "Again."
                assert said(other.prompts[0]) == [("user", "Hi")]
                assert (await turns_of(session))[0].steps[1].supersedes == turn.steps[0].step_id
            else:
                assert (await other.answer(session, "And?")).text == "Again."
                assert said(other.prompts[0])[1] == ("assistant", turn.steps[-1].message.content)
                assert said(await session.prompt())[:3] == said(other.prompts[0])


@pytest.mark.parametrize("first", ["the log", "the client"])
async def test_an_answer_that_is_closed_while_a_tool_runs_is_abandoned(
    settings: Settings, session: Session, first: str
) -> None:
    gate = Gate()
    async with asking([calling("wait")]) as model:
        async with SessionLog.open(settings) as log:
            answer = model.answer(log.session(session.id, "u1"), "Hi", "m-1", tools=[gate.tool])
            await gate.begun.wait()
            if first == "the client":
                await model.client.close()
                gate.opened.set()
                assert (await answer).status == "abandoned"
        assert await statuses(session) == ["abandoned"]
        assert gate.was_cancelled == (first == "the log")
    async with asking([Answer("Done.")]) as other:
        assert (await other.answer(session, tools=[gate.tool])).text == "Done."
        assert said(other.prompts[0])[-1][0] == "tool"
    assert gate.runs == 1
    assert await statuses(session) == ["finished"]


async def test_a_waiter_of_a_closed_log_hears_it_and_the_turn_goes_on_elsewhere(
    settings: Settings, session: Session
) -> None:
    gate = Gate()
    async with asking([calling("wait"), Answer("Both.")]) as model:
        first = model.answer(session, "one", tools=[gate.tool])
        await gate.begun.wait()
        async with SessionLog.open(settings) as log:
            waiter = await model.answer(log.session(session.id, "u1"), "two").begun()
        with pytest.raises(LogClosedError):
            await waiter
        gate.opened.set()
        assert (await first).text == "Both."


async def test_queued_messages_outlive_the_log(settings: Settings, session: Session) -> None:
    gate = Gate()
    async with asking([calling("wait"), Answer("One."), Answer("Two.")]) as model:
        async with SessionLog.open(settings) as log:
            there = log.session(session.id, "u1")
            model.answer(there, "one", tools=[gate.tool])
            await gate.begun.wait()
            model.answer(there, "two", on_busy="queue")
            await until(lambda: len(log._parts.answers) == 2)
            await asyncio.sleep(0.1)
        assert await statuses(session) == ["abandoned", "queued"]
        assert (await model.answer(session, tools=[gate.tool])).text == "One."
        await until(lambda: model.asked == 3)
        await asyncio.sleep(0.2)
    assert await statuses(session) == ["finished", "finished"]


async def test_nothing_is_left_running_when_a_log_is_closed(settings: Settings, session: Session) -> None:
    before = len(asyncio.all_tasks())
    async with asking([slow(), slow()]) as model:
        async with SessionLog.open(settings) as log:
            for _ in range(3):
                await model.answer(log.session(session.id, "u1"), "Hi").begun()
        await until(lambda: len(asyncio.all_tasks()) <= before + 1)
