"""Every event has one delta."""

from __future__ import annotations

import json

from hypothesis import given

from tests.support.strategies import SESSION_ID, histories
from turnlog import RecordedEvent
from turnlog.projections.deltas import Offsets, delta_of
from turnlog.projections.projector import Projector


@given(histories)
def test_every_event_has_one_delta_whatever_was_recorded(events: list[RecordedEvent]) -> None:
    offsets = Offsets(Projector(SESSION_ID).apply_all(events[:1]).view())
    deltas = [delta_of(event, offsets.take(event.event)) for event in events]
    assert [delta.position for delta in deltas] == [event.position for event in events]
    assert all(json.loads(delta.model_dump_json())["kind"] == delta.kind for delta in deltas)
