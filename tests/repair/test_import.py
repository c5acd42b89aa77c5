"""Histories of other systems: imported verbatim, diagnosed, repaired, undone; and their prompts are valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.anthropic_rules import check_anthropic_prompt
from tests.support.histories import AT, alike, calls_made_by, folded, imported, recorded, repaired
from tests.support.prompt_rules import check_chat_prompt
from tests.support.real_data import REAL_DATA, each_sample, evenly, needs_real_data
from tests.support.responses_rules import check_responses_prompt
from turnlog import SYSTEM, InvalidInputError, PromptTooLongError, Session, SessionExistsError, SessionLog
from turnlog.domain.events import SessionEvent, SessionRepaired, SessionTitled, UsageReported
from turnlog.domain.foreign import read_foreign
from turnlog.domain.inputs import checked_foreign
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.repair.importing import Conversation
from turnlog.projections.placeholders import NO_RESULT
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import build_prompt
from turnlog.projections.repair import corrections_of
from turnlog.projections.view import Turn

Json = dict[str, Any]


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def user(text: Any = "hi") -> Json:
    return {"role": "user", "content": text}


def said(text: str | None = None, *calls: Json) -> Json:
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {})}


def call(call_id: str = "c1", name: str = "find", arguments: str = "{}") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str = "c1", content: str = "found") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


async def check_all(session: Session) -> None:
    check_chat_prompt(await session.prompt())
    check_anthropic_prompt(await session.prompt("anthropic"))
    check_responses_prompt(await session.prompt("responses"))


async def check_history(log: SessionLog, messages: list[Json], format_: Any) -> None:
    session = await log.import_session(messages, "u1", format=format_)
    await check_all(session)
    await log.repair(session.id, "u1")
    view, prompt = await session.view(), await session.prompt()
    assert view.faults == ()
    await check_all(session)
    again = await log.repair(session.id, "u1")
    assert (again.corrections, again.diff, again.repair_id) == ((), "", None)
    assert await session.prompt() == prompt
    assert (await session.view()).version == view.version


@needs_real_data
@each_sample
@pytest.mark.parametrize("name", ["valid", "valid_reused_ids", "pending_call_at_end", "invalid_as_recorded"])
async def test_every_real_conversation_has_valid_prompts_before_and_after_repair(
    log: SessionLog, name: str, count: int
) -> None:
    for conversation in evenly(lines(REAL_DATA / "conversations" / f"{name}.jsonl"), count):
        await check_history(log, conversation["messages"], "chat")


@needs_real_data
async def test_real_conversations_that_were_valid_have_no_fault(log: SessionLog) -> None:
    for conversation in lines(REAL_DATA / "conversations" / "valid.jsonl"):
        session = await log.import_session(conversation["messages"], "u1")
        assert (await session.view()).faults == ()


@needs_real_data
async def test_every_real_corrupt_history_has_valid_prompts_before_and_after_repair(log: SessionLog) -> None:
    for case in lines(REAL_DATA / "corrupt_histories" / "cases.jsonl"):
        if case["repaired"] is not None:
            await check_history(log, case["messages"], "chat" if case["format"] == "openai" else "anthropic")


def refuses(case: Json) -> bool:
    try:
        if case["format"] == "openai":
            check_chat_prompt(case["messages"])
        else:
            check_anthropic_prompt({"system": "", "messages": case["messages"]})
    except (AssertionError, KeyError, TypeError):
        return True
    return False


@needs_real_data
def test_the_rules_refuse_every_real_corrupt_history_as_it_stands() -> None:
    cases = lines(REAL_DATA / "corrupt_histories" / "cases.jsonl")
    wrong = [
        case for case in cases if not (case["is_control"] or case["provider_specific"] or case["http_status"] == 200)
    ]
    assert [case["id"] for case in wrong if not refuses(case)] == []
    assert not [case["id"] for case in cases if case["is_control"] and refuses(case)]


def test_the_rules_refuse_our_faulty_histories_as_they_stand() -> None:
    passed = [kind for kind, messages in FAULTY.items() if not refuses({"format": "openai", "messages": messages})]
    assert passed == []


FAULTY: dict[str, list[Json]] = {
    "split_assistant": [user(), said("One moment."), said(None, call()), result()],
    "repeated_message": [user(), said("Done."), said("Done.")],
    "repeated_attempt": [user(), said(None, call()), said(None, call()), result()],
    "orphan_result": [user(), result("gone")],
    "unanswered_call": [user(), said(None, call()), user("stop")],
    "duplicate_call_id": [user(), said(None, call(), call(arguments='{"a":1}')), result(), result("c1", "also")],
    "reused_call_id": [user(), said(None, call()), result(), user(), said(None, call()), result()],
    "duplicate_result": [user(), said(None, call()), result("c1", "[cancelled]"), result()],
    "result_before_call": [user(), result(), said(None, call())],
    "user_message_between": [user(), said(None, call()), user("and?"), result()],
    "invalid_arguments": [user(), said(None, call(arguments='{"a')), result()],
    "call_without_id": [user(), said(None, call("")), result("")],
    "call_without_name": [user(), said("x", call("c1", "")), result()],
    "empty_message": [user(), said(""), user("there?")],
    "empty_tool_calls": [user(), {**said("x"), "tool_calls": []}],
    "unknown_role": [user(), {"role": "robot", "content": "beep"}],
    "result_in_wrong_role": [
        user(),
        said(None, call()),
        user([{"type": "tool_result", "tool_use_id": "c1", "content": "x"}]),
    ],
    "foreign_block": [user(), said([{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]), result()],  # type: ignore[arg-type]
    "bad_content_block": [user([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}])],
}


NOT_ADJACENT: dict[str, list[Json]] = {
    "a result of no call": [user(), said(None, call()), result("gone"), result()],
    "a system message": [user(), said(None, call()), {"role": "system", "content": "Be brief."}, result()],
    "a role that no API has": [user(), said(None, call()), {"role": "robot", "content": "beep"}, result()],
}


@pytest.mark.parametrize("messages", NOT_ADJACENT.values(), ids=NOT_ADJACENT.keys())
def test_only_what_a_user_said_is_named_as_a_users_message_between_call_and_result(messages: list[Json]) -> None:
    kinds = [fault.kind for turn in folded(imported(messages)).turns() for fault in turn.faults]
    assert "result_not_adjacent" in kinds
    assert "user_message_between" not in kinds


def test_a_result_behind_a_users_message_has_no_second_fault_for_what_else_is_there() -> None:
    messages = [user(), said(None, call()), {"role": "system", "content": "Be brief."}, user("and?"), result()]
    assert [fault.kind for fault in folded(imported(messages)).view().faults] == ["user_message_between"]


def test_a_turn_of_many_split_messages_is_repaired_in_a_time_in_proportion_to_it() -> None:
    def split(count: int) -> Turn:
        parts = [part for n in range(count) for part in (said("I"), said("will", call(f"c{n}")), result(f"c{n}"))]
        return folded(imported([user(), *parts])).raw_turns()[0]

    few, many = split(20), split(80)

    assert calls_made_by(lambda: corrections_of(many)) < 5 * calls_made_by(lambda: corrections_of(few))


def test_results_that_come_after_all_calls_are_filed_in_a_time_in_proportion_to_them() -> None:
    def late(count: int) -> list[RecordedEvent]:
        calls = [said("I", call(f"c{n}")) for n in range(count)]
        return imported([user(), *calls, *(result(f"c{n}") for n in range(count))])

    few, many = late(50), late(200)

    assert calls_made_by(lambda: folded(many)) < 5 * calls_made_by(lambda: folded(few))


def test_the_corrections_of_a_turn_are_applied_in_a_time_in_proportion_to_it() -> None:
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
def test_many_calls_of_one_id_in_a_message_are_repaired_in_a_time_in_proportion_to_them(answered: float) -> None:
    few, many = (doubled(count, int(count * answered)) for count in (25, 100))

    assert calls_made_by(lambda: folded(many)) < 5 * calls_made_by(lambda: folded(few))
    assert calls_made_by(lambda: repaired(folded(many))) < 5 * calls_made_by(lambda: repaired(folded(few)))


def test_of_many_calls_of_one_id_those_that_never_ran_are_left_out_where_one_did() -> None:
    projector = folded(doubled(4, results=2))
    corrections = [(c.action, c.index) for c in repaired(projector) if c.fault == "duplicate_call_id"]
    assert corrections == [("none", 1), ("leave_out_call", 2), ("leave_out_call", 3)]
    (step,) = projector.turns()[0].steps
    assert [c.index for c in step.message.tool_calls] == [0, 1]


SAME = ['{"a":1,"b":[2]}', '{ "b": [2], "a": 1 }', '{"a":1.0,"b":[2]}']
OTHER = ['{"a":1,"b":2}', '{"a":1}', '["a"]', '"a"', "a", "", '{"a":1e999}', '{"a":[["b",[2]]]}']


def test_a_call_that_stands_twice_in_a_message_is_one_however_its_arguments_are_written() -> None:
    calls = [call(arguments=arguments) for arguments in (*SAME, *OTHER, *OTHER)]
    (step,) = folded(imported([user(), said(None, *calls)])).raw_turns()[0].steps
    assert [c.arguments for c in step.message.tool_calls] == [SAME[0], *OTHER]


def one_id(count: int, *between: Json) -> list[RecordedEvent]:
    """An import in which one call id comes back again and again."""
    return imported([user(), *(m for _ in range(count) for m in (*between, said("I", call()), result(), result()))])


@pytest.mark.parametrize("between", [(), (user(),)], ids=["in one turn", "in many turns"])
def test_a_call_id_that_comes_back_is_looked_up_in_a_time_in_proportion_to_the_history(between: tuple[Json]) -> None:
    few, many = one_id(25, *between), one_id(100, *between)

    assert calls_made_by(lambda: folded(many)) < 5 * calls_made_by(lambda: folded(few))


REUSED = [
    *(user(), said("I", call()), user(), said("I", call(), call("c2")), said("I", call())),
    *(result(content="the last"), user(), result(content="the one before"), result(content="the first")),
    *(said("I", call("c2")), result("c2", "a"), result("c2", "b"), result("c2", "again"), result(content="again")),
]


@pytest.mark.parametrize("kept", range(2, len(REUSED) + 1))
def test_a_result_finds_its_call_in_a_fold_that_was_resumed_as_in_one_that_was_not(kept: int) -> None:
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


@pytest.mark.parametrize("arguments", [r'{"a":"\ud800x"}', '{"a":1e999}'])
def test_arguments_of_which_a_prompt_keeps_the_object_are_no_fault(arguments: str) -> None:
    assert folded(imported([user(), said(None, call(arguments=arguments)), result()])).view().faults == ()


def test_results_that_replace_one_another_hide_no_users_message_and_are_none() -> None:
    twice = [user(), said(None, call(), call("c2")), result(), result("c1", "again"), result("c2")]
    assert [fault.kind for turn in folded(imported(twice)).turns() for fault in turn.faults] == ["duplicate_result"]
    asked = [user(), said(None, call()), user("and?"), result()]
    assert "user_message_between" in [f.kind for turn in folded(imported(asked)).turns() for f in turn.faults]


def use(call_id: str = "c1") -> Json:
    return {"type": "tool_use", "id": call_id, "name": "find", "input": {}}


def used(*call_ids: str) -> list[Json]:
    return [{"type": "tool_result", "tool_use_id": call_id, "content": "found"} for call_id in call_ids]


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def thought(words: str, signature: str = "") -> Json:
    return {"type": "thinking", "thinking": words, "signature": signature}


def blocks(role: str, *content: Json) -> Json:
    return {"role": role, "content": list(content)}


FAULTY_BLOCKS: dict[str, list[Json]] = {
    "leading_assistant": [blocks("assistant", text("Hello!")), blocks("user", text("hi"))],
    "consecutive_roles": [blocks("user", text("hi")), blocks("user", text("there?"))],
    "split_results": [user(), blocks("assistant", use(), use("c2")), *(blocks("user", *used(c)) for c in ("c1", "c2"))],
    "text_after_call": [user(), blocks("assistant", use(), text("One moment.")), blocks("user", *used("c1"))],
    "result_not_first": [user(), blocks("assistant", use()), blocks("user", text("so?"), *used("c1"))],
    "empty_text_block": [user(), blocks("assistant", text(""), use()), blocks("user", *used("c1"))],
    "unsigned_thinking": [user(), blocks("assistant", thought("hm"), text("Yes."))],
    "misplaced_thinking": [user(), blocks("assistant", text("Yes."), thought("hm", "signed"))],
}


@pytest.mark.parametrize("kind", FAULTY_BLOCKS)
async def test_each_fault_of_anthropics_format_is_named_and_repaired(log: SessionLog, kind: str) -> None:
    messages = FAULTY_BLOCKS[kind]
    assert refuses({"format": "anthropic", "messages": messages})
    session = await log.import_session(messages, "u1", format="anthropic")
    assert [fault.kind for fault in (await session.view()).faults] == [kind]
    await check_history(log, messages, "anthropic")


async def test_a_result_in_the_message_of_its_call_stands_before_nothing_and_behind_nothing(log: SessionLog) -> None:
    answered = {"type": "tool_result", "tool_use_id": "c1", "content": "found"}
    messages = [blocks("user", text("hi")), blocks("assistant", use(), answered), blocks("user", text("more"))]
    session = await log.import_session(messages, "u1", format="anthropic")
    kinds = {fault.kind for fault in (await session.view()).faults}
    assert not kinds & {"result_not_adjacent", "user_message_between", "result_before_call"}


async def test_signed_thinking_goes_back_as_it_came(log: SessionLog) -> None:
    messages = [user(), blocks("assistant", thought("hm", "signed"), text("Yes."), use()), blocks("user", *used("c1"))]
    session = await log.import_session(messages, "u1", format="anthropic")
    assert (await session.view()).faults == ()
    assert (await session.prompt("anthropic"))["messages"][1:] == messages[1:]


@pytest.mark.parametrize("kind", FAULTY)
async def test_each_fault_is_named_with_its_place_and_repaired(log: SessionLog, kind: str) -> None:
    session = await log.import_session(FAULTY[kind], "u1")
    faults = (await session.view()).faults
    assert kind in {fault.kind for fault in faults}
    assert all(fault.message and fault.provider_error and fault.position > 1 for fault in faults)
    await check_history(log, FAULTY[kind], "chat")


@pytest.mark.parametrize("kind", FAULTY)
async def test_a_repair_can_be_tried_and_undone(log: SessionLog, kind: str) -> None:
    session = await log.import_session(FAULTY[kind], "u1")
    before, prompt = await session.view(), await session.prompt()
    tried = await log.repair(session.id, "u1", dry_run=True)
    assert (await session.view(), tried.repair_id) == (before, None)
    report = await log.repair(session.id, "u1")
    assert report.corrections == tried.corrections
    assert list(report.after) == await session.prompt()
    assert await log.undo_repair(session.id, "u1", report.repair_id)
    assert not await log.undo_repair(session.id, "u1", report.repair_id)
    assert ((await session.view()).faults, await session.prompt()) == (before.faults, prompt)


async def test_a_cut_stream_is_joined_by_nothing_and_whole_replies_by_a_blank_line(log: SessionLog) -> None:
    for parts, text in ((("Hel", "lo"), "Hello"), (("It is 21 C.", "Anything else?"), "It is 21 C.\n\nAnything else?")):
        session = await log.import_session([user(), *map(said, parts)], "u1")
        report = await log.repair(session.id, "u1")
        assert (await session.prompt())[-1]["content"] == text
        assert "stands between them" in report.corrections[0].text


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


@pytest.mark.parametrize("between", [SessionTitled(at=AT, title="t"), UsageReported(at=AT, id="r", usage={})])
def test_what_is_no_message_stands_between_no_call_and_its_result(between: SessionEvent) -> None:
    asked = imported([user(), said(None, call()), result()])
    events = [*(one.event for one in asked[:-1]), between, asked[-1].event]
    assert folded(recorded(events)).view().faults == ()


async def test_a_made_up_result_is_marked_in_the_view_and_a_real_one_replaces_it(log: SessionLog) -> None:
    session = await log.import_session(FAULTY["unanswered_call"], "u1")
    await log.repair(session.id, "u1")
    (made_up,) = (await session.view()).turns[0].steps[0].tool_results
    assert (made_up.status, made_up.content) == ("synthetic", NO_RESULT)
    await session.add_tool_result("c1", "late")
    assert [message["content"] for message in await session.prompt()] == ["hi", None, "late", "stop"]


async def test_the_same_import_is_stored_once_and_a_longer_one_goes_on(log: SessionLog) -> None:
    messages = FAULTY["split_assistant"]
    session = await log.import_session(messages, "u1")
    version = (await session.view()).version
    again = await log.import_session([*messages, user("more")], "u1", session_id=session.id)
    assert (await again.view()).version == version + 1
    events = [recorded.event async for recorded in session.events(after=1)]
    assert [event.message for event in events] == [*messages, user("more")]  # type: ignore[union-attr]


async def test_rows_are_read_in_their_sequence_and_json_columns_as_text_or_objects(log: SessionLog) -> None:
    rows = [
        {"sequence": 3, "role": "tool", "toolCallId": "c1", "content": "found"},
        {"sequence": 1, "role": "user", "content": "hi"},
        {"sequence": 2, "role": "assistant", "content": None, "toolCalls": json.dumps([call()])},
        {"sequence": 4, "role": "assistant", "content": "Done.", "tool_calls": "[{", "functionCall": None},
    ]
    session = await log.import_session(rows, "u1", format="rows")
    assert [message["role"] for message in await session.prompt()] == ["user", "assistant", "tool", "assistant"]
    assert [fault.kind for fault in (await session.view()).faults] == ["bad_field"]


@pytest.mark.parametrize("places", [("2", "1"), (2.0, 1.0), ("10", "9"), (10, "9")])
@pytest.mark.parametrize("name", ["sequence", "Sequence", "position", "messageIndex"])
def test_rows_are_in_the_order_of_their_numbers_however_these_are_written(name: str, places: tuple[Any, Any]) -> None:
    rows = [{name: place, "role": "user", "content": str(place)} for place in places]
    assert checked_foreign(rows, "rows", 1_000) == rows[::-1]


@pytest.mark.parametrize("places", [(2, None), (2, "one"), (2, True), (2, "nan")])
def test_rows_of_which_one_has_no_number_stay_as_they_are(places: tuple[Any, Any]) -> None:
    rows = [{"sequence": place, "role": "user", "content": str(place)} for place in places]
    assert checked_foreign(rows, "rows", 1_000) == rows


@pytest.mark.parametrize("spelt", [str.lower, str.upper, str.title])
def test_columns_are_known_however_they_are_spelt(spelt: Callable[[str], str]) -> None:
    rows: list[Json] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "toolcalls": [call()]},
        {"role": "tool", "toolcallid": "c1", "content": "found"},
    ]
    events = imported([{spelt(name): value for name, value in row.items()} for row in rows], "rows")
    assert [message["role"] for message in build_prompt(folded(events).turns())] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    "ids", [{"toolCallId": None, "tool_call_id": "c1"}, {"tool_call_id": "c1", "toolCallId": "c9"}]
)
def test_of_two_columns_of_one_name_the_first_that_is_filled_is_read(ids: Json) -> None:
    (found,) = read_foreign("rows", {"role": "tool", "content": "found", **ids}).items
    assert found.call_id == "c1"  # type: ignore[union-attr]


LISTS = ['[{"type":"file","path":"/a"}]', '[{"type":"paragraph","text":"x"}]', '[{"type":"text"}]', "[]", "[1]"]


@pytest.mark.parametrize("text", LISTS)
def test_a_row_that_says_a_list_is_a_text_unless_it_is_content_by_blocks(text: str) -> None:
    rows = [
        {"role": "user", "content": text},
        {"role": "assistant", "tool_calls": [call()]},
        {"role": "tool", "tool_call_id": "c1", "content": text},
    ]
    prompt = build_prompt(folded(imported(rows, "rows")).turns())
    assert [prompt[0]["content"], prompt[2]["content"]] == [text, text]
    parts = [{"type": "text", "text": "so"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    (shown,) = build_prompt(folded(imported([{"role": "user", "content": json.dumps(parts)}], "rows")).turns())
    assert shown["content"] == parts


async def test_what_is_no_message_is_refused_and_nothing_is_stored(log: SessionLog) -> None:
    for bad in (["text"], "text", [user(), None]):
        with pytest.raises(InvalidInputError, match="messages"):
            await log.import_session(bad, "u1")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="format"):
        await log.import_session([], "u1", format="xml")  # type: ignore[arg-type]
    assert (await log.list_sessions(SYSTEM)).total == 0


def _as_abandoned(turn: Turn) -> Turn:
    """The turn as it is once nobody writes its open step."""
    end = {"status": "abandoned", "note": None, "ended_at": None}
    steps = tuple(step.model_copy(update=end) if step.status in ("open", "abandoned") else step for step in turn.steps)
    return turn.model_copy(update={"steps": steps, "position": 0})


async def test_a_fork_has_the_view_of_its_position_and_goes_its_own_way(session: Session) -> None:
    await session.say("hi")
    async with session.completion() as completion:
        await completion.text("Hel")
        await completion.text("lo")
    for version in range(1, (await session.view()).version + 1):
        fork, then = await session.fork(version), await session.at(version)
        assert [_as_abandoned(turn) for turn in (await fork.view()).turns] == [
            _as_abandoned(turn) for turn in then.turns
        ]
        assert all(step.status != "open" for turn in (await fork.view()).turns for step in turn.steps)
        await check_all(fork)
        await fork.say("go on")
        await check_all(fork)
    with pytest.raises(InvalidInputError, match="version"):
        await session.fork(99)
    with pytest.raises(InvalidInputError, match="version"):
        await session.at(0)


async def test_a_compacted_prompt_starts_from_the_summary_and_the_view_keeps_everything(session: Session) -> None:
    await session.add_message("system", "Be brief.")
    for number in range(4):
        await session.say(f"question {number}")
        await session.add_message("assistant", f"answer {number}")
    view = await session.view()
    await session.compact("They asked twice.", view.turns[1].steps[-1].position)
    await session.compact("They asked twice.", view.turns[1].steps[-1].position)
    contents = [message["content"] for message in await session.prompt()]
    assert contents[:3] == ["Be brief.", "They asked twice.", "question 2"]
    assert (await session.view()).version == view.version + 1
    assert (await session.view()).messages == view.messages


async def test_the_window_keeps_whole_turns_from_the_end_and_what_is_pinned(session: Session) -> None:
    await session.add_message("system", "Be brief.")
    for number in range(4):
        await session.say(f"question {number}")
        await session.add_message("assistant", None, tool_calls=[call(f"c{number}")])
        await session.add_tool_result(f"c{number}", "x" * 1_000)
    prompt = await session.prompt(max_tokens=7, count_tokens=len)
    assert [message["role"] for message in prompt] == ["system", *["user", "assistant", "tool"] * 2]
    short = await session.prompt(max_tokens=200)
    assert "characters left out" in short[-1]["content"]
    check_chat_prompt(short)
    with pytest.raises(PromptTooLongError):
        await session.prompt(max_tokens=10)


def test_calls_of_one_id_whose_arguments_are_no_json_and_differ_are_two() -> None:
    reading = read_foreign("chat", said(None, call(arguments="{"), call(arguments="[")))
    assert len(reading.items[0].calls) == 2  # type: ignore[union-attr]


def test_calls_are_one_however_their_arguments_are_written_and_no_two_that_say_something_else() -> None:
    def count(*arguments: str) -> int:
        calls = [call(arguments=text) for text in arguments]
        return len(read_foreign("chat", said(None, *calls)).items[0].calls)  # type: ignore[union-attr]

    assert count('{"a":1,"b":2}', '{"b": 2, "a": 1}', '{"a":1,"b":2}') == 1
    assert count('{"a":1}', '{"a":true}', '{"a":[]}', '{"a":{}}') == 4


async def test_an_edit_that_compares_equal_is_one(log: SessionLog) -> None:
    session = await log.import_session([user([{"type": "text", "text": "x", "n": 1}])], "u1")
    with pytest.raises(InvalidInputError, match="another one was imported"):
        await log.import_session([user([{"type": "text", "text": "x", "n": True}])], "u1", session.id)


def test_a_call_id_that_comes_back_behind_its_result_is_used_again() -> None:
    again = [said(None, call()), result()]
    faults = folded(imported([user(), *again, *again])).view().faults
    assert [(fault.kind, fault.position) for fault in faults] == [("reused_call_id", 5)]


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


def test_a_result_before_its_call_and_one_behind_it_are_not_spread() -> None:
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


async def test_a_dry_run_refuses_the_session_of_somebody_else(log: SessionLog) -> None:
    session = await log.import_session([user()], "u1")
    with pytest.raises(SessionExistsError):
        await log.import_conversation(Conversation([user()], "u2", session.id), dry_run=True)
