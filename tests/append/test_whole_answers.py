"""Whole answers: each is the step that its stream would have been, at once, and recorded as its provider ended it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from anthropic.types.beta import BetaMessage
from openai._models import construct_type
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from tests.support.event_streams import EVENT_STREAMS, EventStream, outcome, read, read_again
from tests.support.inputs import nothing_stored, refused
from tests.support.package_streams import STANDARD, accumulated
from tests.support.recording import Words
from tests.support.sessions import last_step, stored_events
from turnlog import Session, SessionLog, TurnInProgressError
from turnlog.infrastructure.append import whole_answer
from turnlog.infrastructure.append.chunks.whole import chunks_of
from turnlog.infrastructure.testing.corpus import Stream, own_corpus
from turnlog.infrastructure.testing.whole import completion

WITHOUT_AN_END = ("error-event", "overloaded")
ENDED = [stream for stream in STANDARD if stream.name not in (*WITHOUT_AN_END, "call-cut-off", "audio")]
"""Streams whose whole answer has all that they have."""
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1755443138,
    "model": "gpt-5-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


def whole_of(stream: EventStream) -> dict[str, Any]:
    """The answer that the provider would have given in place of the stream."""
    answer = stream.events[-1]["response"] if stream.api == "responses" else accumulated(stream)
    whole: dict[str, Any] = json.loads(json.dumps(answer))
    return whole


@pytest.mark.parametrize("stream", ENDED, ids=str)
def test_a_whole_answer_is_the_step_that_its_stream_is(stream: EventStream) -> None:
    whole = read(chunks_of(whole_of(stream)))

    assert _comparable(outcome(whole)) == _comparable(outcome(read_again(stream)))
    assert whole.reader.missing_end() is None


def _comparable(said: dict[str, Any]) -> Any:
    """Without the pieces that only a stream has, and with arguments as what they mean."""
    calls = [(call.id, call.name, call.custom, _meant(call.arguments)) for call in said["calls"]]
    parts = [{**part, "data": _without_pieces(part["data"])} for part in said["parts"]]
    opaque = [part for part in parts if part["kind"] == "opaque" and "type" not in part["data"]]
    return {
        "calls": calls,
        "reported": said["reported"],
        "rest": opaque,
        "parts": [p for p in parts if p not in opaque],
    }


def _without_pieces(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in ("input_json", "deltas")}


def _meant(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _is_of_one_choice(stream: Stream) -> bool:
    choices = stream.expected["choices"] or {}
    return list(choices) == ["0"] and not stream.error_line_indexes


@pytest.mark.parametrize("stream", [one for one in own_corpus() if _is_of_one_choice(one)], ids=lambda one: one.name)
def test_a_whole_chat_completion_is_the_step_that_its_stream_is(stream: Stream) -> None:
    whole, streamed = read(chunks_of(completion(stream.parsed()))).step.message, read(stream.parsed()).step.message

    for name in ("content", "refusal", "function_call"):
        assert (getattr(whole, name) or None) == (getattr(streamed, name) or None)
    assert whole.tool_calls == streamed.tool_calls


MODELS = {
    "chat": (ChatCompletion, CHAT),
    "responses": (Response, whole_of(next(one for one in EVENT_STREAMS if str(one) == "responses: web-search"))),
    "anthropic": (BetaMessage, whole_of(next(one for one in EVENT_STREAMS if str(one) == "anthropic: web-search"))),
}


@pytest.mark.parametrize(("model", "answer"), MODELS.values(), ids=MODELS)
async def test_a_whole_answer_is_recorded_in_one_append(session: Session, model: Any, answer: dict[str, Any]) -> None:
    for given in (answer, construct_type(type_=model, value=answer)):
        await session.say("Hello")
        step_id = await session.record_whole(given)

        step = await last_step(session)
        assert (step.step_id, step.status) == (step_id, "finished")
        assert step.response_id == answer["id"]
        expected = read(chunks_of(answer)).step.message
        assert step.message.content == expected.content
        assert [part.kind for part in step.message.parts] == [part.kind for part in expected.parts]
        events = [one for one in await stored_events(session) if getattr(one.event, "step_id", None) == step_id]
        assert len({one.commit_id for one in events}) == 1


async def test_an_answer_that_failed_fails_its_step(session: Session) -> None:
    failed = next(one for one in EVENT_STREAMS if str(one) == "responses: failed")

    await session.record_whole(whole_of(failed))

    step = await last_step(session)
    assert (step.status, step.note) == ("failed", "The model produced invalid content.")
    assert step.failure == {"code": "server_error", "message": "The model produced invalid content."}
    assert step.message.content == "I begin"


async def test_an_awaitable_is_awaited_when_the_step_is_open(session: Session) -> None:
    async def asked() -> dict[str, Any]:
        assert (await last_step(session)).status == "open"
        return CHAT

    step_id = await session.record_whole(asked(), "gpt-5-mini")

    step = await last_step(session)
    assert (step.step_id, step.status, step.message.content) == (step_id, "finished", "Hello.")


async def test_what_the_provider_refuses_is_the_end_of_the_step(session: Session) -> None:
    async def asked() -> Any:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        await session.record_whole(asked())

    step = await last_step(session)
    assert (step.status, step.note) == ("failed", "ValueError: no such model")
    assert await session.record_whole(CHAT)  # nothing is in the way


async def test_a_request_that_is_cancelled_interrupts_the_step(session: Session) -> None:
    begun = asyncio.Event()

    async def asked() -> Any:
        begun.set()
        await asyncio.sleep(60)

    recording = asyncio.create_task(session.record_whole(asked()))
    await begun.wait()
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording

    assert ((await last_step(session)).status, (await last_step(session)).note) == ("interrupted", "cancelled")


async def test_the_same_answer_again_is_a_step_of_its_own(session: Session) -> None:
    first, second = await session.record_whole(CHAT), await session.record_whole(CHAT)

    assert first != second
    assert [step.step_id for turn in (await session.view()).turns for step in turn.steps] == [first, second]


async def test_a_very_large_answer_is_recorded_in_several_appends(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_answer, "ONE_APPEND", 50)
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(100)]
    message = {"role": "assistant", "content": None, "tool_calls": calls}

    await session.record_whole({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})

    step = await last_step(session)
    assert (step.status, len(step.message.tool_calls)) == ("finished", 100)


NO_ANSWERS = {
    "a text": "Hello",
    "nothing": None,
    "any object": {"a": 1},
    "a chunk": {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]},
    "a response that goes on": {"object": "response", "status": "in_progress", "output": []},
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_is_refused_and_leaves_no_trace(session: Session, log: SessionLog, answer: Any) -> None:
    async with nothing_stored(log):
        with refused("response"):
            await session.record_whole(answer)


async def test_no_answer_is_recorded_while_another_one_is(session: Session) -> None:
    words = Words("one")
    recording = session.record(words.stream())
    await anext(recording)

    with pytest.raises(TurnInProgressError):
        await session.record_whole(CHAT)

    await recording.aclose()
    assert await session.record_whole(CHAT)
