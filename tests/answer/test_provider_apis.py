"""Answers by three APIs, with the clients of both packages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from turnlog import InvalidInputError, Session, SessionLog
from turnlog.testing import Answer, Failure, FakeProvider, ToolCall

Api = Literal["chat", "responses", "anthropic"]
APIS: tuple[Api, ...] = ("chat", "responses", "anthropic")


async def weather(city: str) -> str:
    """The weather in a city."""
    return f"18 C in {city}"


@pytest_asyncio.fixture
async def session(log: SessionLog) -> Session:
    started = await log.start_session(user_id="u1")
    await started.add_message("system", "Be brief.")
    return started


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider([]) as provider:
        yield provider


@pytest_asyncio.fixture
async def clients(provider: FakeProvider) -> AsyncIterator[dict[Api, Any]]:
    async with (
        AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as openai,
        AsyncAnthropic(base_url=provider.anthropic_base_url, api_key="k", max_retries=0) as anthropic,
    ):
        yield {"chat": openai, "responses": openai, "anthropic": anthropic}


CALLS = Answer("Let me look.", reasoning="It asks for the weather.", tool_calls=[ToolCall("weather", {"city": "Oslo"})])


@pytest.mark.parametrize("api", APIS)
async def test_a_turn_with_a_tool(session: Session, provider: FakeProvider, clients: dict[Api, Any], api: Api) -> None:
    provider.add(CALLS, Answer("It is 18 C."))
    outcome = await session.answer(clients[api], api=api, model="m", message="Weather in Oslo?", tools=[weather])
    assert (outcome.status, outcome.text) == ("finished", "It is 18 C.")

    turn = (await session.view()).turns[-1]
    first, second = turn.steps
    assert [call.name for call in first.message.tool_calls] == ["weather"]
    assert first.message.content == "Let me look."
    assert first.message.reasoning == "It asks for the weather."
    assert [result.content for result in first.tool_results] == ["18 C in Oslo"]
    assert first.usage is not None
    assert second.message.content == "It is 18 C."
    assert [step.finish_reason for step in turn.steps] == {
        "chat": ["tool_calls", "stop"],
        "responses": ["completed", "completed"],
        "anthropic": ["tool_use", "end_turn"],
    }[api]


async def test_a_conversation_changes_its_api_at_every_turn(
    session: Session, provider: FakeProvider, clients: dict[Api, Any]
) -> None:
    for round_ in range(2):
        for api in APIS:
            provider.add(CALLS, Answer(f"{round_} by {api}."))
            outcome = await session.answer(clients[api], api=api, model="m", message="And now?", tools=[weather])
            assert (outcome.status, outcome.text) == ("finished", f"{round_} by {api}.")
    # The provider looks at each history as the real ones do, and has refused none.
    assert len(provider.requests) == 2 * len(APIS) * 2
    thought = [item for item in provider.requests[-3]["input"] if item.get("type") == "reasoning"]
    assert [item["encrypted_content"] for item in thought] == ["encrypted_3", "encrypted_9"]
    signed = [
        block["signature"]
        for message in provider.requests[-1]["messages"]
        for block in message["content"]
        if block["type"] == "thinking"
    ]
    assert signed == ["signature_5", "signature_11"]


async def test_each_api_has_the_tools_in_its_own_shape(
    session: Session, provider: FakeProvider, clients: dict[Api, Any]
) -> None:
    shapes = {}
    for api in APIS:
        provider.add(Answer("Yes."))
        await session.answer(clients[api], api=api, model="m", message="Hi", tools=[weather])
        shapes[api] = provider.requests[-1]["tools"][0]
    schema = shapes["chat"]["function"]["parameters"]
    described = {"name": "weather", "description": "The weather in a city."}
    assert shapes["responses"] == {"type": "function", **described, "parameters": schema, "strict": False}
    assert shapes["anthropic"] == {**described, "input_schema": schema}


async def test_a_client_is_asked_by_the_first_api_that_it_has(
    session: Session, provider: FakeProvider, clients: dict[Api, Any]
) -> None:
    for api, field in (("chat", "messages"), ("anthropic", "max_tokens")):
        provider.add(Answer("Yes."))
        await session.answer(clients[api], model="m", message="Hi")
        assert field in provider.requests[-1]


async def test_a_client_that_does_not_have_the_api_is_refused(session: Session, clients: dict[Api, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"client: cannot be asked by responses: a AsyncAnthropic has no"):
        session.answer(clients["anthropic"], api="responses", model="m", message="Hi")
    with pytest.raises(InvalidInputError, match="api"):
        session.answer(clients["chat"], api="soap", model="m", message="Hi")  # type: ignore[arg-type]  # to be refused
    with pytest.raises(InvalidInputError, match=r"extra\.input"):
        session.answer(clients["responses"], api="responses", model="m", message="Hi", extra={"input": []})


@pytest.mark.parametrize("api", APIS)
async def test_what_a_provider_refuses_is_in_the_log(
    session: Session, provider: FakeProvider, clients: dict[Api, Any], api: Api
) -> None:
    provider.add(Failure(429, message="Slow down."))
    outcome = await session.answer(clients[api], api=api, model="m", message="Hi")
    step = (await session.view()).turns[-1].steps[-1]
    assert (outcome.status, step.status) == ("failed", "failed")
    assert step.failure is not None
    assert step.failure["status"] == 429
    assert "Slow down." in step.failure["message"]


@pytest.mark.parametrize("api", APIS)
async def test_a_stream_that_breaks_is_made_again(
    session: Session, provider: FakeProvider, clients: dict[Api, Any], api: Api
) -> None:
    provider.add(Answer("This breaks off", fails_after=5, fails_with=Failure(500)), Answer("This does not."))
    outcome = await session.answer(clients[api], api=api, model="m", message="Hi", on_break="again")
    assert (outcome.status, outcome.text) == ("finished", "This does not.")
    steps = (await session.view()).turns[-1].steps
    assert [step.status for step in steps] == ["failed", "finished"]


async def test_an_answer_that_is_paused_is_gone_on_with(
    session: Session, provider: FakeProvider, clients: dict[Api, Any]
) -> None:
    provider.add(Answer("I am looking. ", finish_reason="pause_turn"), Answer("It is warm."))
    outcome = await session.answer(clients["anthropic"], model="m", message="Weather?")
    assert outcome.status == "finished"
    sent = provider.requests[-1]["messages"]
    assert sent[-1] == {"role": "assistant", "content": [{"type": "text", "text": "I am looking. "}]}
    assert (await session.prompt())[-1]["content"] == "I am looking. It is warm."


async def test_the_prompts_of_an_answer_keep_the_rules_of_the_provider_that_is_named(
    session: Session, provider: FakeProvider, clients: dict[Api, Any]
) -> None:
    provider.add(
        Answer(tool_calls=[ToolCall("weather", {"city": "Oslo"}, id="call_PTLP8xhu3uwZk4l3")]), Answer("Warm.")
    )
    await session.answer(clients["chat"], model="m", message="Weather?", tools=[weather], dialect="mistral")
    (call,) = provider.requests[-1]["messages"][-2]["tool_calls"]
    assert re.fullmatch("[a-zA-Z0-9]{9}", call["id"])
    with pytest.raises(InvalidInputError, match="dialect"):
        session.answer(clients["responses"], api="responses", model="m", message="Hi", dialect="mistral")
