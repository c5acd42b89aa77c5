"""What a view shows as queued."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import each_kind, mostly
from tests.support.histories import History
from tests.support.strategies import histories
from tests.support.talks import hurried_histories
from turnlog.projections.projector import Projector


@each_kind(hurried_histories, histories)
def test_what_is_queued_came_after_a_step_that_is_not_over(cases: st.SearchStrategy[History], share: float) -> None:
    with mostly("with a queued message", share) as saw:

        @given(cases)
        def check(history: History) -> None:
            projector, queued = Projector(history[0].session_id), 0
            for event in history:
                view = projector.apply_all([event]).view()
                steps = [step for turn in view.turns for step in turn.steps]
                assert all(message.queued for turn in view.turns if turn.is_queued for message in turn.messages)
                begun = [turn for turn in view.turns if not turn.is_queued]
                for message in [message for turn in begun for message in turn.messages if message.queued]:
                    last = steps[-1]
                    assert message.position > last.position
                    assert last.status == "open" or last.unanswered_calls()
                    queued += 1
            saw("with a queued message" if queued else "without one")

        check()
