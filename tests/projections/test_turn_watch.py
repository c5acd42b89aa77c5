"""Watching for the end of a turn says what the view says, and remembers little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.examples import each_kind, mostly
from tests.support.histories import History
from tests.support.strategies import BEGAN, SESSION_ID, recorded
from tests.support.talks import live_histories, live_talks
from turnlog.domain import events as e
from turnlog.projections import turn_watch
from turnlog.projections.projector import Projector
from turnlog.projections.turn_watch import TurnWatch


@each_kind(live_talks, live_histories)
@pytest.mark.parametrize("closed_at_most", [0, turn_watch.CLOSED_AT_MOST])
def test_a_turn_watch_says_what_the_view_says(
    cases: st.SearchStrategy[History], share: float, closed_at_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Results of imports are sought in all turns, and repairs change any: no event of a live turn does.
    monkeypatch.setattr(turn_watch, "CLOSED_AT_MOST", closed_at_most)
    with mostly("several turns ended", share) as saw:

        @hypothesis_settings(max_examples=50)
        @given(cases)
        def check(events: History) -> None:
            ended = 0
            for cut in (1, max(1, len(events) // 2)):
                projector = Projector(SESSION_ID).apply_all(events[:cut])
                watch = TurnWatch(projector)
                for event in events[cut:]:
                    projector.apply(event)
                    turns = projector.view().turns
                    if any(turn.is_in_hand for turn in turns[:-1]):
                        return saw("a turn was begun again behind another")  # nobody can
                    has_ended = bool(turns) and turns[-1].has_ended
                    assert watch.apply(event) == has_ended
                    ended += has_ended
            return saw("several turns ended" if ended > 1 else "hardly any turn ended")

        check()


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
