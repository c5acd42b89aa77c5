"""What goes through the proxy: unchanged to the client, and whole in the log. The clients are the providers' own."""

from __future__ import annotations

from typing import Any

from tests.support.proxied import Proxied, all_of, texts
from turnlog.testing import Answer, FakeProvider, ToolCall

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"}]


async def test_a_stream_of_chat_completions_is_passed_on_and_recorded(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Answer(["It ", "is ", "warm."]))
    async with proxy.openai() as client:
        stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        assert texts(await all_of(stream)) == "It is warm."
    session = await proxy.only_session()
    assert await proxy.said(session) == [
        ("system", "Be brief."), ("user", "Weather in Paris?"), ("assistant", "It is warm."),
    ]  # fmt: skip
    assert (await session.view()).turns[-1].status == "finished"


async def test_a_whole_chat_completion_is_passed_on_and_recorded(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Answer("It is warm."))
    async with proxy.openai() as client:
        answer = await client.chat.completions.create(model="m", messages=ASK)
        assert answer.choices[0].message.content == "It is warm."
    session = await proxy.only_session()
    assert (await proxy.said(session))[-1] == ("assistant", "It is warm.")
    assert (await session.view()).usage.total_tokens > 0


async def test_a_conversation_with_tools_goes_on_in_its_session(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(
        Answer("I look.", tool_calls=[ToolCall("weather", {"city": "Paris", "unit": "C"}, id="call_1")]),
        Answer("21 C."),
        Answer("You are welcome."),
    )
    messages: list[Any] = list(ASK)
    async with proxy.openai() as client:
        first = await client.chat.completions.create(model="m", messages=messages)
        call = first.choices[0].message
        # As many frameworks send it back: arguments written anew, fields left out.
        again = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"unit": "C", "city":"Paris"}'},
        }
        messages += [{"role": "assistant", "content": call.content, "tool_calls": [again]}]
        messages += [{"role": "tool", "tool_call_id": "call_1", "content": "21 C"}]
        second = await all_of(await client.chat.completions.create(model="m", messages=messages, stream=True))
        messages += [{"role": "assistant", "content": [{"type": "text", "text": texts(second)}]}]
        messages += [{"role": "user", "content": "Thanks"}]
        await client.chat.completions.create(model="m", messages=messages)
    session = await proxy.only_session()
    assert [role for role, _ in await proxy.said(session)] == [
        "system", "user", "assistant", "tool", "assistant", "user", "assistant",
    ]  # fmt: skip
    view = await session.view()
    assert not view.pending_tool_calls
    assert not view.faults
