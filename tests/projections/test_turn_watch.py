"""Watching for the end of a turn says what the view says, and remembers little."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.strategies import BEGAN, SESSION_ID, histories, recorded
from turnlog import RecordedEvent
from turnlog.domain import events as e
from turnlog.domain.events import MessageImported, RepairWithdrawn, SessionRepaired
from turnlog.projections import turn_watch
from turnlog.projections.projector import Projector
from turnlog.projections.turn_watch import TurnWatch


@hypothesis_settings(deadline=None)
@given(histories, st.sampled_from([0, turn_watch.CLOSED_AT_MOST]))
def test_a_turn_watch_says_what_the_view_says(events: list[RecordedEvent], closed_at_most: int) -> None:
    # Results of imports are sought in all turns, and repairs change any: no event of a live turn does.
    assume(not any(isinstance(event.event, MessageImported | SessionRepaired | RepairWithdrawn) for event in events))
    for cut in (1, len(events) // 2, len(events)):
        projector = Projector(SESSION_ID).apply_all(events[:cut])
        if cut == 0:
            continue
        watch = TurnWatch(projector)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(turn_watch, "CLOSED_AT_MOST", closed_at_most)
            for event in events[cut:]:
                projector.apply(event)
                turns = projector.view().turns
                assert watch.apply(event) == (bool(turns) and turns[-1].has_ended)


def test_what_watches_for_the_end_of_a_turn_forgets_those_that_were_closed() -> None:
    events = list[e.SessionEvent]()
    for number in range(100):
        events.append(e.MessageAdded(at=BEGAN, message_id=f"m{number}", role="user", content="hi"))
        events.append(e.MessageAdded(at=BEGAN, message_id=f"s{number}", role="assistant", content="Hello!"))
    first, *later = recorded(events)
    watch = TurnWatch(Projector(SESSION_ID).apply_all([first]))
    assert [watch.apply(event) for event in later] == [False, True] * 100
    kept = [turn for turn in watch._projector.raw_turns() if turn.messages]
    assert len(kept) <= turn_watch.CLOSED_AT_MOST + 2
