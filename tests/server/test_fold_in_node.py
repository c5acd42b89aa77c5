"""`turnlog.js` folds deltas as the server folds events: at every position it has the server's view."""

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
from tests.support.node import Fold, fold_in_node, needs_node
from tests.support.owned_talks import everything_in_a_turn, owned_histories
from tests.support.pages import ROOT
from tests.support.real_data import each_sample, evenly, needs_real_data, real_corpus
from tests.support.strategies import BEGAN, histories
from tests.support.talks import histories_of_long_turns, live_histories, live_talks, long_histories
from turnlog.domain import events as e
from turnlog.infrastructure.testing import Stream, load_streams

pytestmark = needs_node
FEW = settings(max_examples=12)
"""Each is a whole history, of which every position is looked at."""


@pytest.fixture(scope="module")
def node() -> Iterator[Fold]:
    with fold_in_node() as running:
        yield running


def events_of_stream(stream: Stream) -> History:
    return recorded(events_of(map(json.loads, stream.chunks)))


def check_told(node: Fold, history: History) -> None:
    """The deltas said all that had changed."""
    folded = node.fold(history)
    assert folded.wrong == []
    assert (folded.told, folded.untold) == (len(history) - 1, 0)


def test_every_shape_of_stream_is_folded_by_its_deltas_alone(node: Fold) -> None:
    for stream in load_streams(ROOT / "tests" / "data" / "streams"):
        check_told(node, events_of_stream(stream))
    for events in EVENT_STREAMS:
        check_told(node, read_again(events).events)


@needs_real_data
@each_sample
def test_every_recorded_stream_is_folded_by_its_deltas_alone(node: Fold, count: int) -> None:
    for stream in evenly(real_corpus(), count):
        check_told(node, events_of_stream(stream))


def test_conversations_with_tools_are_folded_by_their_deltas_alone(node: Fold) -> None:
    for messages in [*conversations(OWN, "valid"), *conversations(OWN, "valid_reused_ids")]:
        check_told(node, replayed(messages))


def test_all_that_a_turn_with_an_owner_may_hold_is_folded(node: Fold) -> None:
    folded = node.fold(everything_in_a_turn())
    assert folded.wrong == []
    assert folded.untold == 2  # the late result, and the turn that was stopped in the queue when no turn was in hand


def test_what_has_no_delta_of_its_own_is_folded(node: Fold) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    events: list[e.SessionEvent] = [
        e.SessionStarted(at=BEGAN, user_id=None, metadata={"__proto__": 1, "a": {"b": 1}}),
        e.OwnerAssigned(at=BEGAN, user_id="u1"),
        e.SessionTitled(at=BEGAN, title="Weather"),
        e.MetadataSet(at=BEGAN, patch={"a": {"b": None, "c": [1]}, "__proto__": None, "constructor": {"d": 2}}),
        e.CounterIncremented(at=BEGAN, id="i", counter="__proto__", key="constructor", by=2),
        e.CounterIncremented(at=BEGAN, id="j", counter="__proto__", key="constructor", by=-3),
        e.UsageReported(at=BEGAN, id="u", model="m", usage=usage),
        e.CompletionStarted(at=BEGAN, step_id="s1"),
        e.UsageReported(at=BEGAN, id="v", usage=usage),
        e.CompletionFinished(at=BEGAN, step_id="s1", finish_reason="length", usage={"output_tokens": 5}),
        e.ContextCompacted(at=BEGAN, summary="so far", upto=99),
    ]
    check_told(node, recorded(events))


def test_texts_that_no_two_languages_count_alike_are_folded(node: Fold) -> None:
    texts = ["e\u0301", "\U0001f469\u200d\U0001f467", "\ud83d", "\ude00", "\x00", "\ud83d", "x\udead"]
    begun = [e.SessionStarted(at=BEGAN, user_id="u1"), e.CompletionStarted(at=BEGAN, step_id="s1")]
    said = [e.TextDelta(at=BEGAN, step_id="s1", text=text) for text in texts]
    part = e.PartStarted(at=BEGAN, step_id="s1", part=1, kind="text", api="anthropic")
    check_told(node, recorded([*begun, *said, part, *said]))
    check_told(node, recorded([*begun, *said[:2], part, *said[:2]]))  # here lengths are the same, too


def test_arguments_that_were_sent_again_or_cut_off_end_as_they_do_on_the_server(node: Fold) -> None:
    begun = [e.SessionStarted(at=BEGAN, user_id="u1"), e.CompletionStarted(at=BEGAN, step_id="s1")]
    texts = [
        "",
        "{}",
        '{}{"a":1}',
        '{"a":1}{"a":1,"b":"}"}',
        '{"a":1}}',
        '{"a":"\\ud83d"}',
        '{"a":1} {"b":2}',
        '{"a":',
        "[1]",
    ]
    calls = list[e.SessionEvent]()
    for index, text in enumerate(texts):
        calls.append(e.ToolCallStarted(at=BEGAN, step_id="s1", index=index, name="find", custom=index == 0))
        calls.append(e.ToolCallArgumentsDelta(at=BEGAN, step_id="s1", index=index, arguments=text))
    for reason in ("stop", "length"):
        end = e.CompletionFinished(at=BEGAN, step_id="s1", finish_reason=reason)
        check_told(node, recorded([*begun, *calls, end]))


TOLD = {
    "turns with owners": owned_histories,
    "conversations": live_talks,
    "turns of many steps": histories_of_long_turns,
    "imports, too": long_histories,
    "any events": live_histories | histories,
}


@pytest.mark.parametrize("kind", TOLD)
@FEW
@given(st.data())
def test_whatever_is_recorded_a_delta_leads_to_the_next_view_or_says_that_it_does_not(
    node: Fold, kind: str, data: st.DataObject
) -> None:
    assert node.fold(data.draw(TOLD[kind])).wrong == []
