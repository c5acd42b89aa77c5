"""What a turn waits for: final results that come late, calls that somebody else answers, and decisions about calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.answering import Gate, asking, calling, said, slow, statuses, turns_of, until
from tests.support.segments import short_segments
from turnlog import (
    SYSTEM,
    Pending,
    PromptPolicy,
    Session,
    SessionLog,
    Settings,
    Tool,
    ToolContext,
    ToolResultConflictError,
    UnknownToolCallError,
)
from turnlog.testing import Answer, ToolCall

SPEC = {"type": "function", "function": {"name": "pick", "parameters": {"type": "object"}}}


async def started() -> Pending:
    """Its work goes on elsewhere."""
    return Pending("started")


# Results that come late


async def test_a_tool_that_has_returned_gives_its_final_result_itself(session: Session) -> None:
    """Its task was started by the owner of the turn, which has ended by then."""
    goes_on = asyncio.Event()
    work = list[asyncio.Task[None]]()

    async def render(context: ToolContext) -> Pending:
        async def finish() -> None:
            await goes_on.wait()
            await context.session.add_tool_result(context.call_id, "frame 1", step_id=context.step_id)

        work.append(asyncio.create_task(finish()))
        return Pending("started")

    async with asking([calling("render"), Answer("It runs."), Answer("There.")]) as model:
        assert (await model.answer(session, "Render.", tools=[render])).status == "waiting"
        goes_on.set()
        await work[0]
        assert await statuses(session) == ["queued"]
        assert (await model.answer(session, tools=[render])).text == "There."
        assert said(model.prompts[2])[-1][1].endswith("frame 1")


async def test_a_result_that_comes_while_the_turn_is_in_hand_is_answered_in_it(
    session: Session, other_log: SessionLog
) -> None:
    there = other_log.session(session.id, "u1")
    async with asking([calling("started"), slow("It runs."), Answer("There.")]) as model:
        answer = model.answer(session, "Render.", tools=[started])
        await until(lambda: model.asked == 2)
        (call,) = (await there.view()).waiting_tool_calls
        await there.add_tool_result(call.id, "frame 1", step_id=call.step_id)
        outcome = await answer
        assert (outcome.status, outcome.text) == ("finished", "There.")
        assert [role for role, _ in said(model.prompts[2])] == ["user", "assistant", "tool", "assistant", "user"]
        assert model.prompts[2][: len(model.prompts[1])] == model.prompts[1]


async def test_a_result_that_comes_while_messages_are_queued_is_in_the_next_turn(session: Session) -> None:
    gate = Gate()
    async with asking([calling("started", "wait"), slow("It runs."), Answer("Both.")]) as model:
        first = model.answer(session, "one", "m-1", tools=[started, gate.tool])
        await gate.begun.wait()
        queued = await model.answer(session, "two", "m-2", on_busy="queue").begun()
        gate.opened.set()
        await until(lambda: model.asked == 2)
        (call,) = (await session.view()).waiting_tool_calls
        async for delta in first:
            if delta.kind == "text":
                break
        await session.add_tool_result(call.id, "frame 1", step_id=call.step_id)
        model.provider.add(Answer("And two."))
        assert (await first).text == "Both."
        assert (await queued).text == "And two."
        assert said(model.prompts[3])[-1] == ("user", "two")


async def test_a_late_result_in_place_by_policy(session: Session) -> None:
    policy = PromptPolicy(late_results="in_place")
    async with asking([calling("started"), Answer("It runs."), Answer("There.")]) as model:
        await model.answer(session, "Render.", tools=[started], policy=policy)
        (call,) = (await session.view()).waiting_tool_calls
        await session.add_tool_result(call.id, "frame 1", step_id=call.step_id)
        await session.say("And?")
        await model.answer(session, tools=[started], policy=policy)
        assert said(model.prompts[2])[2:] == [("tool", "frame 1"), ("assistant", "It runs."), ("user", "And?")]


async def test_an_approved_call_whose_work_goes_on_elsewhere_leaves_nothing_to_do(session: Session) -> None:
    tool = Tool(started, needs_approval=True)
    async with asking([calling("started"), Answer("It runs."), Answer("There.")]) as model:
        await model.answer(session, "Render.", tools=[tool])
        (call,) = (await session.view()).waiting_tool_calls
        await session.approve(call.id, by="anna")
        assert (await model.answer(session, tools=[tool])).status == "waiting"
        assert await statuses(session) == ["waiting"]
        await session.add_tool_result(call.id, "frame 1", step_id=call.step_id)
        assert (await model.answer(session, tools=[tool])).status == "finished"
        assert model.asked == 3


# Calls that somebody else answers


async def test_calls_without_a_function_wait_for_all_their_results(session: Session, other_log: SessionLog) -> None:
    async with asking([calling("pick", "pick", "wait"), Answer("Picked.")]) as model:
        gate = Gate()
        gate.opened.set()
        tools: list[Any] = [SPEC, gate.tool]
        assert (await model.answer(session, "Pick two.", tools=tools)).status == "waiting"
        there = other_log.session(session.id, "u1")
        one, two = await other_log.waiting_tool_calls("u1")
        assert (one.name, one.waits_for, one.session_id) == ("pick", "result", session.id)
        await there.add_tool_result(one.id, "red", step_id=one.step_id)
        assert (await model.answer(there, tools=tools)).status == "waiting"
        assert model.asked == 1
        await there.add_tool_result(two.id, "blue", step_id=two.step_id)
        assert await statuses(session) == ["queued"]
        assert (await model.answer(there, tools=tools)).text == "Picked."
        assert [content for role, content in said(model.prompts[1]) if role == "tool"] == ["red", "blue", "done"]
    assert not await other_log.waiting_tool_calls("u1")


async def test_a_message_does_not_wait_for_a_call_that_somebody_else_answers(session: Session) -> None:
    async with asking([calling("pick"), Answer("Never mind."), Answer("Late, but thanks.")]) as model:
        await model.answer(session, "Pick one.", tools=[SPEC])
        assert (await model.answer(session, "Forget it.", tools=[SPEC])).text == "Never mind."
        assert said(model.prompts[1])[-2:] == [("tool", "The result is not there yet."), ("user", "Forget it.")]
        (call,) = (await session.view()).waiting_tool_calls
        await session.add_tool_result(call.id, "red", step_id=call.step_id)
        assert (await model.answer(session, tools=[SPEC])).text == "Late, but thanks."
        assert said(model.prompts[2])[-1][1].endswith("red")


# Decisions


def send_tool(sent: list[str], **options: Any) -> Tool:
    def send(to: str) -> str:
        """Sends it."""
        sent.append(to)
        return f"sent to {to}"

    return Tool(send, needs_approval=True, **options)


async def test_a_call_runs_when_somebody_has_allowed_it_in_another_process(
    session: Session, settings: Settings
) -> None:
    sent: list[str] = []
    tools = [send_tool(sent)]
    async with asking([calling("send", to="anna"), Answer("It is sent.")]) as model:
        outcome = await model.answer(session, "Send it.", tools=tools)
        assert (outcome.status, sent) == ("waiting", [])
        async with SessionLog.open(settings) as later:  # minutes or days later
            there = later.session(session.id, "u1")
            (call,) = await later.waiting_tool_calls("u1")
            assert (call.name, call.arguments, call.waits_for) == ("send", '{"to": "anna"}', "decision")
            assert (
                await model.answer(there, tools=tools, message="Send it.", message_id=outcome.message_id)
            ).status == "waiting"
            for _ in range(2):
                await there.approve(call.id, by="boss", reason="it is fine", step_id=call.step_id)
            assert [turn.status for turn in await later.unfinished_turns(SYSTEM)] == ["queued"]
            assert (await model.answer(there, tools=tools)).text == "It is sent."
            with pytest.raises(UnknownToolCallError):
                await there.approve("another", by="boss")
        assert sent == ["anna"]
        assert said(model.prompts[1])[-1] == ("tool", "sent to anna")
    (turn,) = await turns_of(session)
    (approval,) = turn.steps[0].approvals
    assert (approval.approved, approval.by, approval.reason) == (True, "boss", "it is fine")


async def test_a_refusal_is_a_result_that_the_model_reads(session: Session) -> None:
    sent: list[str] = []
    async with asking([calling("send", to="anna"), Answer("I will not.")]) as model:
        await model.answer(session, "Send it.", tools=[send_tool(sent)])
        (call,) = (await session.view()).waiting_tool_calls
        await session.refuse(call.id, by="boss", reason="not to her")
        await session.refuse(call.id, by="boss", reason="not to her")
        with pytest.raises(ToolResultConflictError):
            await session.refuse(call.id, by="boss", reason="another reason")
        assert (await model.answer(session, tools=[send_tool(sent)])).text == "I will not."
        role, content = said(model.prompts[1])[-1]
        assert role == "tool"
        assert "not to her" in content
        assert sent == []


async def test_a_decision_may_be_for_the_turn(session: Session) -> None:
    sent: list[str] = []
    tools = [send_tool(sent)]
    replies = [calling("send", to="a"), calling("send", to="b"), Answer("Sent."), calling("send", to="c")]
    async with asking(replies) as model:
        await model.answer(session, "Send it.", tools=tools)
        (call,) = (await session.view()).waiting_tool_calls
        await session.approve(call.id, by="boss", for_turn=True)
        assert (await model.answer(session, tools=tools)).text == "Sent."
        assert sent == ["a", "b"]
        assert (await model.answer(session, "Again.", tools=tools)).status == "waiting"
        assert sent == ["a", "b"]


async def test_a_decision_for_a_turn_holds_however_many_steps_have_come_since(session: Session) -> None:
    sent: list[str] = []
    tools = [send_tool(sent)]
    replies = [*(calling("send", to=str(number)) for number in range(12)), Answer("Sent.")]
    with short_segments():
        async with asking(replies) as model:
            await model.answer(session, "Send it.", message_id="m", tools=tools)
            (call,) = (await session.view()).waiting_tool_calls
            await session.approve(call.id, by="boss", for_turn=True)
            assert (await model.answer(session, tools=tools, max_steps=8)).status == "failed"
            outcome = await model.answer(session, "Send it.", message_id="m", tools=tools)
    assert sent == [str(number) for number in range(12)]
    assert (outcome.text, len(outcome.turn.steps)) == ("Sent.", 13)
    assert outcome.turn == (await session.view()).turns[0]


async def test_the_turn_waits_until_all_is_decided_and_runs_the_rest(log: SessionLog, session: Session) -> None:
    sent: list[str] = []
    gate = Gate()
    gate.opened.set()
    tools = [send_tool(sent), gate.tool]
    step = Answer(tool_calls=[ToolCall("send", {"to": "a"}), ToolCall("wait"), ToolCall("send", {"to": "b"})])
    async with asking([step, Answer("Sent.")]) as model:
        await model.answer(session, "Send it.", tools=tools)
        assert gate.runs == 1
        one, two = (await session.view()).waiting_tool_calls
        await session.approve(one.id, by="boss")
        assert (await model.answer(session, tools=tools)).status == "waiting"
        assert (sent, model.asked) == (["a"], 1)
        assert [turn.status for turn in await log.unfinished_turns("u1")] == ["waiting"]
        await session.refuse(two.id, by="boss")
        assert (await model.answer(session, tools=tools)).text == "Sent."
        assert (sent, gate.runs) == (["a"], 1)


async def test_a_decision_that_comes_while_another_tool_runs_is_carried_out_by_the_owner(
    session: Session, other_log: SessionLog
) -> None:
    sent: list[str] = []
    gate = Gate()
    step = Answer(tool_calls=[ToolCall("send", {"to": "a"}), ToolCall("wait")])
    async with asking([step, Answer("Sent.")]) as model:
        answer = model.answer(session, "Send it.", tools=[send_tool(sent), gate.tool])
        await gate.begun.wait()
        there = other_log.session(session.id, "u1")
        while not (calls := (await there.view()).waiting_tool_calls):
            await asyncio.sleep(0.01)
        await there.approve(calls[0].id, by="boss")
        gate.opened.set()
        assert (await answer).text == "Sent."
        assert (sent, gate.runs) == (["a"], 1)
    (turn,) = await turns_of(session)
    assert len(turn.runs) == 1


async def test_a_message_that_comes_while_a_decision_is_due_is_answered_without_it(session: Session) -> None:
    sent: list[str] = []
    gate = Gate()
    step = Answer(tool_calls=[ToolCall("send", {"to": "a"}), ToolCall("wait")])
    async with asking([step, Answer("I wait."), Answer("Now it is sent.")]) as model:
        tools = [send_tool(sent), gate.tool]
        first = model.answer(session, "Send it.", tools=tools)
        await gate.begun.wait()
        second = await model.answer(session, "What takes so long?", tools=tools).begun()
        gate.opened.set()
        assert (await second).text == (await first).text == "I wait."
        assert await statuses(session) == ["waiting"]
        results = [content for role, content in said(model.prompts[1]) if role == "tool"]
        assert results == ["done", "The tool has not run: somebody has to allow this call first."]
        (call,) = (await session.view()).waiting_tool_calls
        await session.approve(call.id, by="boss")
        assert (await model.answer(session, tools=tools)).text == "Now it is sent."
        assert (sent, gate.runs) == (["a"], 1)
        assert model.prompts[2][: len(model.prompts[1])] == model.prompts[1]
        assert said(model.prompts[2])[-1][1].endswith("sent to a")


async def test_a_call_of_an_earlier_turn_can_be_allowed(session: Session) -> None:
    sent: list[str] = []
    tools = [send_tool(sent)]
    async with asking([calling("send", to="a"), Answer("Hello."), Answer("Sent.")]) as model:
        await model.answer(session, "Send it.", tools=tools)
        (call,) = (await session.view()).waiting_tool_calls
        assert (await model.answer(session, "Hi", tools=tools)).text == "Hello."
        await session.approve(call.id, by="boss")
        assert (await model.answer(session, tools=tools)).text == "Sent."
        assert sent == ["a"]
        assert said(model.prompts[2])[-1][1].endswith("sent to a")
    assert (await session.view()).waiting_tool_calls == ()


async def test_arguments_that_need_no_approval_run_at_once(session: Session) -> None:
    sent: list[str] = []

    def send(to: str) -> str:
        sent.append(to)
        return "sent"

    tool = Tool(send, needs_approval=lambda arguments: arguments["to"] != "me")
    async with asking([calling("send", to="me"), calling("send", to="all")]) as model:
        assert (await model.answer(session, "Send it.", tools=[tool])).status == "waiting"
        assert sent == ["me"]


async def test_only_one_of_many_deciders_runs_the_tool(session: Session, other_log: SessionLog) -> None:
    sent: list[str] = []
    tools = [send_tool(sent)]
    async with asking([calling("send", to="a"), Answer("Sent.")]) as model:
        await model.answer(session, "Send it.", tools=tools)
        (call,) = (await session.view()).waiting_tool_calls

        async def decide(each: Session) -> Any:
            await each.approve(call.id, by="boss")
            return await model.answer(each, tools=tools)

        there = other_log.session(session.id, "u1")
        outcomes = await asyncio.gather(*(decide(each) for each in (session, there) * 3), return_exceptions=True)
        assert {getattr(outcome, "text", "Sent.") for outcome in outcomes} == {"Sent."}
        assert (sent, model.asked) == (["a"], 2)
