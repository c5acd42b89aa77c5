"""Streams of the Responses API and of Anthropic's: nothing is lost, and the parts are what the models made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_origin

import anthropic
import pytest
from anthropic.types import beta as anthropic_beta
from openai.types.responses import ResponseOutputItem, ResponseStreamEvent

from tests.support.event_streams import (
    EVENT_STREAMS,
    EventApi,
    EventStream,
    Read,
    blocks_of,
    event_streams,
    items_of,
    leaves,
    outcome,
    plain,
    read,
    read_again,
    text_of_parts,
)
from tests.support.package_streams import STANDARD, accumulated, models, with_helpers
from turnlog import Step

ENVELOPE = {
    *("sequence_number", "output_index", "content_index", "summary_index", "annotation_index", "index"),
    *("item_id", "obfuscation"),
    *("object", "created_at", "completed_at", "status"),
}
"""Fields of events that say where something belongs, or nothing."""
OF_THE_REQUEST = {
    *("background", "instructions", "parallel_tool_calls", "reasoning", "store", "temperature", "text", "tool_choice"),
    *("tools", "top_logprobs", "top_p", "truncation"),
}
"""Fields of a response that say again what was asked."""
TYPED_BY_PLACE = ((), ("delta",), ("part",), ("message",))
"""Where a `type` says of which kind the event is, its delta, its part or its message: a part of the step has a kind."""
each_stream = pytest.mark.parametrize("stream", EVENT_STREAMS, ids=str)


# Nothing is lost


@each_stream
def test_what_was_shown_is_in_the_log_after_each_event(stream: EventStream) -> None:
    whole = read_again(stream)

    for at, event in enumerate(stream.events):
        recorded = _recorded(whole, at)
        recorded |= {value for _, value in leaves(whole.reported[at])}
        texts = _texts(whole.after[at])
        missing = [
            (path, value)
            for path, value in leaves(event)
            if not _is_envelope(path) and value not in recorded and not _is_inside(value, texts)
        ]
        assert missing == [], event


def _recorded(whole: Read, at: int) -> set[Any]:
    events = [recorded.event.model_dump() for recorded in whole.events[: whole.counts[at]]]
    data = [part.data for part in whole.after[at].message.parts]
    return {value for _, value in leaves([*events, *data])}


def _texts(step: Step) -> list[str]:
    message = step.message
    arguments = [call.arguments for call in message.tool_calls]
    return [text for text in (message.content, message.reasoning, message.refusal, *arguments) if isinstance(text, str)]


def _is_inside(value: Any, texts: list[str]) -> bool:
    return isinstance(value, str) and any(value in text for text in texts)


def _is_envelope(path: tuple[str, ...]) -> bool:
    if path[-1] == "type" and path[:-1] in TYPED_BY_PLACE:
        return True
    if path[0] == "response" and path[1] in OF_THE_REQUEST:
        return True
    return path == ("message", "role") or (path[-1] in ENVELOPE and path[0] != "item")


@each_stream
def test_cut_after_any_event_the_parts_have_the_texts_of_the_message(stream: EventStream) -> None:
    for step in read_again(stream).after:
        message = step.message
        if stream.name == "blocks-in-turn":  # the message has the texts as they came, and the parts each its own
            assert len(text_of_parts(message.parts, "text")) == len(str(message.content or ""))
            continue
        assert text_of_parts(message.parts, "text") == (message.content or "")
        assert text_of_parts(message.parts, "reasoning") == (message.reasoning or "")
        assert text_of_parts(message.parts, "refusal") == (message.refusal or "")
        calls = [part.call for part in message.parts if part.kind == "tool_call"]
        assert sorted(call for call in calls if call is not None) == [call.index for call in message.tool_calls]


# The parts are what the model made


@pytest.mark.parametrize("stream", event_streams("responses"), ids=str)
def test_parts_are_the_items_of_the_response_again(stream: EventStream) -> None:
    last = stream.events[-1].get("response")

    assert last is None or items_of(read_again(stream).step) == last["output"]


@pytest.mark.parametrize("stream", [one for one in STANDARD if one.api == "anthropic"], ids=str)
def test_parts_are_the_blocks_of_the_message_again(stream: EventStream) -> None:
    assert plain(blocks_of(read_again(stream).step)) == plain(accumulated(stream)["content"])


# The shapes in which events come


@each_stream
def test_models_of_the_packages_are_read_as_dicts_are(stream: EventStream) -> None:
    if stream.name != "unknown-kinds":  # they have no models for it
        assert outcome(read(models(stream))) == outcome(read_again(stream))


@pytest.mark.parametrize("stream", STANDARD, ids=str)
def test_what_the_packages_add_to_their_streams_says_nothing_twice(stream: EventStream) -> None:
    assert outcome(read(with_helpers(stream))) == outcome(read_again(stream))


# All that the packages know


def _types(union: Any, field: str = "type") -> set[str]:
    """The types of the models in a union."""
    if hasattr(union, "__value__"):
        return _types(union.__value__)
    if get_origin(union) is not None or not hasattr(union, "model_fields"):
        return {name for member in get_args(union) if not isinstance(member, str) for name in _types(member, field)}
    return set(get_args(union.model_fields[field].annotation))


def _all(api: Any, of: Callable[[dict[str, Any]], Any]) -> set[Any]:
    return {of(event) for stream in event_streams(api) for event in stream.events}


def test_the_corpus_has_every_event_and_item_that_the_openai_package_knows() -> None:
    events = _all("responses", lambda event: event["type"])
    items = _all("responses", lambda event: (event.get("item") or {}).get("type"))

    assert _types(ResponseStreamEvent) - events == set()
    assert _types(ResponseOutputItem) - items == set()


@pytest.mark.parametrize("types", [anthropic.types, anthropic_beta], ids=["messages", "beta"])
def test_the_corpus_has_every_event_block_and_delta_that_the_anthropic_package_knows(types: Any) -> None:
    prefix = "Beta" if types is anthropic_beta else ""
    events = _all("anthropic", lambda event: event["type"])
    blocks = _all("anthropic", lambda event: (event.get("content_block") or {}).get("type"))
    deltas = _all("anthropic", lambda event: (event.get("delta") or {}).get("type"))

    assert _types(getattr(types, f"{prefix}RawMessageStreamEvent")) - events == set()
    assert _types(getattr(types, f"{prefix}ContentBlock")) - blocks == set()
    assert _types(getattr(types, f"{prefix}RawContentBlockDelta")) - deltas == set()


# Ends

ENDS = {
    "responses: text": ("completed", None),
    "responses: incomplete": ("max_output_tokens", None),
    "responses: failed": (None, "The model produced invalid content."),
    "responses: error-event": (None, "Slow down."),
    "anthropic: text": ("end_turn", None),
    "anthropic: pause-turn": ("pause_turn", None),
    "anthropic: refusal": ("refusal", None),
    "anthropic: context-exceeded": ("model_context_window_exceeded", None),
    "anthropic: overloaded": (None, "Overloaded"),
    "anthropic: relay-sparse": ("tool_use", None),
}


@pytest.mark.parametrize("stream", [stream for stream in EVENT_STREAMS if str(stream) in ENDS], ids=str)
def test_a_stream_ends_as_its_provider_says(stream: EventStream) -> None:
    reader = read_again(stream).reader

    assert (reader.finish_reason, reader.error) == ENDS[str(stream)]
    assert reader.error or reader.missing_end() is None


@each_stream
def test_a_stream_without_its_end_has_broken_off(stream: EventStream) -> None:
    ends = ("response.completed", "response.incomplete", "response.failed", "error", "message_delta", "message_stop")
    events = [event for event in stream.events if event["type"] not in ends]

    assert "broke off" in (read(events).reader.missing_end() or "")


@pytest.mark.parametrize("api", ["responses", "anthropic"])
def test_an_error_without_a_type_among_the_events_is_one(api: EventApi) -> None:
    (stream,) = (stream for stream in event_streams(api) if stream.name == "text")

    reader = read([*stream.events[:4], {"error": {"code": 502, "message": "Upstream is gone."}}]).reader

    assert (reader.error, reader.failure) == ("Upstream is gone.", {"code": 502, "message": "Upstream is gone."})


def test_usage_is_that_of_both_places() -> None:
    (stream,) = (stream for stream in event_streams("anthropic") if stream.name == "web-search")

    usage = read_again(stream).reader.usage or {}

    assert (usage["input_tokens"], usage["output_tokens"], usage["cache_read_input_tokens"]) == (10682, 89, 12)
    assert usage["server_tool_use"]["web_search_requests"] == 1
