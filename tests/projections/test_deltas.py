"""Every event has one delta."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.support.histories import AT, History, folded, recorded
from tests.support.owned_talks import owned_histories
from tests.support.page import Page
from tests.support.strategies import SESSION_ID, histories
from turnlog import RecordedEvent
from turnlog.domain import events as e
from turnlog.projections.deltas import Delta, PartFragment, StepEnded, StepStarted, delta_of
from turnlog.projections.offsets import Offsets, Place
from turnlog.projections.projector import Projector


def told(events: Sequence[RecordedEvent], offsets: Offsets, after: int = 0) -> list[Delta]:
    """What a client is told of the events after the first ones, by somebody who may have to look back for them."""
    deltas = list[Delta]()
    for number, event in enumerate(events[after:], after):
        if not offsets.know(event.event):
            offsets.learn(event.event.step_id, reversed(events[:number]))  # type: ignore[union-attr]  # it is of a step
        deltas.append(delta_of(event, offsets.take(event)))
    return deltas


@given(histories | owned_histories)
def test_whoever_comes_back_anywhere_is_told_what_one_is_told_who_was_always_there(events: list[RecordedEvent]) -> None:
    always = told(events, Offsets())
    assert [told(events, Offsets(), after) for after in range(len(events))] == [
        always[after:] for after in range(len(events))
    ]


@given(owned_histories, st.data())
def test_whoever_begins_with_a_view_is_told_what_one_is_told_who_was_always_there(
    history: History, data: st.DataObject
) -> None:
    after = data.draw(st.integers(1, len(history)))
    begun = Offsets(folded(history[:after]).view().turns)
    assert told(history, begun, after) == told(history, Offsets())[after:]


def test_a_text_inside_a_part_goes_on_where_it_was_also_for_one_who_comes_back() -> None:
    events = recorded(
        [
            e.CompletionStarted(at=AT, step_id="s1"),
            e.PartStarted(at=AT, step_id="s1", part=1, kind="audio", api="chat", data={"transcript": "Hel"}),
            e.PartDelta(at=AT, step_id="s1", part=1, field="transcript", text="lo"),
            e.PartDelta(at=AT, step_id="s1", part=1, field="transcript", text="!"),
        ]
    )
    (last,) = told(events, Offsets(), after=3)
    assert isinstance(last, PartFragment)
    assert (last.began, last.offset) == (1, 5)


@given(histories)
def test_pieces_of_a_step_say_where_it_began(events: list[RecordedEvent]) -> None:
    for delta in told(events, Offsets()):
        step_id, began = getattr(delta, "step_id", None), getattr(delta, "began", None)
        if began is not None:
            assert isinstance(begun := events[began - 1].event, e.CompletionStarted)
            assert begun.step_id == step_id
            assert began < delta.position


@given(histories)
def test_every_event_has_one_delta_whatever_was_recorded(events: list[RecordedEvent]) -> None:
    offsets = Offsets(Projector(SESSION_ID).apply_all(events[:1]).view().turns)
    deltas = [delta_of(event, offsets.take(event)) for event in events]
    assert [delta.position for delta in deltas] == [event.position for event in events]
    assert all(json.loads(delta.model_dump_json())["kind"] == delta.kind for delta in deltas)


@given(owned_histories, st.data())
def test_a_view_of_owned_turns_and_the_deltas_after_it_are_the_view_at_the_end(
    history: History, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(history)))
    before = folded(history[:cut]).view()
    page, offsets = Page(before), Offsets(before.turns)
    for event in history[cut:]:
        page.tell(delta_of(event, offsets.take(event)))

    assert page.shown() == Page(folded(history).view()).shown()


def test_a_client_is_told_whose_an_answer_is_and_what_becomes_of_the_one_before() -> None:
    begun = e.CompletionStarted(at=AT, step_id="s2", model="m", turn_id="m1", supersedes="s0", continues="s1")
    assert delta_of(recorded([begun])[0], Place()) == StepStarted(
        position=1, at=AT, step_id="s2", model="m", turn_id="m1", supersedes="s0", continues="s1"
    )
    unowned = e.CompletionStarted(at=AT, step_id="s2")
    assert delta_of(recorded([unowned])[0], Place()) == StepStarted(position=1, at=AT, step_id="s2", model=None)


def test_a_client_is_told_what_a_step_took_and_its_offsets_are_forgotten() -> None:
    offsets = Offsets()
    text = e.TextDelta(at=AT, step_id="s1", text="Hi")
    events = recorded([e.CompletionStarted(at=AT, step_id="s1"), text, text], after=3)
    assert [offsets.take(event) for event in events] == [(0, 4), (0, 4), (2, 4)]
    end = e.CompletionFinished(at=AT, step_id="s1", model="m", finish_reason="stop", usage={"total_tokens": 3})
    last = recorded([end], after=6)[0]
    ended = delta_of(last, offsets.take(last))
    assert isinstance(ended, StepEnded)
    assert (ended.began, ended.model, ended.finish_reason, ended.usage) == (4, "m", "stop", {"total_tokens": 3})
    assert not offsets.know(text)
