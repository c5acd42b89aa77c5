"""The chunks of an answer, read by the AI SDK's own reader, are the message that `ui_messages` gives: from wherever the
reader comes in."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.chat_streams import events_of
from tests.support.conversations import OWN, conversations
from tests.support.event_streams import EVENT_STREAMS, read_again
from tests.support.histories import History, recorded, replayed
from tests.support.owned_talks import everything_in_a_turn, owned_histories
from tests.support.pages import ROOT
from tests.support.real_data import each_sample, evenly, needs_real_data, real_corpus
from tests.support.strategies import histories
from tests.support.ui_readers import Reader, ai_sdk_reader, answer_in, comparable, needs_ai_sdk, streamed
from turnlog.domain import events as e
from turnlog.infrastructure.testing import Stream, load_streams

pytestmark = needs_ai_sdk
FEW = settings(max_examples=25)


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with ai_sdk_reader() as running:
        yield running


def check(reader: Reader, history: History, cut: int, after: int, step: int = 1) -> None:
    """A reader who comes at the cut has the same in the end as one who reads the whole message."""
    chunks, end = streamed(history, cut, after, step)
    wanted = answer_in(history[:end], after)
    read = reader.read(chunks)
    said = [chunk["errorText"] for chunk in chunks if chunk["type"] == "error"]
    assert read.wrong == [f"Error: {text}" for text in said]
    assert comparable(read.message) == comparable(wanted)


def events_of_stream(stream: Stream) -> History:
    return recorded(events_of(map(json.loads, stream.chunks)))


def check_cuts(reader: Reader, history: History, count: int = 12) -> None:
    """Cut in so many places, and read at once, one by one, and some at a time."""
    check(reader, history, len(history), 0)
    for cut in evenly(range(1, len(history)), count):
        check(reader, history, cut, 0, step=1 + cut % 3)


def test_every_shape_of_stream_is_read_from_wherever_it_was_cut(reader: Reader) -> None:
    for stream in load_streams(ROOT / "tests" / "data" / "streams"):
        check_cuts(reader, events_of_stream(stream))
    for events in EVENT_STREAMS:
        check_cuts(reader, read_again(events).events)


@needs_real_data
@each_sample
def test_every_recorded_stream_is_read_from_wherever_it_was_cut(reader: Reader, count: int) -> None:
    for stream in evenly(real_corpus(), count):
        check_cuts(reader, events_of_stream(stream), count=3)


@FEW
@given(histories | owned_histories, st.data())
def test_any_history_is_read_from_wherever_it_was_cut(reader: Reader, history: History, data: st.DataObject) -> None:
    cut, step = data.draw(st.integers(1, len(history))), data.draw(st.integers(1, 5))
    said = [0, *(one.position for one in history if isinstance(one.event, e.MessageAdded) and one.event.role == "user")]
    after = data.draw(st.sampled_from([place for place in said if place <= cut]))
    check(reader, history, cut, after, step)


def test_conversations_with_tools_are_read(reader: Reader) -> None:
    for messages in [*conversations(OWN, "valid"), *conversations(OWN, "valid_reused_ids")]:
        check_cuts(reader, replayed(messages), count=3)


def test_all_that_a_turn_with_an_owner_may_hold_is_read(reader: Reader) -> None:
    check_cuts(reader, everything_in_a_turn())
