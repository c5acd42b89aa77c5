"""Every stream of the corpora, recorded: the message is the expected one, and the chunks come out as they went in."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from tests.support.real_data import each_sample, evenly, needs_real_data, real_corpus
from tests.support.recording import played
from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.testing.corpus import Stream, own_corpus
from turnlog.projections.view import Step

REAL = real_corpus()


async def _recorded(log: SessionLog, chunks: list[Any]) -> tuple[Step, list[Any]]:
    session = await log.start_session(user_id="u1")
    await session.say("Hello")
    shown = [chunk async for chunk in session.record(played(*chunks))]
    view = await session.view()
    assert view.faults == ()
    return view.turns[-1].steps[-1], shown


def _joined_halves(value: Any) -> Any:
    """Halves of a character that met are one, as they are to every JSON reader."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    if isinstance(value, list):
        return [_joined_halves(item) for item in value]
    return {key: _joined_halves(item) for key, item in value.items()} if isinstance(value, dict) else value


def _expected(stream: Stream) -> dict[str, Any]:
    """The expected message and finish reason of choice 0, with "" and null as one."""
    choice = (stream.expected["choices"] or {}).get("0") or {"message": {}, "finish_reason": None}
    message = choice["message"]
    function = message.get("function_call")
    return _joined_halves(
        {
            "content": message.get("content") or None,
            "refusal": message.get("refusal") or None,
            "reasoning": message.get("reasoning") or None,
            "tool_calls": [
                (call.get("id") or "", call["function"].get("name") or "", call["function"].get("arguments") or "")
                for call in message.get("tool_calls") or []
            ],
            "function_call": (function["name"], function["arguments"]) if function else None,
            "usage": stream.expected["usage"],
        }
    )


def _said(step: Step, stream: Stream) -> dict[str, Any]:
    message = step.message
    function = message.function_call
    return _joined_halves(
        {
            "content": message.content or None,
            "refusal": message.refusal or None,
            "reasoning": message.reasoning or None,
            "tool_calls": [(call.id, call.name, call.arguments) for call in message.tool_calls],
            "function_call": (function.name, function.arguments) if function else None,
            # What a vendor reports under a name of its own is read, too; the corpora do not say so.
            "usage": step.usage if stream.expected["usage"] is not None else None,
        }
    )


def _finish_reason(stream: Stream) -> str | None:
    choice = (stream.expected["choices"] or {}).get("0") or {}
    return choice.get("finish_reason") or None


Prepare = Callable[[Stream], list[Any]]


async def _differing(log: SessionLog, streams: Sequence[Stream], prepare: Prepare) -> list[str]:
    """The names of the streams that come out wrong. They are recorded all at once, as a busy back end would."""
    right = await asyncio.gather(*(_comes_out_right(log, stream, prepare(stream)) for stream in streams))
    return [stream.name for stream, is_right in zip(streams, right, strict=True) if not is_right]


async def _comes_out_right(log: SessionLog, stream: Stream, chunks: list[Any]) -> bool:
    before = copy.deepcopy(chunks)
    step, shown = await _recorded(log, chunks)
    unchanged = shown == before and all(one is other for one, other in zip(shown, chunks, strict=True))
    ended = (step.status, step.finish_reason)
    right_end = ended == ("finished", _finish_reason(stream)) or (
        ended == ("failed", None) and bool(stream.error_line_indexes)
    )
    return unchanged and right_end and _said(step, stream) == _expected(stream)


CORPORA = [
    pytest.param(own_corpus(), id="own"),
    pytest.param(REAL, id="real", marks=needs_real_data),
]


@each_sample
@pytest.mark.parametrize("streams", CORPORA)
async def test_a_recorded_stream_gives_the_expected_message(log: SessionLog, streams: list[Stream], count: int) -> None:
    assert await _differing(log, evenly(streams, 12 * count), Stream.parsed) == []


@each_sample
@pytest.mark.parametrize("streams", CORPORA)
async def test_models_of_the_openai_package_are_read_as_dicts_are(
    log: SessionLog, streams: list[Stream], count: int
) -> None:
    def models(stream: Stream) -> list[Any]:
        return [ChatCompletionChunk.construct(**chunk) for chunk in stream.parsed()]

    assert await _differing(log, evenly(streams, 4 * count), models) == []


