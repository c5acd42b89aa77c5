"""What the openai and the anthropic package make of recorded streams: their models, their own events, whole answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
from anthropic._models import construct_type as anthropic_model
from anthropic.lib.streaming import _beta_messages as helper
from anthropic.types import beta as anthropic_beta
from openai._models import construct_type as openai_model
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent

from tests.support.event_streams import EVENT_STREAMS, EventStream

NOT_FOR_THE_PACKAGES = {
    *("announced-whole", "ids-made-anew", "only-at-the-end", "whole-call-when-done", "without-content-parts"),
    *("relay-sparse", "unknown-kinds"),
}
"""Streams as relays send them, which the packages' own readers refuse or misread."""
STANDARD = [stream for stream in EVENT_STREAMS if stream.name not in NOT_FOR_THE_PACKAGES]


def models(stream: EventStream) -> list[Any]:
    """The events as the packages give them."""
    if stream.api == "responses":
        return [openai_model(type_=ResponseStreamEvent, value=event) for event in stream.events]
    return [anthropic_model(type_=anthropic_beta.BetaRawMessageStreamEvent, value=event) for event in stream.events]


def accumulated(stream: EventStream) -> dict[str, Any]:
    """The message as the package puts it together."""
    message: Any = None
    pieces: dict[int, bytes] = {}
    for event in models(stream):
        if event.type not in ("ping", "error"):
            message = helper.accumulate_event(
                event=event, current_snapshot=message, json_bufs=pieces, request_headers=None
            )
    whole: dict[str, Any] = message.to_dict(mode="json")
    return whole


def with_helpers(stream: EventStream) -> Iterator[Any]:
    """The events as `client.responses.stream` and `client.messages.stream` give them."""
    if stream.api == "responses":
        state: Any = ResponseStreamState(text_format=openai.omit, input_tools=openai.omit)
        for model in models(stream):
            yield from state.handle_event(model)
        return
    message: Any = None
    pieces: dict[int, bytes] = {}
    for event in models(stream):
        if event.type in ("ping", "error"):
            yield event
            continue
        message = helper.accumulate_event(event=event, current_snapshot=message, json_bufs=pieces, request_headers=None)
        yield from helper.build_events(event=event, message_snapshot=message)
