"""A turn has one owner: what used to go wrong between the question and the last word."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import openai
import pytest

from tests.support import programs
from tests.support.answering import Gate, asking, brief, calling, said, slow, statuses, told, turns_of, until
from tests.support.processes import Child
from tests.support.recording import record
from turnlog import SYSTEM, Pending, Session, SessionLog, Settings
from turnlog.testing import Answer, Failure


async def test_a_second_message_while_the_first_is_answered_is_answered_with_it(session: Session) -> None:
    async with asking([slow(), Answer("both")]) as model:
        first = model.answer(session, "first", "m-1")
        await until(lambda: model.asked)
        second = model.answer(session, "second", "m-2")
        outcomes = [await first, await second]
        assert [outcome.status for outcome in outcomes] == ["finished", "finished"]
        assert outcomes[1].text == "both"
        assert model.asked == 2
        assert [role for role, _ in said(model.prompts[1])] == ["user", "assistant", "user"]
    (turn,) = await turns_of(session)
    assert [run.status for run in turn.runs] == ["finished"]


async def test_a_second_message_while_a_tool_runs_waits_for_its_result(session: Session) -> None:
    gate = Gate("21 C")
    async with asking([calling("wait"), Answer("21 C, and yes.")]) as model:
        first = model.answer(session, "first", tools=[gate.tool])
        await gate.begun.wait()
        second = model.answer(session, "second", tools=[gate.tool])
        await second.begun()
        gate.opened.set()
        assert (await first).text == (await second).text == "21 C, and yes."
        assert model.asked == 2
        assert said(model.prompts[1])[-2:] == [("tool", "21 C"), ("user", "second")]
    assert gate.runs == 1
    assert await statuses(session) == ["finished"]


async def test_a_retry_is_the_same_turn_and_is_not_paid_for_again(session: Session) -> None:
    async with asking([slow("Hello.")]) as model:
        answers = [model.answer(session, "Hi", "m-1") for _ in range(3)]
        outcomes = [await answer for answer in answers]
        later = await model.answer(session, "Hi", "m-1")
        assert {outcome.text for outcome in [*outcomes, later]} == {"Hello."}
        assert sorted(outcome.is_new for outcome in [*outcomes, later]) == [False, False, False, True]
        assert model.asked == 1
    assert not (await session.say("Hi", "m-1")).is_new
    assert (await session.say("Hi", "m-2")).is_new
    assert [len(turn.messages) for turn in await turns_of(session)] == [1, 1]


@pytest.mark.parametrize("status", [404, 401, 429])
async def test_what_a_provider_refuses_before_its_stream_is_in_the_log(session: Session, status: int) -> None:
    async with asking([Failure(status, message="No."), Answer("Now.")]) as model:
        follower = asyncio.create_task(told(session.deltas(until_turn_ends=True)))
        await asyncio.sleep(0)
        outcome = await model.answer(session, "Hi", "m-1")
        assert outcome.status == "failed"
        assert outcome.failure is not None
        assert (outcome.failure["status"], outcome.failure["message"]) == (status, "No.")
        await follower
        again = await model.answer(session, "Hi", "m-1")
        assert (again.status, again.text) == ("finished", "Now.")
        assert said(model.prompts[1]) == [("user", "Hi")]


@pytest.mark.parametrize("status", [404, 401, 429])
async def test_recording_the_request_itself_records_its_refusal(session: Session, status: int) -> None:
    await session.say("Hi")
    follower = asyncio.create_task(told(session.deltas(until_turn_ends=True)))
    async with asking([Failure(status, message="No."), Answer("Now.")]) as model:
        create = model.client.chat.completions.create
        for expected in ("failed", "finished"):
            stream = create(model="m", messages=await session.prompt(), stream=True)
            with nullcontext() if expected == "finished" else pytest.raises(openai.APIStatusError):
                await record(session, stream)
            assert await statuses(session) == [expected]
            await follower
    (turn,) = await turns_of(session)
    assert turn.steps[0].failure is not None
    assert turn.steps[0].failure["status"] == status
    assert turn.steps[0].failure["message"] == "No."


async def test_stopping_while_a_tool_runs_ends_the_turn(session: Session) -> None:
    gate = Gate()
    async with asking([calling("wait")]) as model:
        answer = model.answer(session, "Hi", tools=[gate.tool])
        await gate.begun.wait()
        assert await session.cancel("enough")
        async with asyncio.timeout(1.5):
            outcome = await answer
        assert (outcome.status, outcome.reason) == ("stopped", "enough")
        assert gate.was_cancelled
        assert not await session.cancel("enough")
        await asyncio.sleep(0.1)
        assert model.asked == 1
    assert await statuses(session) == ["stopped"]


async def test_a_process_that_dies_while_its_tool_runs_leaves_a_turn_that_another_one_finishes(
    settings: Settings,
) -> None:
    places = brief(settings)
    async with asking([calling("wait"), Answer("It may have been sent.")]) as model, SessionLog.open(places) as log:
        session = await log.start_session("u1")
        with Child(programs.answer, places, session.id, model.provider.base_url, {"message": "Send it."}) as child:
            await child.until("tool")
            child.kill()
        (unfinished,) = await log.unfinished_turns("u1")
        assert unfinished.status == "running_tools"
        async with asyncio.timeout(10):
            while not await log.reap():
                await asyncio.sleep(0.1)
        assert await statuses(session) == ["abandoned"]
        (outcome,) = await log.resume(lambda found: model.answer(found, tools=[Gate().tool]))
        assert (outcome.status, outcome.text) == ("finished", "It may have been sent.")
        assert said(model.prompts[1])[-1] == (
            "tool",
            "The tool was interrupted before it had a result. It may have had effects.",
        )
        assert model.asked == 2
        assert await log.unfinished_turns(SYSTEM) == ()


async def test_a_late_result_stands_at_the_end_and_is_answered(session: Session) -> None:
    async def render() -> Pending:
        return Pending("started")

    async with asking([calling("render"), Answer("It runs."), Answer("It is there.")]) as model:
        outcome = await model.answer(session, "Render it.", tools=[render])
        assert (outcome.status, outcome.text) == ("waiting", "It runs.")
        (call,) = (await session.view()).waiting_tool_calls
        follower = asyncio.create_task(told(session.deltas(outcome.position, until_turn_ends=True)))
        await session.add_tool_result(call.id, "frame 1", step_id=call.step_id)
        outcome = await model.answer(session, tools=[render])
        assert (outcome.status, outcome.text) == ("finished", "It is there.")
        role, content = said(model.prompts[2])[-1]
        assert role == "user"
        assert content.endswith("frame 1")
        assert "tool call render({})" in content
        assert model.prompts[2][: len(model.prompts[1])] == model.prompts[1]
        assert any(delta.kind == "tool_result" for delta in await follower)
    assert await statuses(session) == ["finished"]
