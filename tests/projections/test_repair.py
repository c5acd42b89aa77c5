"""Corrections: one for each fault, in a time in proportion to the turn, and texts joined as they would be read."""

from __future__ import annotations

import pytest

from tests.support.foreign_messages import Json, call, result, said, user
from tests.support.histories import AT, alike, calls_made_by, folded, imported, recorded, repaired
from turnlog.domain.events import SessionRepaired
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import build_prompt
from turnlog.projections.repair import corrections_of
from turnlog.projections.view import Turn


def test_a_turn_of_many_split_messages_is_repaired_in_linear_time() -> None:
    def split(count: int) -> Turn:
        parts = [part for n in range(count) for part in (said("I"), said("will", call(f"c{n}")), result(f"c{n}"))]
        return folded(imported([user(), *parts])).raw_turns()[0]

    few, many = split(20), split(80)

    assert calls_made_by(lambda: corrections_of(many)) < 5 * calls_made_by(lambda: corrections_of(few))


def test_the_corrections_of_a_turn_are_applied_in_linear_time() -> None:
    def corrected(count: int) -> Projector:
        twice = [said("Sure."), said("Sure."), {"role": "system", "content": "so"}]
        projector = folded(imported([user(), *(twice * count)]))
        repaired(projector)
        return projector

    few, many = corrected(25), corrected(100)

    assert calls_made_by(many.turns) < 5 * calls_made_by(few.turns)
    assert many.view().faults == ()


def doubled(count: int, results: int) -> list[RecordedEvent]:
    """An import of a message in which all calls have one id, the first of them with a result."""
    calls = [call(arguments=f'{{"n":{n}}}') for n in range(count)]
    return imported([user(), said("I", *calls), *(result() for _ in range(results))])


@pytest.mark.parametrize("answered", [0.0, 0.5, 1.0])
def test_many_calls_of_one_id_in_a_message_are_repaired_in_linear_time(answered: float) -> None:
    few, many = (doubled(count, int(count * answered)) for count in (25, 100))

    assert calls_made_by(lambda: folded(many)) < 5 * calls_made_by(lambda: folded(few))
    assert calls_made_by(lambda: repaired(folded(many))) < 5 * calls_made_by(lambda: repaired(folded(few)))


def test_of_calls_of_one_id_those_that_never_ran_are_left_out_where_one_did() -> None:
    projector = folded(doubled(4, results=2))
    corrections = [(c.action, c.index) for c in repaired(projector) if c.fault == "duplicate_call_id"]
    assert corrections == [("none", 1), ("leave_out_call", 2), ("leave_out_call", 3)]
    (step,) = projector.turns()[0].steps
    assert [c.index for c in step.message.tool_calls] == [0, 1]


WHOLE = [
    ("Great, I found it! \U0001f60a", "Let me check"),
    ("**Done**", "Now the next one."),
    ("Here:\n```\nx\n```", "This prints x."),
    ("Points:", "- one"),
    ("- one", "- two"),
    ("Yes.", "1 apple"),
    ('He said "no"', "So it is."),
    ("\u4f60\u597d\u3002", "\u518d\u89c1"),
]


CUT = [
    ("The price is 3.", "50 dollars"),
    ('{"a":', "1}"),
    ("See http:", "//example.org"),
    ("print(x)", ".upper()"),
    ('He said "', 'Hello"'),
    ("```\nx = 1.", "Y = 2\n```"),
    ("I will.", " Then"),
    ("s", "sh goes on"),
]


@pytest.mark.parametrize(("first", "second"), WHOLE + CUT)
def test_texts_are_joined_as_they_would_be_read(first: str, second: str) -> None:
    projector = folded(imported([user(), said(first), said(second)]))
    (correction,) = repaired(projector)
    assert correction.fault == "split_assistant"
    assert correction.separator == ("\n\n" if (first, second) in WHOLE else "")


GROWN = "It is warm and sunny, with"


STORED_AS_IT_GREW: list[tuple[list[Json], list[Json]]] = [
    ([said("Sure."), said("Sure.", call()), result()], [said("Sure.", call()), result()]),
    ([said(GROWN), said(f"{GROWN} wind.")], [said(f"{GROWN} wind.")]),
    ([said("So."), said(GROWN), said(f"{GROWN} wind.")], [said(f"So.\n\n{GROWN} wind.")]),
]


@pytest.mark.parametrize(("messages", "kept"), STORED_AS_IT_GREW)
def test_a_reply_that_was_stored_as_it_grew_is_kept_once_and_whole(messages: list[Json], kept: list[Json]) -> None:
    projector = folded(imported([user(), *messages]))
    corrections = repaired(projector)
    assert "repeated_message" in [correction.fault for correction in corrections]
    repair = SessionRepaired(at=AT, repair_id="r", upto=projector.version, corrections=corrections)
    projector.apply_all(recorded([repair], projector.version))
    assert alike(build_prompt(projector.turns())[1:]) == alike(kept)
    assert projector.view().faults == ()


def function(name: str) -> Json:
    return {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": "{}"}}


@pytest.mark.parametrize(
    "second",
    [
        {**function("book"), "content": "Sure."},
        {"role": "assistant", "content": "Sure.", "refusal": "But no."},
        {"role": "assistant", "content": "Sure.", "reasoning_details": [{"type": "thinking", "thinking": "x"}]},
    ],
)
def test_a_reply_that_says_more_than_the_one_before_is_not_taken_for_it(second: Json) -> None:
    projector = folded(imported([user(), said("Sure."), second]))
    repair = SessionRepaired(at=AT, repair_id="r", upto=3, corrections=repaired(projector))
    projector.apply_all(recorded([repair], projector.version))
    (step,) = projector.turns()[0].steps
    assert step.message.content == "Sure."
    assert (step.message.function_call, step.message.refusal, step.message.reasoning_details) != (None, None, ())


def test_two_calls_of_functions_are_no_reply_that_was_stored_twice() -> None:
    answer = {"role": "function", "name": "b", "content": "found"}
    projector = folded(imported([user(), function("a"), function("b"), answer]))
    assert [correction.fault for correction in repaired(projector)] == ["split_assistant"]
