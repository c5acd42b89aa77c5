"""What is wrong with an imported history: results that are out of place, and calls that they cannot find."""

from __future__ import annotations

import pytest

from tests.support.foreign_messages import Json, call, result, said, user
from tests.support.histories import AT, calls_made_by, folded, imported, recorded
from turnlog.domain.events import SessionEvent, SessionTitled, UsageReported
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.projector import Projector

NOT_ADJACENT: dict[str, list[Json]] = {
    "a result of no call": [user(), said(None, call()), result("gone"), result()],
    "a system message": [user(), said(None, call()), {"role": "system", "content": "Be brief."}, result()],
    "a role that no API has": [user(), said(None, call()), {"role": "robot", "content": "beep"}, result()],
}


@pytest.mark.parametrize("messages", NOT_ADJACENT.values(), ids=NOT_ADJACENT.keys())
def test_only_a_users_words_are_a_users_message_between_call_and_result(messages: list[Json]) -> None:
    kinds = [fault.kind for turn in folded(imported(messages)).turns() for fault in turn.faults]
    assert "result_not_adjacent" in kinds
    assert "user_message_between" not in kinds


def test_a_result_after_a_users_message_has_no_second_fault() -> None:
    messages = [user(), said(None, call()), {"role": "system", "content": "Be brief."}, user("and?"), result()]
    assert [fault.kind for fault in folded(imported(messages)).view().faults] == ["user_message_between"]


@pytest.mark.parametrize("arguments", [r'{"a":"\ud800x"}', '{"a":1e999}'])
def test_arguments_of_which_a_prompt_keeps_the_object_are_no_fault(arguments: str) -> None:
    assert folded(imported([user(), said(None, call(arguments=arguments)), result()])).view().faults == ()


def test_results_that_replace_one_another_hide_no_users_message_and_are_none() -> None:
    twice = [user(), said(None, call(), call("c2")), result(), result("c1", "again"), result("c2")]
    assert [fault.kind for turn in folded(imported(twice)).turns() for fault in turn.faults] == ["duplicate_result"]
    asked = [user(), said(None, call()), user("and?"), result()]
    assert "user_message_between" in [f.kind for turn in folded(imported(asked)).turns() for f in turn.faults]


@pytest.mark.parametrize("between", [SessionTitled(at=AT, title="t"), UsageReported(at=AT, id="r", usage={})])
def test_what_is_no_message_stands_between_no_call_and_its_result(between: SessionEvent) -> None:
    asked = imported([user(), said(None, call()), result()])
    events = [*(one.event for one in asked[:-1]), between, asked[-1].event]
    assert folded(recorded(events)).view().faults == ()


def test_a_call_id_that_comes_back_after_its_result_is_used_again() -> None:
    again = [said(None, call()), result()]
    faults = folded(imported([user(), *again, *again])).view().faults
    assert [(fault.kind, fault.position) for fault in faults] == [("reused_call_id", 5)]


def test_a_result_before_its_call_and_one_after_it_are_not_spread() -> None:
    calls = [{"type": "tool_use", "id": name, "name": "find", "input": {}} for name in "ab"]
    first, second = ({"type": "tool_result", "tool_use_id": name, "content": "x"} for name in "ab")
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": [first]},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": [second]},
    ]
    kinds = [fault.kind for fault in folded(imported(messages, "anthropic")).view().faults]
    assert "result_before_call" in kinds
    assert "split_results" not in kinds


# Which call a result is of


def test_results_that_come_after_all_calls_are_filed_in_linear_time() -> None:
    def late(count: int) -> list[RecordedEvent]:
        calls = [said("I", call(f"c{n}")) for n in range(count)]
        return imported([user(), *calls, *(result(f"c{n}") for n in range(count))])

    few, many = late(50), late(200)

    assert calls_made_by(lambda: folded(many)) < 5 * calls_made_by(lambda: folded(few))


def one_id(count: int, *between: Json) -> list[RecordedEvent]:
    """An import in which one call id comes back again and again."""
    return imported([user(), *(m for _ in range(count) for m in (*between, said("I", call()), result(), result()))])


@pytest.mark.parametrize("between", [(), (user(),)], ids=["in one turn", "in many turns"])
def test_a_call_id_that_comes_back_is_looked_up_in_linear_time(between: tuple[Json]) -> None:
    few, many = one_id(25, *between), one_id(100, *between)

    assert calls_made_by(lambda: folded(many)) < 5 * calls_made_by(lambda: folded(few))


REUSED = [
    *(user(), said("I", call()), user(), said("I", call(), call("c2")), said("I", call())),
    *(result(content="the last"), user(), result(content="the one before"), result(content="the first")),
    *(said("I", call("c2")), result("c2", "a"), result("c2", "b"), result("c2", "again"), result(content="again")),
]


@pytest.mark.parametrize("kept", range(2, len(REUSED) + 1))
def test_a_result_finds_its_call_in_a_fold_that_was_resumed(kept: int) -> None:
    events = imported(REUSED)
    begun = folded(events[:kept])
    head, pages = begun.head(), begun.pages()
    whole = Projector.resume(head, pages).apply_all(events[kept:])
    loaded = Projector.resume(head, ())
    loaded.prepend(pages)
    expected = begun.apply_all(events[kept:]).view()
    assert [view.turns for view in (whole.view(), loaded.apply_all(events[kept:]).view())] == [expected.turns] * 2
    contents = [[r.content for step in turn.steps for r in step.tool_results] for turn in expected.turns]
    assert contents == [["the first"], ["the one before", "b", "again"], ["again"]]


def test_a_result_without_an_id_is_of_no_later_call_without_one() -> None:
    messages = [user(), {"role": "tool", "content": "x"}, said(None, call(""))]
    (turn,) = folded(imported(messages)).raw_turns()
    assert (len(turn.orphans), turn.steps[0].tool_results) == (1, ())


def test_a_result_without_an_id_is_of_the_last_answer_or_of_none() -> None:
    messages = [
        user(),
        said(None, call("")),
        user("and?"),
        said("Yes."),
        {"role": "tool", "name": "find", "content": "x"},
    ]
    assert [len(turn.orphans) for turn in folded(imported(messages)).raw_turns()] == [0, 1]
