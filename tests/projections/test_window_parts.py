"""A window of remembered parts is the window that is made of all turns, whenever they were remembered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import each_kind, mostly
from tests.support.histories import History, folded
from tests.support.segments import short_segments
from tests.support.talks import histories_that_are_cut, long_turns_that_are_cut
from turnlog.domain import events as e
from turnlog.domain.errors import PromptTooLongError
from turnlog.projections.head import SessionHead
from turnlog.projections.projector import PagesNeeded, Projector
from turnlog.projections.prompt import Api, windowed_prompt
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.prompt.tokens import estimated_tokens
from turnlog.projections.prompt.window import first_that_fits
from turnlog.projections.prompt.window_parts import PartsMaker
from turnlog.projections.turn import Message

Cases = st.SearchStrategy[tuple[History, int]]


def kept_end(projector: Projector, pages: int) -> Projector:
    head = SessionHead.from_json(projector.head().to_json())
    return Projector.resume(head, projector.pages()[max(0, head.closed_turns - pages) :])


def with_own_ids(history: History) -> History:
    """The history with call ids that do not come back in another step."""
    return [recorded._replace(event=_with_own_ids(recorded.event)) for recorded in history]


def _with_own_ids(event: e.SessionEvent) -> e.SessionEvent:
    if isinstance(event, e.ToolCallStarted):
        return event.model_copy(update={"id": f"{event.id}-{event.step_id}"})
    if isinstance(event, e.ToolResultAdded):
        return event.model_copy(update={"call_id": f"{event.call_id}-{event.step_id}"})
    return event


def pinned(projector: Projector) -> list[Message]:
    held = [message for turn in projector.unclosed_turns() for message in turn.messages if message.is_pinned]
    return [*projector.pinned_in_pages(), *held]


@pytest.mark.parametrize("api", ["chat", "responses"])
@each_kind(long_turns_that_are_cut, histories_that_are_cut, share=0.05)
def test_a_window_of_parts_is_the_window(api: Api, cases: Cases, share: float) -> None:
    maker = PartsMaker(api, DEFAULT_POLICY)

    def window(history: History, cut: int, pages: int, budget: int, count: Any) -> str:
        history = with_own_ids(history)
        early, whole = folded(history[:cut]), folded(history)
        end = kept_end(early, pages)
        begun = maker.begun(end.sent_segments(), end.first_turn, end.closed_turns, end.compaction)
        if begun is None:
            return "no parts"
        before = begun[0]
        try:
            end.apply_all(history[cut:])
        except PagesNeeded:
            return "all pages are needed"
        if end.rewrote > cut or end.compaction != early.compaction:
            return "what was settled has changed"
        made = maker.continued(before, end.sent_segments(before.border.page), end.closed_turns, end.compaction)
        if made is None:
            return "no parts any more"
        parts = (*made[0].parts, *made[1])
        found = maker.window(parts, pinned(end), end.compaction, budget, count) if parts else None
        if found is None or (found[0] == 0 and not made[0].is_whole):
            return "more has to be read"
        try:
            expected = windowed_prompt(whole.turns(), api, whole.compaction, DEFAULT_POLICY, budget, count)
        except PromptTooLongError:
            expected = None
        assert expected is not None
        assert found[1] == expected.prompt
        return "of parts"

    with short_segments(), mostly("of parts", share) as saw:

        @settings(max_examples=200 if share else 60)  # few of them are telling
        @given(cases, st.integers(0, 4), st.integers(1, 20), st.booleans())
        def check(history_and_cut: tuple[History, int], pages: int, size: int, is_counted: bool) -> None:
            budget, count = (size, len) if is_counted else (12 * size, estimated_tokens)
            saw(window(*history_and_cut, pages, budget, count))

        check()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 400), st.floats(0.3, 3))
def test_the_first_part_that_fits_is_found_with_few_counts(parts: list[int], most: int, ratio: float) -> None:
    counted = list[int]()

    def tokens(number: int) -> int:
        counted.append(number)
        return int(10 + ratio * sum(parts[number:]))

    found = first_that_fits(parts, tokens, most)

    assert len(counted) == len(set(counted)) <= 12
    fitting = [number for number in range(len(parts)) if int(10 + ratio * sum(parts[number:])) <= most]
    assert found == (fitting[0] if fitting else None)


def test_an_estimate_that_is_the_count_is_asked_for_no_more_than_once() -> None:
    counted = list[int]()
    parts = [100] * 1_000

    def tokens(number: int) -> int:
        counted.append(number)
        return sum(parts[number:])

    assert first_that_fits(parts, tokens, 5_050, are_least=True) == 950
    assert counted == [950]
