"""What is made of the end of a session alone is what is made of the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.events import START, begun, finished, text, user, view_of
from tests.support.examples import each_kind, mostly
from tests.support.histories import AT, ID, History, folded, recorded
from tests.support.segments import short_segments
from tests.support.talks import (
    conversations_that_go_on,
    histories_of_long_turns,
    histories_that_are_cut,
    long_histories,
    long_turns_that_are_cut,
    mixed_histories,
)
from turnlog.domain import events as e
from turnlog.domain.errors import PromptTooLongError
from turnlog.projections.head import SessionHead
from turnlog.projections.projector import PagesNeeded, Projector
from turnlog.projections.prompt import APIS, Api, PromptPolicy, WindowedPrompt, build_prompt, windowed_prompt
from turnlog.projections.prompt.settled_prefix import begin_prompt, call_ids, continue_prompt, sent
from turnlog.projections.prompt.window import only_pinned
from turnlog.projections.segments import whole_turns

Cases = st.SearchStrategy[tuple[History, int]]
each_kind_that_goes_on = each_kind(conversations_that_go_on, histories_that_are_cut | long_turns_that_are_cut)


@pytest.fixture(autouse=True, scope="module")
def _segments() -> Iterator[None]:
    with short_segments():
        yield


def kept_end(projector: Projector, turns: int) -> Projector:
    """As a reader resumes it from what is kept, with so many of the pages."""
    head = SessionHead.from_json(projector.head().to_json())
    return Projector.resume(head, projector.pages()[max(0, head.closed_turns - turns) :])


@each_kind_that_goes_on
def test_a_fold_goes_on_from_the_last_pages_as_from_all(cases: Cases, share: float) -> None:
    with mostly("from some of the pages", share) as saw:

        @given(cases, st.integers(0, 3))
        def check(history_and_cut: tuple[History, int], turns: int) -> None:
            history, cut = history_and_cut
            whole, end = folded(history), kept_end(folded(history[:cut]), turns)
            try:
                end.apply_all(history[cut:])
            except PagesNeeded:
                return saw("all pages are needed")

            assert end.sent_segments() == whole.sent_segments()[end.first_turn :]
            assert end.head().to_json() == whole.head().to_json()
            assert end.closed_turns == whole.closed_turns
            return saw("from some of the pages" if end.first_turn and cut < len(history) else "from all pages")

        check()


any_api: st.SearchStrategy[Api] = st.sampled_from(list(APIS))


@given(mixed_histories | histories_of_long_turns, any_api)
def test_the_parts_of_a_prompt_are_the_prompt(history: History, api: Api) -> None:
    projector = folded(history)
    view = projector.view()

    parts = begin_prompt(projector.sent_segments(), projector.closed_turns, view.compaction, api)

    assert sent(parts.settled + parts.rest, api) == build_prompt(view.turns, api, view.compaction)


@each_kind_that_goes_on
def test_a_prompt_that_goes_on_is_the_prompt(cases: Cases, share: float) -> None:
    with mostly("more is settled", share) as saw:

        @given(cases, st.integers(0, 3), any_api)
        def check(history_and_cut: tuple[History, int], turns: int, api: Api) -> None:
            history, cut = history_and_cut
            early, whole = folded(history[:cut]), folded(history)
            kept = begin_prompt(early.sent_segments(), early.closed_turns, early.compaction, api)
            end = kept_end(early, turns)
            try:
                end.apply_all(history[cut:])
            except PagesNeeded:
                return saw("all pages are needed")
            if end.rewrote > cut or end.first_turn > kept.border.page or end.compaction != early.compaction:
                return saw("what was settled has changed")

            after, taken = end.sent_segments(kept.border.page), call_ids(kept.settled + kept.joinable)
            more = continue_prompt(after, end.closed_turns, end.compaction, taken, kept.border, api, kept.joinable)
            if more is None:
                return saw("all turns are needed")

            messages = kept.settled + more.settled + more.rest
            assert sent(messages, api) == build_prompt(whole.turns(), api, whole.compaction)
            return saw("more is settled" if more.settled else "nothing more is settled")

        check()


@each_kind(long_histories, mixed_histories | histories_of_long_turns, share=0.25)
def test_a_window_of_the_end_is_the_window_of_the_whole(cases: st.SearchStrategy[History], share: float) -> None:
    with mostly("of some of the turns", share) as saw:

        @given(cases, st.integers(1, 8), st.integers(0, 3))
        def check(history: History, messages: int, turns: int) -> None:
            whole = folded(history)
            end = kept_end(whole, turns)
            policy = PromptPolicy()
            held = whole_turns(end.sent_segments())
            loaded = [only_pinned(-1, end.pinned), *held] if end.first_turn else held

            window = outcome(lambda: windowed_prompt(loaded, "chat", end.compaction, policy, messages, len))
            if end.first_turn and isinstance(window, WindowedPrompt) and window.has_all:
                return saw("more turns might have fitted")

            expected = outcome(lambda: windowed_prompt(whole.turns(), "chat", whole.compaction, policy, messages, len))
            assert _prompt(window) == _prompt(expected)
            return saw("of some of the turns" if end.first_turn else "of all turns")

        check()


def _prompt(window: WindowedPrompt | str) -> Any:
    return window.prompt if isinstance(window, WindowedPrompt) else window


def outcome(call: Callable[[], WindowedPrompt]) -> WindowedPrompt | str:
    """What the call gives, or the error that it raises (whose count may be that of another turn, where the last ones
    have nothing to send)."""
    try:
        return call()
    except PromptTooLongError:
        return "too long"


def test_a_session_that_is_started_twice_keeps_its_first_owner() -> None:
    view = view_of(user("hi"), e.SessionStarted(at=AT, user_id="u2", title="other"))
    assert (view.user_id, view.title) == ("u1", None)


def test_texts_change_the_turn_of_their_step_though_another_has_begun() -> None:
    texts = [text("s1", "a"), text("s1", "b")]
    events = recorded([START, user("hi"), begun("s1"), user("and?"), *texts, e.SessionTitled(at=AT, title="t")])
    at_once = Projector(ID).apply_all(events[:4])
    at_once.apply_texts(5, "s1", ["a", "b"])
    at_once.apply_all(events[6:])
    assert at_once.head() == Projector(ID).apply_all(events).head()


def test_the_page_of_a_turn_whose_step_ends_late_is_kept_again() -> None:
    title = e.SessionTitled(at=AT, title="t")
    events = recorded([START, user("hi"), begun("s1"), user("and?"), title, finished("s1")])
    assert [page.index for page in Projector(ID).apply_all(events).pages(after=5)] == [0]


def turns_of(count: int) -> list[Any]:
    spoken = [[user(f"q{n}"), begun(f"s{n}"), text(f"s{n}", "a"), finished(f"s{n}")] for n in range(count)]
    return [
        START,
        e.MessageAdded(at=AT, message_id="m", role="system", content="s"),
        *(e for one in spoken for e in one),
    ]


def resumed(projector: Projector, pages: int) -> Projector:
    head = SessionHead.from_json(projector.head().to_json())
    return Projector.resume(head, projector.pages()[-pages:])


def test_what_is_pinned_is_kept_once_however_often_it_is_resumed() -> None:
    again = resumed(Projector(ID).apply_all(recorded(turns_of(3))), 100)
    assert len(again.head().pinned) == 1


def test_a_step_that_begins_needs_no_turn_before_it() -> None:
    end = resumed(Projector(ID).apply_all(recorded(turns_of(4))), 1)
    end.apply_all(recorded([user("more"), begun("s9")], end.version))  # raises no PagesNeeded
    assert end.first_turn == 2
