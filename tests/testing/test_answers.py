"""What a script can answer, as the real client sees it: streamed and whole."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from tests.support.openai_client import client_of
from turnlog.testing import Answer, Failure, FakeProvider, Recorded, Reply, Request, ToolCall, own_corpus

Json = dict[str, Any]

ASK: Any = [{"role": "user", "content": "Weather in Paris?"}]
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}

ANSWERS = {
    "text": Answer("It is 21 degrees."),
    "pieces": Answer(["It is", " 21", " degrees.\n"]),
    "odd text": Answer("  a\n\nb \u2028 \U0001f600 \x00 c  "),
    "nothing": Answer(),
    "reasoning": Answer("21.", reasoning="They want a number."),
    "refusal": Answer(refusal="I cannot help with that."),
    "calls": Answer(tool_calls=[ToolCall("get_weather", {"city": "Paris"}), ToolCall("get_time", id="mine")]),
    "text and a call": Answer("Let me look.", tool_calls=[ToolCall("get_weather", {"city": "Paris"})]),
    "broken arguments": Answer(tool_calls=[ToolCall("get_weather", '{"city": ')]),
    "length": Answer("It is", finish_reason="length"),
    "content filter": Answer("", finish_reason="content_filter"),
    "usage": Answer("21", usage=USAGE),
}

each_answer = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider([]) as running:
        yield running


@pytest.fixture
async def client(provider: FakeProvider) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(provider) as opened:
        yield opened


async def whole(client: openai.AsyncOpenAI, **options: Any) -> ChatCompletion:
    completion = await client.chat.completions.create(model="m", messages=ASK, **options)
    assert isinstance(completion, ChatCompletion)
    return completion


async def streamed(client: openai.AsyncOpenAI, **options: Any) -> list[ChatCompletionChunk]:
    stream: Any = await client.chat.completions.create(model="m", messages=ASK, stream=True, **options)
    return [chunk async for chunk in stream]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


@each_answer
async def test_a_whole_answer_says_what_openai_makes_of_the_stream(
    answer: Answer, client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    provider.add(answer, answer)
    with_usage: Any = {"include_usage": True}
    async with client.chat.completions.stream(model="m", messages=ASK, stream_options=with_usage) as stream:
        async for event in stream:
            if event.type == "chunk":
                snapshot = event.snapshot  # not get_final_completion(): it raises for "length"
    completion = await whole(client)
    (folded,), (choice,) = snapshot.choices, completion.choices
    said = choice.message
    assert (said.content or "", said.refusal) == (folded.message.content or "", folded.message.refusal)
    assert calls_of(said) == calls_of(folded.message)
    assert choice.finish_reason == folded.finish_reason
    assert completion.usage is not None
    assert snapshot.usage is not None
    assert completion.usage.completion_tokens == snapshot.usage.completion_tokens


def calls_of(message: Any) -> list[tuple[str, str]]:
    """Names and arguments: each answer has ids of its own."""
    return [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]


async def test_an_answer_arrives_in_the_pieces_that_it_names(
    client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    provider.add(Answer(["It", "  is", " 21"]), Answer("It  is 21\n"))
    for expected in (["It", "  is", " 21"], ["It", "  is", " 21", "\n"]):
        *deltas, end = await streamed(client)
        assert [chunk.choices[0].delta.content for chunk in deltas] == expected
        assert (deltas[0].choices[0].delta.role, end.choices[0].finish_reason) == ("assistant", "stop")


async def test_reasoning_comes_before_the_text_in_a_field_of_its_own(
    client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    provider.add(Answer("21", reasoning=["They want", " a number."]), Answer("21", reasoning="They want a number."))
    deltas = [chunk.choices[0].delta.model_dump(exclude_unset=True) for chunk in await streamed(client)]
    assert [delta.get("reasoning_content") for delta in deltas] == ["They want", " a number.", None, None]
    message = (await whole(client)).choices[0].message
    assert (message.content, message.model_dump()["reasoning_content"]) == ("21", "They want a number.")


async def test_tool_calls_have_ids_of_their_own_unless_one_is_given(
    client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    calls = [ToolCall("get_weather", {"city": "Paris"}), ToolCall("get_weather", {"city": "Rome"}, id="mine")]
    provider.add(Answer(tool_calls=calls), Answer(tool_calls=calls))
    messages = [(await whole(client)).choices[0].message for _ in range(2)]
    ids = [call.id for message in messages for call in message.tool_calls or ()]
    assert ids == ["call_1_0", "mine", "call_2_0", "mine"]


async def test_arguments_arrive_in_fragments_after_the_name(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.add(Answer(tool_calls=[ToolCall("get_weather", {"city": "Paris"})]))
    fragments = [chunk.choices[0].delta.tool_calls for chunk in (await streamed(client))[:-1]]
    functions = [entries[0].function for entries in fragments if entries]
    assert [(each.name, each.arguments) for each in functions if each] == [
        ("get_weather", ""),
        (None, '{"city":'),
        (None, ' "Paris"'),
        (None, "}"),
    ]


@pytest.mark.parametrize("given", [None, USAGE])
async def test_a_stream_has_usage_only_where_the_request_asks_for_it(
    given: Json | None, client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    provider.add(Answer("It is 21", usage=given), Answer("It is 21", usage=given))
    assert [chunk.usage for chunk in await streamed(client)] == [None] * 4
    *before, last = await streamed(client, stream_options={"include_usage": True})
    assert last.usage is not None
    assert (last.choices, [chunk.usage for chunk in before]) == ([], [None] * 4)
    counted = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    assert last.usage.model_dump(include=set(USAGE)) == (given or counted)


async def test_an_answer_takes_the_time_it_is_given(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.add(Answer("one two", delay=0.05), Answer("one two", delay=0.05), Failure(delay=0.15))
    began = time.monotonic()
    await streamed(client)
    await whole(client)
    with pytest.raises(openai.InternalServerError):
        await whole(client)
    assert time.monotonic() - began >= 0.45


async def test_a_client_times_out_on_an_answer_that_does_not_come(
    client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    provider.add(Answer("late", delay=60), Failure(delay=60))
    for _ in range(2):
        with pytest.raises(openai.APITimeoutError):
            await whole(client, timeout=0.2)
    async with asyncio.timeout(5):
        while provider.disconnects != 2:  # another thread counts, it has no event of ours
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("failure", "raised", "code", "text"),
    [
        (Failure(), openai.InternalServerError, None, "The server had an error"),
        (Failure(401), openai.AuthenticationError, "invalid_api_key", "Incorrect API key"),
        (Failure(403, message="Not you."), openai.PermissionDeniedError, None, "Not you."),
        (Failure(429), openai.RateLimitError, "rate_limit_exceeded", "Rate limit"),
        (Failure(429, code="insufficient_quota"), openai.RateLimitError, "insufficient_quota", "Rate limit"),
        (Failure(503), openai.InternalServerError, None, "overloaded"),
        (Failure(504), openai.InternalServerError, None, "Gateway Timeout"),
        (Failure(529), openai.InternalServerError, None, "Status 529"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Failure) else None,
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_raises_what_the_real_one_does(
    failure: Failure, raised: type[openai.APIStatusError], code: str | None, text: str, stream: bool
) -> None:
    async with (
        FakeProvider([failure]) as provider,
        client_of(provider) as client,
    ):
        with pytest.raises(raised, match=text) as error:
            await client.chat.completions.create(model="m", messages=ASK, stream=stream)
    assert error.value.code == code
    assert error.value.status_code == failure.status


async def test_a_client_that_is_told_to_wait_tries_again(provider: FakeProvider) -> None:
    provider.add(Failure(429, headers={"retry-after-ms": "50"}), Answer("Now it is my turn."))
    async with client_of(provider, max_retries=1) as client:
        began = time.monotonic()
        assert (await whole(client)).choices[0].message.content == "Now it is my turn."
    assert time.monotonic() - began >= 0.05
    assert [request.headers["x-stainless-retry-count"] for request in provider.requests] == ["0", "1"]


@pytest.mark.parametrize(
    ("body", "kind", "seen"),
    [
        ("<h1>Bad Gateway</h1>", "text/plain; charset=utf-8", "<h1>Bad Gateway</h1>"),
        ({"detail": "no such route"}, "application/json", {"detail": "no such route"}),
    ],
)
async def test_a_failure_can_have_a_body_of_its_own(
    body: Any, kind: str, seen: Any, client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    provider.add(Failure(502, body=body))
    with pytest.raises(openai.InternalServerError) as error:
        await whole(client)
    assert error.value.response.headers["content-type"] == kind
    assert error.value.body == seen


async def test_a_connection_is_lost_after_some_pieces(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.add(Answer(["a", "b", "c", "d"], fails_after=3))
    stream: Any = await client.chat.completions.create(model="m", messages=ASK, stream=True)
    seen: list[ChatCompletionChunk] = []
    with pytest.raises(Exception, match=r"(?i)connection"):  # older clients let their transport's own error through
        await collect(stream, seen)
    assert text_of(seen) == "abc"


async def test_an_error_comes_inside_the_stream(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.add(Answer(["a", "b", "c"], fails_after=2, fails_with=Failure(message="Overloaded")))
    provider.add(Answer(["a", "b"], fails_with=Failure()))  # at its end
    for text in ("Overloaded", "The server had an error"):
        stream: Any = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        seen: list[ChatCompletionChunk] = []
        with pytest.raises(openai.APIError, match=text) as error:
            await collect(stream, seen)
        assert not isinstance(error.value, openai.APIStatusError)  # the status was 200
        assert text_of(seen) == "ab"


async def collect(stream: AsyncIterator[ChatCompletionChunk], into: list[ChatCompletionChunk]) -> None:
    async for chunk in stream:
        into.append(chunk)  # noqa: PERF401  # keeps what came before an error


async def test_a_whole_answer_that_fails_is_no_answer(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.add(Answer("a b c", fails_after=2), Answer("a b c", fails_after=2, fails_with=Failure(503)))
    with pytest.raises(openai.APIConnectionError):
        await whole(client)
    with pytest.raises(openai.InternalServerError, match="overloaded"):
        await whole(client)


async def test_a_recording_comes_from_a_file_from_chunks_or_by_name(
    client: openai.AsyncOpenAI, provider: FakeProvider, tmp_path: Path
) -> None:
    stream = next(each for each in own_corpus() if each.name == "plain-text")
    file = tmp_path / "recorded.jsonl"
    file.write_bytes(b"\n".join(stream.chunks) + b"\n")
    sources: list[Any] = ["plain-text", stream, file, str(file), stream.parsed(), stream.chunks]
    provider.add(*map(Recorded, sources))
    expected = stream.expected["choices"]["0"]["message"]["content"]
    assert [text_of(await streamed(client)) for _ in sources] == [expected] * len(sources)


async def test_a_recording_can_be_slow_and_can_fail(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.add(Recorded("plain-text", delay=0.02, fails_after=3, fails_with=Failure(message="Gone")))
    began = time.monotonic()
    seen: list[ChatCompletionChunk] = []
    stream: Any = await client.chat.completions.create(model="m", messages=ASK, stream=True)
    with pytest.raises(openai.APIError, match="Gone"):
        await collect(stream, seen)
    assert time.monotonic() - began >= 0.06
    assert len(seen) == 3


@pytest.mark.parametrize("stream", own_corpus(), ids=lambda stream: stream.name)
def test_a_recorded_stream_is_a_whole_answer_too(stream: Any) -> None:
    from turnlog.infrastructure.testing.whole import completion, stream_error

    chunks = stream.parsed()
    errors = stream.expected["errors"]
    assert stream_error(chunks) == (errors[0] if errors else None)
    whole = completion(chunks)
    assert {str(choice["index"]): as_expected(choice) for choice in whole["choices"]} == {
        index: as_expected(choice) for index, choice in (stream.expected["choices"] or {}).items()
    }
    assert whole["usage"] == stream.expected["usage"]
    ChatCompletion.model_validate({**whole, "choices": []})


def as_expected(choice: Json) -> Json:
    """The message with absent and empty texts as one, halves of characters joined, and the two names of reasoning."""
    message = choice["message"]
    texts = {name: joined(message.get(name)) for name in ("content", "refusal")}
    reasoning = joined(message.get("reasoning") or message.get("reasoning_content"))
    calls = [
        (call.get("id") or "", call["function"].get("name") or "", call["function"].get("arguments") or "")
        for call in message.get("tool_calls") or ()
    ]
    function = message.get("function_call")
    reason = choice["finish_reason"] or "stop"
    return {**texts, "reasoning": reasoning, "calls": calls, "function": function, "finish_reason": reason}


def joined(text: str | None) -> str | None:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") if text else None


async def test_a_function_in_the_script_gets_the_request(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    def repeat(request: Request) -> Reply:
        return Answer(f"{request['model']} {request.headers['authorization']} {request['messages'][0]['content']}")

    provider.add(repeat)
    assert (await whole(client)).choices[0].message.content == "m Bearer x Weather in Paris?"


class Forecast(BaseModel):
    city: str
    degrees: int


async def test_an_answer_is_parsed_as_json(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.add(Answer(json.dumps({"city": "Paris", "degrees": 21})))
    parsed = await client.chat.completions.parse(model="m", messages=ASK, response_format=Forecast)
    assert parsed.choices[0].message.parsed == Forecast(city="Paris", degrees=21)
