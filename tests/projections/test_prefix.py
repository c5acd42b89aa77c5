"""What was sent begins what is sent next, byte for byte, but after an event of the kinds that are listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.conversations import FOLDERS, conversations
from tests.support.events import START, begun, call, finished, result, user
from tests.support.histories import AT, ID, History, calls_made_by, folded, imported, recorded, repaired, replayed
from tests.support.owned_talks import owned_histories
from tests.support.real_data import each_sample, evenly
from tests.support.rules import CHECKS
from tests.support.serialised import serialised
from tests.support.strategies import histories
from tests.support.talks import each_step_once, talks
from turnlog.domain import events as e
from turnlog.projections.diagnosis import PROVIDER_ERRORS
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import APIS, Api
from turnlog.projections.prompt.assembly import assemble
from turnlog.projections.prompt.entries import PromptStep, Rendered
from turnlog.projections.prompt.explain import (
    BREAKS,
    ExplainedMessage,
    Explanation,
    PrefixBreak,
    _goes_on,
    _reason,
    explain,
)
from turnlog.projections.prompt.request import REQUEST_FAULTS, request_faults
from turnlog.projections.repair import corrections_of

ROOT = Path(__file__).parents[2]
LISTED = (
    e.ToolResultAdded,
    e.MessageImported,
    e.ContextCompacted,
    e.CompletionStarted,
    e.StepDelta,
    e.CompletionEnded,
    e.TurnEvent,
)
"""Events after which a prompt may begin otherwise, in a history of any events at all. Any other kind may not."""


def is_listed(event: e.SessionEvent, api: Api) -> bool:
    if isinstance(event, e.MessageAdded):
        is_system = event.role in ("system", "developer")
        return event.role in ("assistant", "function") or (is_system and api == "anthropic")
    return isinstance(event, LISTED)


@pytest.mark.parametrize("api", CHECKS)
@given(histories)
def test_only_an_event_of_a_listed_kind_changes_how_a_prompt_begins(api: Api, history: History) -> None:
    projector, sent = Projector(history[0].session_id), b""
    for event in history:
        projector.apply(event)
        prompt = serialised(projector, api)
        assert prompt.startswith(sent) or is_listed(event.event, api)
        sent = prompt


@each_sample
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("api", CHECKS)
def test_no_prompt_of_a_recorded_conversation_loses_its_prefix(folder: Any, api: Api, count: int) -> None:
    for messages in evenly(conversations(folder, "valid"), 2 * count):
        late_system = api == "anthropic" and any(message["role"] == "system" for message in messages[1:])
        assert explain(ID, replayed(messages), api).breaks == () or late_system


@each_sample
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("api", CHECKS)
def test_each_prompt_that_a_handler_sends_begins_with_the_one_before(folder: Any, api: Api, count: int) -> None:
    for messages in evenly(conversations(folder, "valid"), 2 * count):
        if api == "anthropic" and any(message["role"] == "system" for message in messages[1:]):
            continue
        projector, sent = Projector(ID), b""
        for event in replayed(messages):
            if isinstance(event.event, e.CompletionStarted):
                prompt = serialised(projector, api)
                assert prompt.startswith(sent)
                sent = prompt
            projector.apply(event)


def said(role: Any, text: str) -> e.MessageAdded:
    return e.MessageAdded(at=AT, message_id=f"{role}-{text}", role=role, content=text)


def called(step: str) -> list[e.SessionEvent]:
    return [
        e.CompletionStarted(at=AT, step_id=step),
        e.ToolCallStarted(at=AT, step_id=step, index=0, id="c1", name="find"),
        e.CompletionFinished(at=AT, step_id=step, finish_reason="tool_calls"),
    ]


def answered(step: str, status: Any = "final") -> e.ToolResultAdded:
    return e.ToolResultAdded(at=AT, step_id=step, index=0, call_id="c1", status=status, content=f"{status} result")


HI = said("user", "hi")
FOREIGN = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hel"}]
CASES: dict[str, list[e.SessionEvent]] = {
    "late_result": [START, HI, *called("s1"), said("user", "and?"), answered("s1")],
    "import": [*(r.event for r in imported([*FOREIGN, {"role": "assistant", "content": "lo"}]))],
    "compaction": [START, HI, said("assistant", "Hello!"), e.ContextCompacted(at=AT, summary="so far", upto=3)],
    "system_message": [START, said("system", "a"), HI, said("system", "b")],
    "step": [START, HI, said("assistant", "Hel"), said("assistant", "lo")],
}


@pytest.mark.parametrize("reason", CASES)
def test_each_kind_of_break_is_reported_with_its_reason(reason: str) -> None:
    breaks = explain(ID, recorded(CASES[reason]), "anthropic").breaks
    assert [found.reason for found in breaks] == [reason]


def test_a_repair_and_its_withdrawal_are_reported() -> None:
    events = imported([*FOREIGN, {"role": "assistant", "content": "lo."}, {"role": "assistant", "content": "Yes."}])
    corrections = repaired(folded(events))
    repair = e.SessionRepaired(at=AT, repair_id="r", upto=len(events), corrections=corrections)
    after = [repair, e.RepairWithdrawn(at=AT, repair_id="r")]
    breaks = explain(ID, [*events, *recorded(after, len(events))], "chat").breaks
    assert [found.reason for found in breaks][-2:] == ["repair", "repair"]


def test_a_result_that_is_awaited_breaks_nothing_and_one_that_was_pending_does() -> None:
    events = [START, HI, *called("s1"), answered("s1", "pending"), answered("s1")]
    for length, reasons in ((6, []), (7, ["late_result"])):
        found = explain(ID, recorded(events[:length]), "chat").breaks
        assert [one.reason for one in found] == reasons


def naive(events: History, api: Api) -> Explanation:
    """The report as it is meant: the prompt is built anew after each event, and compared with the one before."""
    projector, before, breaks = Projector(ID), list[Any](), list[PrefixBreak]()
    for event in events:
        projector.apply(event)
        if isinstance(event.event, e.FRAGMENTS):
            continue
        rendered, is_waiting = built(projector, api)
        if is_waiting:
            continue
        now = [one.message for one in rendered]
        if (place := first_other(before, now)) is not None:
            reason = _reason(event.event)
            breaks.append(PrefixBreak(position=event.position, topic=event.topic, reason=reason, message=place))
        before = now
    messages = tuple(ExplainedMessage(message=m.message, positions=m.positions) for m in built(projector, api)[0])
    faults = request_faults([one.message for one in messages], api)
    return Explanation(messages=messages, breaks=tuple(breaks), request_faults=faults)


def built(projector: Projector, api: Api) -> tuple[list[Rendered], bool]:
    """The messages of the prompt, and whether it ends with calls whose results are still to come."""
    view = projector.view()
    entries = assemble(view.turns, APIS[api].dialect, view.compaction)
    rendered = APIS[api].render(entries)
    if api == "anthropic":
        rendered.sort(key=lambda one: one.message["role"] != "system")
    last = entries[-1] if entries else None
    return rendered, isinstance(last, PromptStep) and any(len(call.positions) == 1 for call in last.calls)


def first_other(before: list[Any], now: list[Any]) -> int | None:
    for place, message in enumerate(before):
        is_last = place == len(before) - 1
        if place >= len(now) or not (message == now[place] or (is_last and _goes_on(message, now[place]))):
            return place
    return None


def with_repairs(history: History, places: list[int]) -> History:
    """The history with repairs of what is there by then, of which every other is withdrawn again."""
    projector, events = Projector(history[0].session_id), list[e.SessionEvent]()
    for place, event in enumerate(history):
        events.append(event.event)
        projector.apply(recorded([event.event], len(events) - 1)[0])
        if place not in places:
            continue
        corrections = tuple(c for turn in projector.raw_turns() for c in corrections_of(turn))
        added: list[e.SessionEvent] = [
            e.SessionRepaired(at=AT, repair_id=f"r{place}", upto=len(events), corrections=corrections)
        ]
        if place % 2:
            added += [said("user", f"in between {place}"), e.RepairWithdrawn(at=AT, repair_id=f"r{place}")]
        projector.apply_all(recorded(added, len(events)))
        events += added
    return recorded(events)


repaired_histories = st.builds(with_repairs, histories, st.lists(st.integers(0, 40), max_size=3))
each_number_of_examples = pytest.mark.parametrize("examples", [100, pytest.param(5_000, marks=pytest.mark.long)])


@pytest.mark.parametrize("events", [repaired_histories, talks.map(each_step_once)], ids=["any events", "usual turns"])
@each_number_of_examples
def test_the_report_is_that_of_building_every_prompt_anew(events: st.SearchStrategy[History], examples: int) -> None:
    @settings(max_examples=examples)
    @given(events)
    def check(history: History) -> None:
        check_reports(history)

    check()


@given(owned_histories)
def test_the_report_of_turns_with_owners_is_that_of_building_every_prompt_anew(history: History) -> None:
    check_reports(history)


def check_reports(history: History) -> None:
    """For every API, because to make up a history takes as long as to explain it."""
    for api in CHECKS:
        assert (api, explain(ID, history, api)) == (api, naive(history, api))


@each_sample
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("api", CHECKS)
def test_the_report_of_an_import_with_split_answers_and_its_repair_is_the_same(
    folder: Any, api: Api, count: int
) -> None:
    for messages in evenly(conversations(folder, "valid"), 2 * count):
        whole = imported([half for message in messages for half in halves(message)])
        projector = folded(whole)
        corrections = repaired(projector)
        repair = e.SessionRepaired(at=AT, repair_id="r", upto=len(whole), corrections=corrections)
        after = [repair, said("user", "and?"), e.RepairWithdrawn(at=AT, repair_id="r")]
        events = [*whole, *recorded(after, len(whole))]
        assert explain(ID, events, api) == naive(events, api)


def halves(message: dict[str, Any]) -> list[dict[str, Any]]:
    """An assistant's text as two messages, as a store with a row a chunk has it."""
    text = message.get("content")
    if message["role"] != "assistant" or not isinstance(text, str) or len(text) < 2:
        return [message]
    return [{"role": "assistant", "content": text[:1]}, {**message, "content": text[1:]}]


