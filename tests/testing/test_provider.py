"""The fake provider, asked by the real client: its HTTP, its recorded streams, and what it refuses."""

import asyncio
import http.client
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

from tests.support.openai_client import client_of
from turnlog.infrastructure.demo.script import load_script
from turnlog.testing import Failure, FakeProvider, Recorded, Stream, own_corpus

Json = dict[str, Any]

CORPUS = own_corpus()
ASK: list[Json] = [{"role": "user", "content": "When does the ferry leave?"}]
ERRORS = [stream for stream in CORPUS if stream.error_line_indexes]
SOUND = [stream for stream in CORPUS if not stream.error_line_indexes]


def by_name(stream: Stream) -> str:
    return stream.name


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeProvider]:
    """One for the many cases that leave nothing behind."""
    with FakeProvider() as running:
        yield running


@pytest.fixture
async def client(provider: FakeProvider) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(provider) as opened:
        yield opened


async def start(client: openai.AsyncOpenAI, model: str, messages: list[Json] | None = None) -> Any:
    said: Any = messages or ASK
    return await client.chat.completions.create(model=model, messages=said, stream=True)


async def collect(client: openai.AsyncOpenAI, model: str, into: list[Json], messages: list[Json] | None = None) -> None:
    async for chunk in await start(client, model, messages):
        into.append(chunk.model_dump(exclude_unset=True, warnings=False))  # noqa: PERF401  # keeps what came before an error


async def play(client: openai.AsyncOpenAI, model: str, messages: list[Json] | None = None) -> list[Json]:
    chunks: list[Json] = []
    await collect(client, model, chunks, messages)
    return chunks


def request(model: str, messages: list[Json] | None = None) -> bytes:
    return json.dumps({"model": model, "messages": messages or ASK, "stream": True}).encode()


def post(provider: FakeProvider, body: bytes, path: str = "/v1/chat/completions") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(provider.base_url.split("/")[2])
    connection.request("POST", path, body)
    with connection.getresponse() as response:
        answer = response.status, response.read()
    connection.close()
    return answer


