"""Turns, steps, tools and commits as spans, by the conventions for generative AI."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.support.answering import asking, slow
from tests.support.telemetry import Telemetry
from turnlog import Session, SessionLog, StepClosedError, TurnInProgressError
from turnlog.testing import Answer, ToolCall

QUESTION, SECRET, RESULT = "what is the weather", "it is a secret", "21 degrees"


def weather(city: str) -> str:
    """The weather."""
    from opentelemetry import trace

    with trace.get_tracer("application").start_as_current_span("inside the tool"):
        return f"{RESULT} in {city}"


async def answered(session: Session) -> None:
    script = [Answer(tool_calls=[ToolCall("weather", {"city": "Paris"})]), Answer(SECRET)]
    async with asking(script) as model:
        await model.answer(session, QUESTION, tools=[weather])


async def test_a_turn_is_a_span_with_its_steps_and_tools_as_children(session: Session, telemetry: Telemetry) -> None:
    await answered(session)

    turn, tool = telemetry.span("invoke_agent"), telemetry.span("execute_tool weather")
    steps = telemetry.spans("chat m")
    assert [span.parent.span_id for span in (*steps, tool)] == [turn.context.span_id] * 3
    assert turn.parent is None
    assert turn.attributes["turnlog.turn.status"] == "finished"
    assert turn.attributes["gen_ai.conversation.id"] == str(session.id)
    assert {step.attributes["turnlog.turn.run"] for step in steps} == {turn.attributes["turnlog.turn.run"]}
    assert [step.attributes["gen_ai.operation.name"] for step in steps] == ["chat", "chat"]
    assert [step.attributes["gen_ai.provider.name"] for step in steps] == ["openai", "openai"]
    assert [step.attributes["gen_ai.response.finish_reasons"] for step in steps] == [("tool_calls",), ("stop",)]
    assert all(step.attributes["gen_ai.usage.output_tokens"] > 0 for step in steps)
    assert all(step.attributes["gen_ai.response.time_to_first_chunk"] >= 0 for step in steps)
    view = await session.view()
    assert [step.attributes["turnlog.step.id"] for step in steps] == [one.step_id for one in view.turns[0].steps]
    assert turn.attributes["turnlog.turn.id"] == view.turns[0].turn_id
    assert tool.attributes["gen_ai.tool.call.id"] == view.turns[0].steps[0].message.tool_calls[0].id
    assert tool.attributes["turnlog.tool.result.status"] == "final"


async def test_what_a_tool_does_is_inside_its_span(session: Session, telemetry: Telemetry) -> None:
    await answered(session)

    inner, tool = telemetry.span("inside the tool"), telemetry.span("execute_tool")
    assert inner.parent.span_id == tool.context.span_id


async def test_the_parent_of_a_turn_is_what_its_caller_does(session: Session, telemetry: Telemetry) -> None:
    from opentelemetry import trace

    with trace.get_tracer("application").start_as_current_span("a request") as request:
        await answered(session)

    assert telemetry.span("invoke_agent").parent.span_id == request.get_span_context().span_id


async def test_commits_are_traces_of_their_own_and_link_to_their_steps(session: Session, telemetry: Telemetry) -> None:
    await answered(session)

    commits, steps = telemetry.spans("turnlog.commit"), telemetry.spans("chat")
    linked = {link.context.span_id for commit in commits for link in commit.links}
    assert linked == {step.context.span_id for step in steps}
    assert all(commit.parent is None for commit in commits)
    events = [event async for event in session.events()]
    assert sum(commit.attributes["turnlog.commit.events"] for commit in commits) == len(events)


async def test_spans_have_no_content(session: Session, telemetry: Telemetry) -> None:
    await answered(session)

    told = "".join(span.to_json() for span in telemetry.spans())
    assert "invoke_agent" in told
    for said in (QUESTION, SECRET, RESULT, "Paris"):
        assert said not in told


async def test_spans_have_content_where_it_is_wanted(log_with_content: SessionLog, telemetry: Telemetry) -> None:
    await answered(await log_with_content.start_session("u1"))

    first, second = telemetry.spans("chat")
    assert QUESTION in first.attributes["gen_ai.input.messages"]
    assert "Paris" in first.attributes["gen_ai.output.messages"]
    assert RESULT in second.attributes["gen_ai.input.messages"]
    assert SECRET in second.attributes["gen_ai.output.messages"]
    tool = telemetry.span("execute_tool")
    assert "Paris" in tool.attributes["gen_ai.tool.call.arguments"]
    assert RESULT in tool.attributes["gen_ai.tool.call.result"]


async def test_a_step_that_fails_has_the_type_of_its_error_and_not_its_text(
    session: Session, telemetry: Telemetry
) -> None:
    with suppress(RuntimeError):
        async with session.completion("m") as completion:
            await completion.text("Hel")
            raise RuntimeError(SECRET)

    step = telemetry.span("chat m")
    assert step.status.status_code.name == "ERROR"
    assert step.attributes["error.type"]
    assert step.attributes["turnlog.step.status"] == "failed"
    assert SECRET not in step.to_json()


async def test_a_step_that_another_process_ends_has_its_span_ended(
    session: Session, other_log: SessionLog, telemetry: Telemetry
) -> None:
    async with session.completion("m") as completion:
        await completion.text("Hel")
        await other_log.session(session.id, "u1").cancel("enough")
        with pytest.raises(StepClosedError):
            await completion.text("lo")

    assert telemetry.span("chat m").attributes["turnlog.step.status"] == "interrupted"


async def test_a_turn_that_another_process_stops_has_its_span_ended(
    session: Session, other_log: SessionLog, telemetry: Telemetry
) -> None:
    async with asking([slow(delay=0.2)]) as model:
        answer = model.answer(session, QUESTION)
        await answer.begun()
        await other_log.session(session.id, "u1").cancel("enough")
        assert (await answer).status == "stopped"

    assert telemetry.span("invoke_agent").attributes["turnlog.turn.status"] == "lost"


async def test_a_step_that_is_refused_has_no_span(session: Session, telemetry: Telemetry) -> None:
    async with session.completion("first"):
        with pytest.raises(TurnInProgressError):
            async with session.completion("second"):
                pass

    assert [span.name for span in telemetry.spans("chat")] == ["chat first"]
    assert not session._parts.observer._steps._open._held  # nor is one kept for it


async def test_a_whole_answer_is_a_span_without_a_first_chunk(session: Session, telemetry: Telemetry) -> None:
    whole = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}], "model": "big"}

    async def asked_for() -> dict[str, object]:
        return whole

    for response in (whole, asked_for()):
        await session.record_whole(response, "m")

    for step in telemetry.spans("chat m"):
        assert step.attributes["gen_ai.response.model"] == "big"
        assert "gen_ai.response.time_to_first_chunk" not in step.attributes
    assert telemetry.value("gen_ai.client.operation.time_to_first_chunk") == 0


async def test_the_context_of_the_caller_is_back_after_a_turn_of_its_own(
    session: Session, telemetry: Telemetry
) -> None:
    from opentelemetry import trace

    await session.say(QUESTION)
    async with session.turn():
        inside = trace.get_current_span().get_span_context().span_id
    await asyncio.sleep(0)

    assert inside == telemetry.span("invoke_agent").context.span_id
    assert not trace.get_current_span().get_span_context().is_valid
