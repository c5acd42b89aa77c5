"""Turns with owners: what is made of their events is valid, the same however it is folded, and what the state says."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.events import START, begun, failed, user
from tests.support.histories import AT, ID, History, folded, recorded
from tests.support.owned_talks import OwnedTalk, owned_histories, owned_talks
from tests.support.rules import CHECKS, check_prompts
from tests.support.serialised import serialised
from turnlog.domain import events as e
from turnlog.domain.turns import turn_status
from turnlog.projections.head import SessionHead
from turnlog.projections.projector import PagesNeeded, Projector
from turnlog.projections.prompt import chat_prompt
from turnlog.projections.turn_watch import TurnWatch
from turnlog.projections.view import Turn


@given(owned_histories)
def test_every_prompt_of_owned_turns_is_valid(history: History) -> None:
    check_prompts(folded(history).view())


@given(owned_histories, st.data())
def test_a_fold_of_owned_turns_can_stop_and_go_on_with_few_pages(history: History, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(history)))
    pages = data.draw(st.integers(0, 3))
    early, whole = folded(history[:cut]), folded(history)
    head = SessionHead.from_json(early.head().to_json())
    kept = [Turn.from_json(page.to_short_json()) for page in early.pages()]
    resumed = Projector.resume(head, kept).apply_all(history[cut:])
    assert resumed.view() == whole.view()
    assert resumed.head().to_json() == whole.head().to_json()
    assert resumed.pages() == whole.pages()
    end = Projector.resume(head, kept[max(0, len(kept) - pages) :])
    try:
        end.apply_all(history[cut:])
    except PagesNeeded:
        return
    assert end.sent_segments() == whole.sent_segments()[end.first_turn :]
    assert end.head().to_json() == whole.head().to_json()


@given(owned_histories)
def test_the_watch_says_when_the_last_turn_has_ended(history: History) -> None:
    projector = folded(history[:1])
    watch = TurnWatch(projector)
    for event in history[1:]:
        assert watch.apply(event) == _has_ended(projector.apply_all([event]))


def _has_ended(projector: Projector) -> bool:
    turns = projector.turns()
    under_way = any(turn.is_in_hand or turn.is_queued for turn in turns)
    begun = [turn for turn in turns if not turn.is_behind]
    return bool(begun) and not under_way and begun[-1].has_ended


def _latest(turns: tuple[Turn, ...]) -> Turn:
    """The latest turn that has begun, if any has."""
    return ([turn for turn in turns if not turn.is_behind] or list(turns))[-1]


@given(owned_talks)
def test_the_state_says_the_status_that_the_view_has(talk: OwnedTalk) -> None:
    """The lists have the one, and readers of the session the other."""
    turns = folded(talk.events).turns()
    in_hand = [turn for turn in turns if turn.is_in_hand]
    queued = [turn for turn in turns if turn.is_queued]
    of_view = (in_hand or queued or [_latest(turns)])[-1].status if turns else None
    if of_view == "open" and talk.state.latest is None and talk.state.asked is None:
        of_view = None  # nothing was asked
    assert turn_status(talk.state) == of_view


@given(owned_talks)
def test_what_was_sent_is_never_rewritten(talk: OwnedTalk) -> None:
    """Each request begins with the one before it: a late result changes nothing of what the model has had."""
    projector = Projector(ID)
    sent = dict.fromkeys(CHECKS, b"")
    has_system = any(
        getattr(event.event, "role", "") == "system" for event in talk.events
    )  # where it stands is no owner's doing
    for count in talk.asked_at:
        projector.apply_all(talk.events[:count])
        if projector.is_streaming or [one["role"] for one in chat_prompt(projector.turns())[-1:]] == ["assistant"]:
            continue  # nobody asks before the answer is there, or when there is nothing to ask
        for api, before in sent.items():
            sent[api] = serialised(projector, api)
            assert sent[api].startswith(before) or (has_system and api == "anthropic")


@given(owned_talks)
def test_pages_that_have_changed_are_told(talk: OwnedTalk) -> None:
    """Who holds only the last pages learns whether others have changed."""
    projector = Projector(talk.events[0].session_id)
    for event in talk.events:
        pages = dict(projector.numbered_pages())
        projector.apply(event)
        now = dict(projector.numbered_pages())
        if any(now.get(index) != page for index, page in pages.items()):
            assert projector.reached_back == event.position


def test_a_turn_that_may_be_before_those_that_are_held_is_looked_for_in_all_pages() -> None:
    """One that is begun again behind another, which was never asked for."""
    first = [START, user("one"), taken("one", "r1"), begun("s1"), failed("s1"), left("one", "r1")]
    events = recorded([*first, user("two"), taken("two", "r2"), left("two", "r2")])
    whole = folded(events)
    assert whole.closed_turns == 1
    held = partial(Projector.resume, whole.head(), [])
    assert (held().first_turn, held().turns()[0].turn_id) == (1, "two")

    again = recorded([taken("two", "r3")], len(events))
    assert held().apply_all(again).turns() == folded([*events, *again]).turns()[1:]
    again = recorded([taken("one", "r3")], len(events))
    assert [len(turn.runs) for turn in folded([*events, *again]).turns()] == [2, 1]
    with pytest.raises(PagesNeeded):
        held().apply_all(again)


def taken(turn_id: str, run: str) -> e.TurnStarted:
    return e.TurnStarted(at=AT, turn_id=turn_id, run=run, writer="w1")


def left(turn_id: str, run: str) -> e.TurnEnded:
    return e.TurnEnded(at=AT, turn_id=turn_id, run=run, status="failed")
