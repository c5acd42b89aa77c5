"""How a fake provider is used: its script, what it does without one, and how it shows what went wrong."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.support.openai_client import client_of
from turnlog.testing import Answer, FakeProvider, Recorded, Reply, Request, ScriptExhaustedError, ToolCall

Json = dict[str, Any]

ASK: Any = [{"role": "user", "content": "Weather in Paris?"}]


def tool(name: str, **parameters: Any) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", **parameters}}}


CITY = {"properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}}, "required": ["city"]}
TOOLS = [tool("get_weather", **CITY), tool("get_time")]


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    """A client of a provider without a script."""
    async with FakeProvider() as provider, ask(provider) as opened:
        yield opened


def ask(provider: FakeProvider) -> openai.AsyncOpenAI:
    return client_of(provider, max_retries=2)  # as the client does by itself


async def answer(client: openai.AsyncOpenAI, messages: Any = ASK, model: str = "m", **options: Any) -> Any:
    return (await client.chat.completions.create(model=model, messages=messages, **options)).choices[0].message


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-sonnet-4-5", "llama3:8b", "plain-text-2"])
async def test_any_model_is_answered_under_its_name(model: str, client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(model=model, messages=ASK)
    assert completion.model == model
    said = "This is turnlog's fake provider. You said: Weather in Paris?"
    assert completion.choices[0].message.content == said


async def test_without_a_script_a_tool_is_called_and_then_its_result_said(client: openai.AsyncOpenAI) -> None:
    messages = list(ASK)
    for turn in range(2):
        calling = await answer(client, messages, tools=TOOLS)
        (call,) = calling.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "example"})
        messages += [calling, {"role": "tool", "tool_call_id": call.id, "content": f"{turn} C"}]
        said = await answer(client, messages, tools=TOOLS)
        assert (said.content, said.tool_calls) == (f"The tools say: {turn} C", None)
        messages += [said, *ASK]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("auto", "get_weather"),
        ("required", "get_weather"),
        ({"type": "function", "function": {"name": "get_time"}}, "get_time"),
        ("none", None),
    ],
)
async def test_without_a_script_the_tool_choice_is_kept(
    choice: Any, called: str | None, client: openai.AsyncOpenAI
) -> None:
    calls = (await answer(client, tools=TOOLS, tool_choice=choice)).tool_calls
    assert [call.function.name for call in calls or ()] == ([called] if called else [])


class Person(BaseModel):
    name: str
    age: int


async def test_without_a_script_json_is_answered_where_it_is_asked_for(client: openai.AsyncOpenAI) -> None:
    parsed = await client.chat.completions.parse(model="m", messages=ASK, response_format=Person)
    assert parsed.choices[0].message.parsed == Person(name="example", age=0)
    assert (await answer(client, response_format={"type": "json_object"})).content == "{}"


async def test_without_a_script_the_answer_repeats_parts_and_is_short(client: openai.AsyncOpenAI) -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "x" * 1000}]
    said = await answer(client, [{"role": "user", "content": parts}])
    assert said.content.endswith(f"You said: What is {'x' * 192}…")
    said = await answer(client, [{"role": "system", "content": "Be brief."}])
    assert said.content == "This is turnlog's fake provider."


async def test_a_model_that_is_named_like_a_stream_plays_it(client: openai.AsyncOpenAI) -> None:
    assert (await answer(client, model="refusal")).refusal.endswith("help with picking that lock.")
    with pytest.raises(openai.APIConnectionError):
        await answer(client.with_options(max_retries=0), model="plain-text#cut=3")


async def test_a_script_goes_before_what_answers_all_other_requests() -> None:
    async with FakeProvider(lambda request: Answer(request["model"])) as provider, ask(provider) as client:
        provider.add(Answer("one"), lambda request: Answer("two"))
        assert [(await answer(client)).content for _ in range(4)] == ["one", "two", "m", "m"]


def test_a_provider_serves_a_client_that_is_not_async() -> None:
    with (
        FakeProvider([Answer("Hello"), Answer("Bye")]) as provider,
        openai.OpenAI(base_url=provider.base_url, api_key="x") as client,
    ):
        assert client.chat.completions.create(model="m", messages=ASK).choices[0].message.content == "Hello"
        stream = client.chat.completions.create(model="m", messages=ASK, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Bye"


async def test_a_request_too_many_is_told_to_the_client_and_raised_in_the_test() -> None:
    async def run() -> None:
        async with FakeProvider([Answer("one")]) as provider, ask(provider) as client:
            await answer(client)
            with pytest.raises(openai.InternalServerError, match="one more request than the script has answers"):
                await answer(client)
            assert len(provider.requests) == 2  # the client does not try again

    with pytest.raises(ScriptExhaustedError, match="one more request than the script has answers"):
        await run()


async def test_what_a_function_of_the_script_raises_is_raised_in_the_test() -> None:
    def check(request: Request) -> Reply:
        assert request["temperature"] == 0, "the temperature"
        return Answer("never")

    async def run() -> None:
        async with FakeProvider([check]) as provider, ask(provider) as client:
            with pytest.raises(openai.InternalServerError, match="the script raised KeyError"):
                await answer(client)
            provider.add(check)
            with pytest.raises(openai.InternalServerError, match=r"the script raised AssertionError.*the temperature"):
                await answer(client, temperature=1)

    with pytest.raises(KeyError, match="temperature"):
        await run()


async def test_what_the_test_raises_itself_is_noted_with_what_went_wrong() -> None:
    async def run() -> None:
        async with FakeProvider([]) as provider, ask(provider) as client:
            await answer(client)

    with pytest.raises(openai.InternalServerError) as error:
        await run()
    assert error.value.__notes__ == ["fake provider: there was one more request than the script has answers"]


async def test_a_function_that_returns_no_reply_is_an_error() -> None:
    def nothing(_: Request) -> Any:
        return "Hello"

    provider = FakeProvider(nothing)
    provider.start()
    async with ask(provider) as client:
        with pytest.raises(openai.InternalServerError, match="a reply is an Answer, a Failure or a Recorded"):
            await answer(client)
    provider.close()


@pytest.mark.parametrize("entry", ["Hello", None, {"text": "Hello"}, ToolCall("ring")])
def test_what_is_no_answer_is_refused_when_it_is_scripted(entry: Any) -> None:
    with pytest.raises(TypeError, match="a reply is an Answer, a Failure or a Recorded, not"):
        FakeProvider([entry])


@pytest.mark.parametrize("stream", ["nowhere", "no/such/file.jsonl"])
def test_a_recording_that_is_not_there_is_refused_when_it_is_scripted(stream: str) -> None:
    with pytest.raises(ValueError, match=f"no such stream: {stream}"):
        FakeProvider([Recorded(stream)])


async def test_requests_are_kept_with_their_headers() -> None:
    async with FakeProvider() as provider, ask(provider) as client:
        await answer(client, extra_headers={"X-Trace": "t-1"})
        with pytest.raises(openai.BadRequestError):
            await answer(client, [{"role": "robot", "content": "x"}])
        good, bad = provider.requests
    assert (good["messages"], good.headers["x-trace"]) == (ASK, "t-1")
    assert bad["messages"][0]["role"] == "robot"
    assert Request({"a": 1}) == {"a": 1}


async def test_whoever_listens_is_told_each_request_and_its_reply() -> None:
    told: list[tuple[Json, Reply]] = []
    async with (
        FakeProvider([Answer("Hi")], on_reply=lambda *each: told.append(each)) as provider,
        ask(provider) as client,
    ):
        await answer(client)
        with pytest.raises(openai.BadRequestError):
            await answer(client, [{"role": "robot", "content": "x"}])
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="m", input="x")
    assert [(request.get("model"), reply) for request, reply in told[:1]] == [("m", Answer("Hi"))]
    assert [getattr(reply, "status", 200) for _, reply in told] == [200, 400, 404]
    assert len(provider.requests) == 2


def test_a_provider_listens_on_loopback_at_the_port_it_is_given() -> None:
    with FakeProvider() as first:
        url = first.base_url
        port = int(url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))
        with pytest.raises(OSError, match="in use"), FakeProvider(port=port):
            pass
        with pytest.raises(RuntimeError, match="already running"):
            first.start()
    with FakeProvider(port=port) as second:
        assert second.base_url == url
    with pytest.raises(RuntimeError, match="not running"):
        str(second.base_url)


async def test_many_requests_at_once_each_get_an_answer_of_their_own() -> None:
    async with FakeProvider([Answer(str(n)) for n in range(20)], pace=0.001) as provider, ask(provider) as client:
        said = await asyncio.gather(*(answer(client) for _ in range(20)))
    assert sorted(int(each.content) for each in said) == list(range(20))


REFUSED: list[tuple[Json, str]] = [
    ({"tools": []}, "Invalid 'tools': empty array"),
    ({"tools": [{"type": "function"}]}, r"Missing required parameter: 'tools\[0\].function'"),
    ({"tools": [tool("get weather")]}, r"Invalid 'tools\[0\].function.name': string does not match pattern"),
    ({"tool_choice": "auto"}, "'tool_choice' is only allowed when 'tools' are specified"),
    ({"stream_options": {"include_usage": True}}, "only allowed when 'stream' is enabled"),
]


@pytest.mark.parametrize(("options", "wording"), REFUSED, ids=[" ".join(options) for options, _ in REFUSED])
async def test_a_request_that_openai_refuses_is_refused(
    options: Json, wording: str, client: openai.AsyncOpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match=wording):
        await answer(client, **options)


@pytest.mark.parametrize("options", [options for options, _ in REFUSED], ids=" ".join)
async def test_a_lenient_provider_answers_it_all_the_same(options: Json) -> None:
    async with FakeProvider(strict=False) as provider, ask(provider) as client:
        assert await answer(client, **options)


def test_importing_it_loads_no_driver_and_no_client() -> None:
    heavy = {"openai", "httpx", "psycopg", "redis", "eventsourcing", "pydantic", "rich", "click"}
    program = f"import sys, turnlog.testing; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
