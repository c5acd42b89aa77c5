"""What was sent begins what is sent next, byte for byte, but after an event of the kinds that are listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.histories import AT, ID, folded, imported, recorded, repaired, replayed
from tests.strategies import histories
from tests.test_conversations import FOLDERS, conversations
from tests.test_projector import CHECKS, History
from turnlog.domain import events as e
from turnlog.projections.diagnosis import PROVIDER_ERRORS
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, build_prompt
from turnlog.projections.prompt.explain import BREAKS, explain
from turnlog.projections.prompt.request import REQUEST_FAULTS

ROOT = Path(__file__).parents[1]
LISTED = (
    e.ToolResultAdded,
    e.MessageImported,
    e.ContextCompacted,
    e.CompletionStarted,
    e.StepDelta,
    e.CompletionEnded,
)
"""Events after which a prompt may begin otherwise, in a history of any events at all. Any other kind may not."""


def serialised(projector: Projector, api: Api) -> bytes:
    """The prompt as it is sent, without the brackets that close the last message and the list."""
    view = projector.view()
    return json.dumps(build_prompt(view.turns, api, view.compaction), ensure_ascii=False).encode().rstrip(b"]}")


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


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("api", CHECKS)
def test_no_prompt_of_a_conversation_that_was_recorded_as_it_went_loses_its_prefix(folder: Any, api: Api) -> None:
    for messages in conversations(folder, "valid")[::4]:
        late_system = api == "anthropic" and any(message["role"] == "system" for message in messages[1:])
        assert explain(Projector(ID), replayed(messages), api).breaks == () or late_system


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("api", CHECKS)
def test_each_prompt_that_a_handler_sends_begins_with_the_one_before(folder: Any, api: Api) -> None:
    for messages in conversations(folder, "valid")[::4]:
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


START = e.SessionStarted(at=AT, user_id="u1")
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
    breaks = explain(Projector(ID), recorded(CASES[reason]), "anthropic").breaks
    assert [found.reason for found in breaks] == [reason]


def test_a_repair_and_its_withdrawal_are_reported() -> None:
    events = imported([*FOREIGN, {"role": "assistant", "content": "lo."}, {"role": "assistant", "content": "Yes."}])
    corrections = repaired(folded(events))
    repair = e.SessionRepaired(at=AT, repair_id="r", upto=len(events), corrections=corrections)
    after = [repair, e.RepairWithdrawn(at=AT, repair_id="r")]
    breaks = explain(Projector(ID), [*events, *recorded(after, len(events))], "chat").breaks
    assert [found.reason for found in breaks][-2:] == ["repair", "repair"]


def test_a_result_that_is_awaited_breaks_nothing_and_one_that_was_pending_does() -> None:
    events = [START, HI, *called("s1"), answered("s1", "pending"), answered("s1")]
    for length, reasons in ((6, []), (7, ["late_result"])):
        found = explain(Projector(ID), recorded(events[:length]), "chat").breaks
        assert [one.reason for one in found] == reasons


def test_the_page_lists_every_break_every_fault_and_what_providers_refuse_of_a_request() -> None:
    page = (ROOT / "docs" / "prompts.md").read_text("utf-8")
    kinds = [*BREAKS, *PROVIDER_ERRORS, *REQUEST_FAULTS]
    assert [kind for kind in kinds if f"`{kind}`" not in page] == []