def long_import(turns: int) -> History:
    """Turns of four messages: a question, an answer in two parts with a call, and its result."""
    call = {"id": "", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages: list[dict[str, Any]] = []
    for turn in range(turns):
        calls = [{**call, "id": f"c{turn}"}]
        messages += [
            {"role": "user", "content": f"question {turn}"},
            {"role": "assistant", "content": "I will"},
            {"role": "assistant", "content": " look", "tool_calls": calls},
            {"role": "tool", "tool_call_id": f"c{turn}", "content": "found"},
        ]
    return imported(messages)


@pytest.mark.parametrize("api", CHECKS)
def test_the_report_of_a_long_import_takes_linear_time(api: Api) -> None:
    calls = [calls_made_by(lambda turns=turns: explain(ID, long_import(turns), api)) for turns in (25, 100)]

    assert calls[1] < 5 * calls[0]


def test_the_page_lists_every_break_and_every_fault() -> None:
    page = (ROOT / "docs" / "prompts.md").read_text("utf-8")
    kinds = [*BREAKS, *PROVIDER_ERRORS, *REQUEST_FAULTS]
    assert [kind for kind in kinds if f"`{kind}`" not in page] == []


def test_a_system_message_that_begins_as_the_users_did_takes_its_place() -> None:
    both = ({"type": "text", "text": "hi"}, {"type": "text", "text": "be short"})
    system = e.MessageAdded(at=AT, message_id="m", role="system", content=both)
    breaks = explain(ID, recorded([START, said("user", "hi"), system]), "anthropic").breaks
    assert [(found.reason, found.message) for found in breaks] == [("system_message", 0)]


@pytest.mark.parametrize("api", CHECKS)
def test_a_call_whose_name_comes_after_a_message_of_the_user_is_a_break(api: Api) -> None:
    nameless = e.ToolCallStarted(at=AT, step_id="s1", index=0, id="", name="")
    whole = e.ToolCallArgumentsDelta(at=AT, step_id="s1", index=0, arguments="{}")
    named = e.ToolCallNamed(at=AT, step_id="s1", index=0, id="c1", name="find")
    events = recorded([START, HI, begun("s1"), nameless, whole, said("user", "and?"), named])
    found = explain(ID, events, api)
    assert [(one.position, one.reason) for one in found.breaks] == [(7, "step")]
    assert found == naive(events, api)


def test_a_message_in_the_middle_that_goes_on_is_a_break() -> None:
    so = {"role": "assistant", "content": [{"type": "text", "text": "so"}]}
    events = imported([{"role": "user", "content": "hi"}, so, so, {"role": "user", "content": "and?"}])
    repair = e.SessionRepaired(at=AT, repair_id="r", upto=len(events), corrections=repaired(folded(events)))
    after = [repair, e.RepairWithdrawn(at=AT, repair_id="r")]
    found = explain(ID, [*events, *recorded(after, len(events))], "chat").breaks
    assert [(one.reason, one.message) for one in found][-2:] == [("repair", 1), ("repair", 1)]


def test_the_report_keeps_a_function_message_after_what_is_left_out() -> None:
    events = imported(
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "function_call": {"name": "find", "arguments": "{}"}},
            {"role": "system", "content": ""},
            {"role": "function", "name": "find", "content": "found"},
        ]
    )
    repair = e.SessionRepaired(at=AT, repair_id="r", upto=len(events), corrections=repaired(folded(events)))
    events += recorded([repair], len(events))
    assert explain(ID, events, "chat") == naive(events, "chat")
    assert explain(ID, events, "chat").messages[-1].message["content"] == "found"


def test_a_message_names_each_event_behind_it_once() -> None:
    called = [*call("s1"), *call("s1", "c2", index=1)]
    events = [START, user("hi"), begun("s1"), *called, finished("s1"), result("s1", "a"), result("s1", "b", 1, "c2")]
    told = explain(ID, recorded(events), "anthropic").messages
    assert told[2].positions == (3, 9, 10)
    told = explain(ID, recorded(events), "responses").messages
    assert [one.positions for one in told] == [(2,), (3,), (3,), (3, 9), (3, 10)]
