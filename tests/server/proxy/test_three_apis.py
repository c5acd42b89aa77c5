"""The three APIs by their providers' own clients: conversations with tools, streaming and not."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from tests.support.proxied import Proxied, all_of
from turnlog.testing import Answer, Failure, FakeProvider, ToolCall

ASK: Any = [{"role": "user", "content": "Weather in Paris?"}]
CHAT_TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
TOOL: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
RESPONSES_TOOL: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}
SCRIPT = (
    Answer("I look.", tool_calls=[ToolCall("weather", {"city": "Paris"}, id="call_1")]),
    Answer("21 C."),
    Answer("You are welcome."),
)
ROLES = ["system", "user", "assistant", "tool", "assistant", "user", "assistant"]


async def check(proxy: Proxied) -> None:
    """All is in one session, in order, and nothing is wrong with it."""
    session = await proxy.only_session()
    view = await session.view()
    assert [message["role"] for message in view.messages] == ROLES
    assert [message.get("content") for message in view.messages if message["role"] != "tool"][1:] == [
        "Weather in Paris?", "I look.", "21 C.", "Thanks", "You are welcome.",
    ]  # fmt: skip
    assert not view.pending_tool_calls
    assert not view.faults
    assert [turn.status for turn in view.turns] == ["finished", "finished"]


@pytest.mark.parametrize("streams", [False, True])
async def test_messages_of_anthropic(proxy: Proxied, provider: FakeProvider, streams: bool) -> None:
    provider.add(*SCRIPT)
    messages: list[Any] = list(ASK)
    async with proxy.anthropic() as client:
        for said in ("result", "thanks", None):
            given: Any = {"model": "m", "max_tokens": 99, "system": "Be brief.", "messages": messages, "tools": [TOOL]}
            if streams:
                async with client.messages.stream(**given) as stream:
                    answer = await stream.get_final_message()
            else:
                answer = await client.messages.create(**given)
            messages.append({"role": "assistant", "content": answer.content})
            if said == "result":
                result = {"type": "tool_result", "tool_use_id": "call_1", "content": "21 C"}
                messages.append({"role": "user", "content": [{**result, "cache_control": {"type": "ephemeral"}}]})
            elif said == "thanks":
                messages.append({"role": "user", "content": [{"type": "text", "text": "Thanks"}]})
    await check(proxy)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("is_kept", [False, True])
async def test_responses(proxy: Proxied, provider: FakeProvider, streams: bool, is_kept: bool) -> None:
    provider.add(*SCRIPT)
    items: list[Any] = list(ASK)
    previous: dict[str, Any] = {}
    async with proxy.openai() as client:
        for said in ("result", "thanks", None):
            given: Any = {
                "model": "m",
                "instructions": "Be brief.",
                "input": items,
                "tools": [RESPONSES_TOOL],
                **previous,
            }
            if streams:
                events = await all_of(await client.responses.create(stream=True, **given))
                answer = events[-1].response
            else:
                answer = await client.responses.create(**given)
            if is_kept:
                items, previous = [], {"previous_response_id": answer.id}
            else:
                items += [item.model_dump(exclude_none=True) for item in answer.output]
            if said == "result":
                items.append({"type": "function_call_output", "call_id": "call_1", "output": "21 C"})
            elif said == "thanks":
                items.append({"role": "user", "content": [{"type": "input_text", "text": "Thanks"}]})
    view = await (await proxy.only_session()).view()
    roles = [message["role"] for message in view.messages if message["role"] != "system"]
    assert roles == ROLES[1:]
    if not is_kept:
        await check(proxy)


@pytest.mark.parametrize("streams", [False, True])
async def test_chat_completions(proxy: Proxied, provider: FakeProvider, streams: bool) -> None:
    provider.add(*SCRIPT)
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *ASK]
    async with proxy.openai() as client:
        for said in ("result", "thanks", None):
            if streams:
                async with client.chat.completions.stream(model="m", messages=messages, tools=[CHAT_TOOL]) as stream:
                    answer = (await stream.get_final_completion()).choices[0].message
            else:
                made = await client.chat.completions.create(model="m", messages=messages, tools=[CHAT_TOOL])
                answer = made.choices[0].message
            messages.append(answer.model_dump())
            if said == "result":
                messages.append({"role": "tool", "tool_call_id": "call_1", "content": "21 C"})
            elif said == "thanks":
                messages.append({"role": "user", "content": "Thanks"})
    await check(proxy)


async def test_what_anthropic_refuses_is_passed_on_and_in_the_log(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Failure(529), Answer("now"))
    async with proxy.anthropic() as client:
        with pytest.raises(anthropic.APIStatusError) as refused:
            await client.messages.create(model="m", max_tokens=9, messages=ASK)
        assert refused.value.status_code == 529
        await client.messages.create(model="m", max_tokens=9, messages=ASK)
    (turn,) = (await (await proxy.only_session()).view()).turns
    assert [step.status for step in turn.steps] == ["failed", "finished"]
    assert turn.steps[0].failure is not None
    assert turn.steps[0].failure["type"] == "overloaded_error"


async def test_a_prefilled_answer_is_one_answer_when_it_comes_back(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Answer(" is warm."), Answer("Yes."))
    async with proxy.anthropic() as client:
        begun: Any = [*ASK, {"role": "assistant", "content": "It"}]
        await client.messages.create(model="m", max_tokens=9, messages=begun)
        whole: Any = [*ASK, {"role": "assistant", "content": "It is warm."}, {"role": "user", "content": "Sure?"}]
        await client.messages.create(model="m", max_tokens=9, messages=whole)
    await proxy.only_session()