@each_sample
@pytest.mark.parametrize("streams", CORPORA)
async def test_text_and_arguments_cut_elsewhere_give_the_same_message(
    log: SessionLog, streams: list[Stream], count: int
) -> None:
    rng = random.Random(7)
    assert await _differing(log, evenly(streams, 4 * count), lambda stream: _recut(stream.parsed(), rng)) == []


class Event(BaseModel):
    """As the models of other packages are."""

    type: str
    delta: str


FOREIGN = {
    "a text": "Hello",
    "bytes": b"data: {}",
    "an event of no known API": Event(type="mood.changed", delta="Hi"),
    "an answer of the Responses API": {"object": "response", "output": [], "usage": {"input_tokens": 1}},
    "any object": {"a": 1},
    "nothing": None,
    "a message in place of a delta": {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": None}],
    },
    "a completion of text": {
        "object": "text_completion",
        "choices": [{"index": 0, "text": "Hi", "finish_reason": None}],
    },
}


@pytest.mark.parametrize("chunk", FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_is_no_chunk_is_refused_before_it_is_shown_and_the_step_fails(log: SessionLog, chunk: Any) -> None:
    session = await log.start_session(user_id="u1")

    with pytest.raises(InvalidInputError, match=r"chunk: record\(\) takes chunks of the Chat Completions API"):
        await anext(session.record(played(chunk, chunk)))

    step = (await session.view()).turns[-1].steps[-1]
    assert step.status == "failed"
    assert step.note is not None
    assert "Chat Completions" in step.note


EMPTY = [
    {},
    {"choices": []},
    {"choices": None},
    {"id": "x", "model": "m"},
    {"object": "chat.completion.chunk"},
    {"usage": {"total_tokens": 1}},
    {"choices": [{}]},
]


async def test_chunks_that_say_nothing_are_shown_and_end_no_answer(log: SessionLog) -> None:
    chunks = [*EMPTY, {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}, {"summary": "Hi"}, *EMPTY]

    step, shown = await _recorded(log, chunks)

    assert shown == chunks
    assert (step.status, step.message.content) == ("finished", "Hi")


def _recut(chunks: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """The same stream with each text and each arguments string spread over several chunks."""
    return [piece for chunk in chunks for piece in _pieces(chunk, rng)]


def _pieces(chunk: dict[str, Any], rng: random.Random) -> list[dict[str, Any]]:
    choices = chunk.get("choices") or []
    delta = choices[0].get("delta") if len(choices) == 1 else None
    if not delta or rng.random() < 0.3:
        return [chunk]
    calls = delta.get("tool_calls") or []
    if len(calls) == 1 and not delta.get("content"):
        return _cut_arguments(chunk, calls[0], rng)
    return _cut_content(chunk, delta, rng)


def _cut_content(chunk: dict[str, Any], delta: dict[str, Any], rng: random.Random) -> list[dict[str, Any]]:
    text = delta.get("content")
    if not isinstance(text, str) or len(text) < 2 or delta.get("tool_calls"):
        return [chunk]
    cut = rng.randrange(1, len(text))
    first, second = copy.deepcopy(chunk), copy.deepcopy(chunk)
    first["choices"][0]["delta"]["content"] = text[:cut]
    first["choices"][0]["finish_reason"] = None
    second["choices"][0]["delta"] = {"content": text[cut:]}
    return [first, second]


def _cut_arguments(chunk: dict[str, Any], call: dict[str, Any], rng: random.Random) -> list[dict[str, Any]]:
    arguments = (call.get("function") or {}).get("arguments")
    if not isinstance(arguments, str) or len(arguments) < 2:
        return [chunk]
    cut = rng.randrange(1, len(arguments))
    first, second = copy.deepcopy(chunk), copy.deepcopy(chunk)
    first["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] = arguments[:cut]
    rest = {"function": {"arguments": arguments[cut:]}}
    if "index" in call:
        rest["index"] = call["index"]
    second["choices"][0]["delta"] = {"tool_calls": [rest]}
    return [first, second]
