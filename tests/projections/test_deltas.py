"""Every event has one delta."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.support.histories import AT, History, folded, recorded
from tests.support.owned_talks import owned_histories
from tests.support.page import Page
from tests.support.strategies import SESSION_ID, histories
from turnlog import RecordedEvent
from turnlog.domain import events as e
from turnlog.projections.deltas import StepEnded, StepStarted, delta_of
from turnlog.projections.offsets import Offsets
from turnlog.projections.projector import Projector


@given(histories)
def test_every_event_has_one_delta_whatever_was_recorded(events: list[RecordedEvent]) -> None:
    offsets = Offsets(Projector(SESSION_ID).apply_all(events[:1]).view().turns)
    deltas = [delta_of(event, offsets.take(event.event)) for event in events]
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
        page.tell(delta_of(event, offsets.take(event.event)))

    assert page.shown() == Page(folded(history).view()).shown()


def test_a_client_is_told_whose_an_answer_is_and_what_becomes_of_the_one_before() -> None:
    begun = e.CompletionStarted(at=AT, step_id="s2", model="m", turn_id="m1", supersedes="s0", continues="s1")
    assert delta_of(recorded([begun])[0], 0) == StepStarted(
        position=1, at=AT, step_id="s2", model="m", turn_id="m1", supersedes="s0", continues="s1"
    )
    unowned = e.CompletionStarted(at=AT, step_id="s2")
    assert delta_of(recorded([unowned])[0], 0) == StepStarted(position=1, at=AT, step_id="s2", model=None)


def test_a_client_is_told_what_a_step_took_and_its_offsets_are_forgotten() -> None:
    offsets = Offsets()
    text = e.TextDelta(at=AT, step_id="s1", text="Hi")
    assert [offsets.take(event) for event in (e.CompletionStarted(at=AT, step_id="s1"), text, text)] == [0, 0, 2]
    end = e.CompletionFinished(at=AT, step_id="s1", model="m", finish_reason="stop", usage={"total_tokens": 3})
    told = delta_of(recorded([end])[0], offsets.take(end))
    assert isinstance(told, StepEnded)
    assert (told.model, told.finish_reason, told.usage) == ("m", "stop", {"total_tokens": 3})
    assert not offsets.know(text)
