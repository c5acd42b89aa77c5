"""A turn of many steps in segments is the same turn: as it is read, as it is sent, and wherever it is cut."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.events import START, begun, finished, text, user
from tests.support.examples import each_kind, mostly
from tests.support.histories import AT, ID, History, folded, recorded, repaired
from tests.support.owned_talks import owned_histories
from tests.support.rules import CHECKS
from tests.support.segments import Uncut, short_segments
from tests.support.strategies import histories
from tests.support.talks import histories_of_long_turns, long_histories, mixed_histories
from turnlog.domain import events as e
from turnlog.projections.head import SessionHead
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import APIS, Api, build_prompt
from turnlog.projections.prompt.settled_prefix import begin_prompt, call_ids, continue_prompt, sent
from turnlog.projections.segments import SEGMENT_BYTES
from turnlog.projections.turn import Turn

any_histories = histories | mixed_histories | long_histories | owned_histories


@pytest.fixture(autouse=True)
def _segments() -> Iterator[None]:
    with short_segments():
        yield


def kept_and_resumed(projector: Projector) -> Projector:
    head = SessionHead.from_json(projector.head().to_json())
    return Projector.resume(head, [Turn.from_json(page.to_short_json()) for page in projector.pages()])


@each_kind(histories_of_long_turns, any_histories)
def test_turns_in_segments_are_read_and_sent_as_turns_in_one_piece(
    cases: st.SearchStrategy[History], share: float
) -> None:
    with mostly("in segments", share) as saw:

        @given(cases, st.integers(0, 40))
        def check(history: History, at: int) -> None:
            uncut = Uncut(history[0].session_id).apply_all(history)
            cut, upto = folded(history), min(at, len(history))
            resumed = kept_and_resumed(folded(history[:upto])).apply_all(history[upto:]) if upto else folded(history)
            is_cut = cut.page_count > cut.turn_count
            for projector in (cut, resumed):
                assert projector.view() == uncut.view()
                repaired(projector)
            repaired(uncut)
            assert cut.view() == uncut.view() == resumed.view() == kept_and_resumed(cut).view()
            assert resumed.head().to_json() == cut.head().to_json()
            assert resumed.pages() == cut.pages()
            saw("in segments" if is_cut else "in one piece")

        check()


def called(step: str, result: str = "found") -> list[e.SessionEvent]:
    """A step with a call and its result."""
    return [
        begun(step),
        e.ToolCallStarted(at=AT, step_id=step, index=0, id=f"call-{step}", name="find"),
        finished(step),
        e.ToolResultAdded(at=AT, step_id=step, index=0, call_id=f"call-{step}", status="final", content=result),
    ]


def long_turn(steps: int, result: str = "found") -> History:
    return recorded([START, user("why?"), *(event for n in range(steps) for event in called(f"s{n}", result))])


def test_a_segment_repeats_the_question_and_the_turn_has_it_once() -> None:
    projector = folded(long_turn(5))
    assert [[step.step_id for step in page.steps] for page in projector.pages()] == [["s0"], ["s1"], ["s2"], ["s3"]]
    assert [page.messages[0].content for page in projector.pages()] == ["why?"] * 4
    (turn,) = projector.turns()
    assert (len(turn.messages), [step.step_id for step in turn.steps]) == (1, [f"s{n}" for n in range(5)])


def test_what_is_held_of_a_long_turn_does_not_grow_with_its_steps() -> None:
    sizes = []
    for steps in (20, 40, 400):
        with short_segments(64):
            projector = folded(long_turn(steps, "x" * 1_000))
        sizes.append(len(projector.head().to_json()))
        assert max(len(page.to_short_json()) for page in projector.pages()) < 4 * SEGMENT_BYTES
    assert max(sizes) < 1.2 * min(sizes) + SEGMENT_BYTES


@pytest.mark.parametrize("field", ["supersedes", "continues"])
def test_a_step_that_names_one_of_an_earlier_segment_joins_them(field: str) -> None:
    events = long_turn(4)
    after = e.CompletionStarted(at=AT, step_id="again", **{field: "s1"})
    events += recorded([after, finished("again")], len(events))
    projector = folded(events)
    assert projector.view() == Uncut(ID).apply_all(events).view()
    assert [len(page.steps) for page in projector.pages()] == [0, 0, 0]
    assert kept_and_resumed(projector).view() == projector.view()


@pytest.mark.parametrize(
    "event",
    [
        e.ToolResultAdded(at=AT, step_id="s4", index=0, call_id="call-s4", status="pending", content="begun"),
        e.ToolStarted(at=AT, run="r", step_id="s4", index=0, call_id="call-s4", attempt=1),
    ],
    ids=["that is pending", "that runs"],
)
def test_a_turn_is_not_cut_where_a_result_is_to_come(event: e.SessionEvent) -> None:
    events = long_turn(5)[:-1]
    events += recorded([event, *called("s5")], len(events))
    assert folded(events).closed_turns == 4


def test_a_result_that_is_pending_for_long_is_filed_in_its_segment() -> None:
    pending = [begun("job"), e.ToolCallStarted(at=AT, step_id="job", index=0, id="job", name="find"), finished("job")]
    given_ = partial(e.ToolResultAdded, at=AT, step_id="job", index=0, call_id="job")
    steps = [event for n in range(20) for event in called(f"s{n}")]
    events = recorded([START, user("why?"), *pending, given_(status="pending", content="begun"), *steps])
    projector = folded(events)
    assert projector.closed_turns == 19
    after = recorded([given_(status="final", content="done", late=True), *called("last")], len(events))
    projector.apply_all(after)
    assert projector.view() == Uncut(ID).apply_all([*events, *after]).view()
    assert projector.reached_back == after[0].position > projector.rewrote
    assert projector.pages()[0].steps[0].tool_results[0].content == "done"


def test_a_prompt_goes_on_inside_a_long_turn() -> None:
    events = long_turn(10)
    early = folded(events)
    kept = begin_prompt(early.sent_segments(), early.closed_turns, None)
    assert kept.border.page == 9
    after = recorded([event for n in range(10, 13) for event in called(f"s{n}")], len(events))
    end = Projector.resume(early.head(), early.pages()[-1:]).apply_all(after)

    segments, taken = end.sent_segments(kept.border.page), call_ids(kept.settled)
    more = continue_prompt(segments, end.closed_turns, None, taken, kept.border)

    assert more is not None
    assert (more.border.page, len(more.settled), len(more.rest)) == (12, 6, 2)
    assert kept.settled + more.settled + more.rest == build_prompt(folded([*events, *after]).turns())


@given(histories_of_long_turns)
def test_prompts_of_turns_in_segments_are_valid(history: History) -> None:
    view = folded(history).view()
    for api, check in CHECKS.items():
        check(build_prompt(view.turns, api, view.compaction))


SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
UNANSWERED = {
    "a turn that is stopped behind its results": [
        user("q0"),
        e.TurnStarted(at=AT, turn_id="q0", run="r", writer="w"),
        *called("s0"),
        e.TurnEnded(at=AT, turn_id="q0", run="r", status="stopped", reason=""),
    ],
    "an answer that failed": [user("q0"), begun("s0"), e.CompletionFailed(at=AT, step_id="s0", error="x")],
    "an answer that says nothing": [user("q0"), begun("s0"), finished("s0")],
    "an answer that was paused": [
        user("q0"),
        begun("s0"),
        e.PartStarted(at=AT, step_id="s0", part=1, kind="server_call", api="anthropic", call=None, data=SEARCH),
        e.PartStarted(at=AT, step_id="s0", part=2, kind="text", api="anthropic", call=None, data={}),
        text("s0", "Looking."),
        e.CompletionFinished(at=AT, step_id="s0", finish_reason="pause_turn"),
    ],
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("unanswered", UNANSWERED.values(), ids=UNANSWERED)
def test_what_is_said_behind_what_was_settled_is_joined_to_it_where_an_api_joins(
    unanswered: list[e.SessionEvent], api: Api
) -> None:
    after = [user("q1"), *called("s1"), begun("s2"), finished("s2"), user("q2"), *called("s3"), user("q3")]
    history = recorded([START, *unanswered, *after])
    expected = build_prompt(folded(history).turns(), api)
    for cut in range(len(unanswered) + 2, len(history) + 1):
        early, end = folded(history[:cut]), folded(history)
        kept = begin_prompt(early.sent_segments(), early.closed_turns, None, api)
        assert sent(kept.settled + kept.rest, api) == build_prompt(early.turns(), api)
        if kept.border.page == 0:
            continue
        segments, taken = end.sent_segments(kept.border.page), call_ids(kept.settled + kept.joinable)
        more = continue_prompt(segments, end.closed_turns, None, taken, kept.border, api, kept.joinable)
        assert more is not None
        assert sent(kept.settled + more.settled + more.rest, api) == expected