def call(call_id: str, arguments: str = "{}", name: str = "ring") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asked(*calls: Json) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(call_id: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": "done"}


async def test_the_client_sees_the_chunks_as_they_are_on_file(client: openai.AsyncOpenAI) -> None:
    # In one test, as setting up the client is what takes the time.
    assert [stream.name for stream in SOUND if await play(client, stream.name) != stream.parsed()] == []


@pytest.mark.parametrize("stream", CORPUS, ids=by_name)
def test_the_bytes_of_a_stream_pass_unchanged(shared: FakeProvider, stream: Stream) -> None:
    events = [b"data: " + payload + b"\n\n" for payload in (*stream.chunks, b"[DONE]")]
    assert post(shared, request(stream.name)) == (200, b"".join(events))


@pytest.mark.parametrize("stream", ERRORS, ids=by_name)
async def test_an_error_in_the_stream_is_raised_after_the_chunks_before_it(
    client: openai.AsyncOpenAI, stream: Stream
) -> None:
    seen: list[Json] = []
    with pytest.raises(openai.APIError) as failure:
        await collect(client, stream.name, seen)
    assert seen == stream.parsed()[: stream.error_line_indexes[0]]
    assert failure.value.body == stream.expected["errors"][0]


async def test_each_event_is_sent_on_its_own_and_at_the_recorded_pace() -> None:
    stream = next(each for each in CORPUS if each.name == "demo-umbrella")
    with FakeProvider(pace=0.001) as provider:
        async with client_of(provider, max_retries=2) as client:
            started = time.monotonic()
            arrived = [time.monotonic() - started async for _ in await start(client, stream.name)]
    recorded = [delay / 1000 for delay in stream.delays_ms or ()]
    assert arrived[-1] >= sum(recorded) * 0.95
    assert arrived[-1] - arrived[0] >= sum(recorded[1:]) / 2  # all at once at the end would be nothing


async def test_an_unknown_model_is_not_found(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.add(Failure(404, message="The model `no-such-stream` does not exist", code="model_not_found"))
    with pytest.raises(openai.NotFoundError) as failure:
        await start(client, "no-such-stream")
    assert failure.value.code == "model_not_found"


async def test_a_script_is_played_in_order(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.add(Recorded("refusal"), Recorded("plain-text"))
    first, second = [await play(client, "any") for _ in range(2)]
    assert [first[0]["model"], second[0]["model"]] == ["gpt-4o", "gpt-4o-mini"]


def test_a_script_names_streams_that_are_there(provider: FakeProvider) -> None:
    with pytest.raises(ValueError, match="no such stream: nowhere"):
        provider.add(Recorded("plain-text"), Recorded("nowhere"))


async def test_the_streams_are_listed_as_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [stream.name for stream in CORPUS]


async def test_the_requests_are_kept_as_they_came(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    await play(client, "refusal")
    assert provider.requests == [{"messages": ASK, "model": "refusal", "stream": True}]


async def test_a_client_that_leaves_in_mid_stream_is_counted_and_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with FakeProvider(pace=0.01) as provider:
        async with client_of(provider, max_retries=2) as client:
            stream = await start(client, "long-text")
            await anext(stream)
            await stream.close()
        async with asyncio.timeout(5):
            while not provider.disconnects:  # another thread counts, it has no event of ours
                await asyncio.sleep(0.005)
    assert capfd.readouterr().err == ""


async def test_a_connection_can_be_cut_after_some_chunks(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    seen: list[Json] = []
    with pytest.raises(Exception, match=r"(?i)connection"):  # older clients let their transport's own error through
        await collect(client, "plain-text#cut=3", seen)
    assert (len(seen), provider.disconnects) == (3, 0)


def test_closing_the_provider_breaks_off_what_it_streams() -> None:
    provider = FakeProvider(pace=60)
    provider.start()
    connection = http.client.HTTPConnection(provider.base_url.split("/")[2])
    connection.request(
        "POST", "/v1/chat/completions", json.dumps({"model": "refusal", "messages": ASK, "stream": True})
    )
    response = connection.getresponse()
    provider.close()
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    response.close()
    connection.close()
    assert provider.disconnects == 0


@pytest.mark.parametrize(
    ("messages", "wording"),
    [
        ([asked(call("a"), call("b")), result("a")], "did not have response messages: b"),
        ([asked(call("a")), *ASK, result("a")], "did not have response messages: a"),
        ([*ASK, result("a")], "must be a response to a preceeding message with 'tool_calls'"),
        ([asked(call("a")), result("z")], "'tool_call_id' of 'z' not found in 'tool_calls' of previous message"),
        ([asked(call("a")), result("a"), result("a")], r"Duplicate value for 'tool_call_id' of 'a', in messages\[1\]"),
        ([asked(call("a"), call("a")), result("a")], "Duplicate value for 'id' of 'a'"),
        ([asked(call("a", "{")), result("a")], "arguments must be a valid JSON"),
        ([asked(call("a", "")), result("a")], "arguments must be a valid JSON"),
        ([asked(call("a", '{"x": NaN}')), result("a")], "arguments must be a valid JSON"),
        ([asked(call("a", name="")), result("a")], "function.name': empty string"),
        ([asked(call("")), result("")], r"tool_calls\[0\].id': empty string"),
        ([asked()], "tool_calls': empty array"),
        ([{"role": "assistant", "content": None}], "expected a string, got null"),
        ([{"role": "robot", "content": "x"}], "Supported values are"),
    ],
)
def test_messages_that_a_real_provider_refuses_are_refused(
    shared: FakeProvider, messages: list[Json], wording: str
) -> None:
    status, answer = post(shared, request("plain-text", messages))
    assert status == 400
    assert re.search(wording, json.loads(answer)["error"]["message"])


async def test_the_client_raises_what_a_real_provider_makes_it_raise(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as failure:
        await start(client, "plain-text", [asked(call("a")), *ASK])
    assert failure.value.param == "messages.[1].role"


def test_messages_that_pair_up_are_answered(shared: FakeProvider) -> None:
    again = [asked(call("a"), call("b")), result("b"), result("a"), asked(call("a")), result("a")]
    messages = [*ASK, *again, {"role": "assistant", "content": None, "refusal": "No."}]
    assert post(shared, request("plain-text", messages))[0] == 200


def test_a_lenient_provider_takes_any_messages() -> None:
    with FakeProvider(strict=False) as provider:
        assert post(provider, request("plain-text", [result("a")]))[0] == 200


@pytest.mark.parametrize(
    ("body", "wording"),
    [
        (b"{", "could not parse the JSON body"),
        (b"[]", "could not parse the JSON body"),
        (b"{}", "must provide a model"),
        (b'{"model": "refusal"}', "Missing required parameter: 'messages'"),
        (b'{"model": "refusal", "stream": true}', "Missing required parameter: 'messages'"),
        (b'{"model": "refusal", "stream": true, "messages": []}', "empty array"),
    ],
)
def test_a_malformed_request_is_refused_in_the_providers_shape(shared: FakeProvider, body: bytes, wording: str) -> None:
    status, answer = post(shared, body)
    error = json.loads(answer)["error"]
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert wording in error["message"]


def test_an_unknown_url_is_not_found(shared: FakeProvider) -> None:
    assert post(shared, b"{}", "/v1/nowhere")[0] == 404


async def test_the_demo_plays_to_its_end_before_a_strict_provider(
    client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    script, streams = load_script(), {stream.name: stream for stream in CORPUS}
    for conversation in script.conversations:
        messages: list[Json] = [{"role": "system", "content": conversation.system}]
        for turn in conversation.turns:
            messages.append({"role": "user", "content": turn.user})
            provider.add(*map(Recorded, turn.streams))
            for name in turn.streams:
                assert await play(client, "any", messages) == streams[name].parsed()
                said = streams[name].expected["choices"]["0"]["message"]
                tools = [(each["id"], script.tools[each["function"]["name"]]) for each in said.get("tool_calls", ())]
                results = [{"role": "tool", "tool_call_id": key, "content": t.pending or t.final} for key, t in tools]
                messages += [said, *results]
