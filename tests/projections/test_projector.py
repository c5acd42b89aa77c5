"""The fold: whatever the events, it is valid, it can stop anywhere, and seeing an event twice changes nothing."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import each_kind, mostly
from tests.support.histories import History, alike, folded, imported, repaired
from tests.support.prompt_rules import check_no_neighbours
from tests.support.rules import CHECKS
from tests.support.strategies import BEGAN, SESSION_ID, histories
from tests.support.talks import long_histories
from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.head import SessionHead
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, build_prompt, chat_prompt
from turnlog.projections.view import SessionView, Turn


def kept_and_resumed(projector: Projector) -> Projector:
    """The projector after its head and pages went through JSON."""
    head = SessionHead.from_json(projector.head().to_json())
    return Projector.resume(head, [Turn.from_json(page.to_short_json()) for page in projector.pages()])


@given(histories)
def test_no_two_assistant_messages_stand_side_by_side(history: History) -> None:
    check_no_neighbours(folded(history).view().messages)


@pytest.mark.parametrize("api", CHECKS)
@given(histories)
def test_the_prompt_is_valid_after_any_events(api: Api, history: History) -> None:
    view = folded(history).view()

    CHECKS[api](build_prompt(view.turns, api, view.compaction))


@given(histories)
def test_a_repair_leaves_no_fault_and_has_nothing_to_do_again(history: History) -> None:
    projector = folded(history)
    repaired(projector)
    view = projector.view()

    assert view.faults == ()
    assert repaired(projector) == ()
    for api, check in CHECKS.items():
        check(build_prompt(view.turns, api, view.compaction))
    assert kept_and_resumed(projector).view() == view


@given(histories)
def test_a_withdrawn_repair_leaves_the_view_as_it_was(history: History) -> None:
    before = folded(history).view()
    projector = folded(history)
    repaired(projector)

    withdrawn = e.RepairWithdrawn(at=BEGAN, repair_id="r")
    projector.apply(RecordedEvent(SESSION_ID, projector.version + 1, 0, withdrawn))

    after = projector.view()
    assert [turn.steps for turn in after.turns] == [turn.steps for turn in before.turns]
    assert after.faults == before.faults
    assert chat_prompt(after.turns) == chat_prompt(before.turns)


@pytest.mark.parametrize("api", CHECKS)
@given(histories)
def test_a_prompt_that_is_imported_has_no_fault_and_is_sent_as_it_was(api: Api, history: History) -> None:
    view = folded(history).view()
    prompt = build_prompt(view.turns, api, view.compaction)
    messages = prompt["messages"] if api == "anthropic" else prompt

    again = folded(imported(messages, api)).view()

    assert again.faults == ()
    prompt = build_prompt(again.turns, api)
    assert alike(prompt["messages"] if api == "anthropic" else prompt) == alike(messages)


@given(histories, st.data())
def test_a_fold_can_stop_be_kept_and_go_on_anywhere(history: History, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(history)))

    resumed = kept_and_resumed(folded(history[:cut])).apply_all(history[cut:])

    whole = folded(history)
    assert resumed.view() == whole.view()
    assert resumed.head().to_json() == whole.head().to_json()
    assert resumed.pages() == whole.pages()


@given(histories, st.data())
def test_pages_that_did_not_change_need_not_be_kept_again(history: History, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(history)))
    early, late = folded(history[:cut]), folded(history)

    pages = dict(early.numbered_pages()) | dict(late.numbered_pages(after=early.version))

    assert [pages[number] for number in sorted(pages)] == list(late.pages())


@given(histories)
def test_an_event_that_is_seen_twice_changes_nothing(history: History) -> None:
    twice = [event for event in history for _ in range(2)]

    assert folded(twice).view() == folded(history).view()
    assert folded([*history, *history]).view() == folded(history).view()


@given(histories)
def test_a_view_round_trips_through_json(history: History) -> None:
    view = folded(history).view()

    assert SessionView.model_validate_json(view.model_dump_json()) == view or _has_split_pair(view)
    assert SessionView.from_json(view.to_json()) == view


def _has_split_pair(view: SessionView) -> bool:
    # JSON escapes cannot tell two halves of a character that met from the character itself; to_json can.
    text = repr(view)
    return any("\\ud8" <= text[i : i + 4] < "\\udc" for i in range(len(text)))


@each_kind(long_histories, histories)
def test_text_is_what_came_joined_by_nothing(cases: st.SearchStrategy[History], share: float) -> None:
    with mostly("in several parts", share) as saw:

        @given(cases)
        def check(history: History) -> None:
            texts = texts_by_step(history)
            steps = {step.step_id: step for turn in folded(history).view().turns for step in turn.steps}
            for step_id, parts in texts.items():
                assert steps[step_id].message.content == "".join(parts)
            saw("in several parts" if max(map(len, texts.values()), default=0) > 1 else "in one part or none")

        check()


def texts_by_step(history: History) -> dict[str, list[str]]:
    """The texts of each step that were recorded while it was open."""
    texts: dict[str, list[str]] = defaultdict(list)
    open_steps, seen = set(), set()
    for event in (one.event for one in history):
        if isinstance(event, e.CompletionStarted) and event.step_id not in seen:
            open_steps.add(event.step_id)
            seen.add(event.step_id)
        elif isinstance(event, e.MessageAdded) and event.role == "assistant":
            seen.add(event.message_id)
        elif isinstance(event, e.CompletionEnded):
            open_steps.discard(event.step_id)
        elif isinstance(event, e.TextDelta) and event.step_id in open_steps:
            texts[event.step_id].append(event.text)
    return texts


def test_every_event_has_a_fold() -> None:
    assert set(Projector._FOLDS) == set(e.EVENT_TYPES)
