"""Each reported corrupt history is repaired as its report says it should be, or for a stated reason otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.conversations import lines_of
from tests.support.foreign_messages import FAULTY
from tests.support.histories import folded, imported, repaired
from tests.support.real_data import REAL_DATA, needs_real_data
from tests.support.rules import refuses
from turnlog.projections.placeholders import NO_RESULT
from turnlog.projections.prompt import Api, build_prompt
from turnlog.projections.prompt.anthropic import OPENING

Json = dict[str, Any]
CASES = REAL_DATA / "corrupt_histories" / "cases.jsonl"
SYNTHETIC = "<SYNTHETIC>"


DEVIATIONS = {
    "same-timestamp-swap": "order is the log's: the call that was stored first stays in front, which is valid too",
    "calls-stripped-leaves-tail": "a history may end with the assistant; what one provider wants of a request is for "
    "`turnlog prompt --explain` to say",
    "foreign-signature-replayed": "nothing in the history says that the signature is another model's",
    "claude-code-subagent-lines-interleaved": "nothing in the messages says which of two conversations each is of: the "
    "marks were left in the file that they came from",
}


REFUSED = {"whole-message-is-a-string"}
UNSEEN = {"thinking-emptied-signature-kept"}
"""What the rules take, because the API sends the same where thinking is not displayed: its text empty, and a signature.
Only who has the original response sees that the text is gone."""


def cases() -> list[Json]:
    return lines_of(CASES) if CASES.exists() else []


def api_of(case: Json) -> Api:
    return "chat" if case["format"] == "openai" else "anthropic"


def prompt_after_repair(case: Json) -> tuple[list[Json], list[Json]]:
    """The repaired prompt and the expected one, in the one form in which equal things are equal."""
    format_: Any = api_of(case)
    projector = folded(imported(case["messages"], format_))
    repaired(projector)
    prompt = build_prompt(projector.view().turns, format_)
    if format_ == "anthropic":
        system, prompt = prompt["system"], prompt["messages"]
        assert not system
    return [comparable(message) for message in by_place(prompt)], [
        comparable(message) for message in by_place(case["repaired"])
    ]


def comparable(message: Json) -> Json:
    """The message without the differences that are none: what is empty is not there, a text may be a block."""
    said = {key: value for key, value in message.items() if value is not None and value != ""}
    if isinstance(said.get("content"), list):
        said["content"] = [{k: v for k, v in block.items() if v is not False} for block in said["content"]]
    return said


def by_place(messages: list[Json]) -> list[Json]:
    """The messages with their call ids by place, for a missing or repeated one is replaced by any other; without the
    user's message that is put in front of a leading assistant message."""
    ids: dict[str, str] = {}
    for message in messages:
        blocks = message["content"] if isinstance(message.get("content"), list) else []
        for call in [*(message.get("tool_calls") or []), *(block for block in blocks if block["type"] == "tool_use")]:
            ids.setdefault(call["id"], f"call {len(ids)}")
    text = json.dumps([message for message in messages if OPENING not in json.dumps(message)])
    for call_id, place in ids.items():
        text = text.replace(json.dumps(call_id), json.dumps(place))
    found: list[Json] = json.loads(text.replace(json.dumps(NO_RESULT), json.dumps(SYNTHETIC)))
    return found


@needs_real_data
@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_a_reported_history_is_repaired_as_its_report_says(case: Json) -> None:
    if case["id"] in REFUSED:
        with pytest.raises(ValueError, match="messages"):
            imported(case["messages"])
        return
    ours, theirs = prompt_after_repair(case)

    assert (ours == theirs) is (case["id"] not in DEVIATIONS), DEVIATIONS.get(case["id"])


@needs_real_data
def test_a_control_comes_out_unchanged() -> None:
    controls = [case for case in cases() if case["is_control"]]
    assert controls
    for case in controls:
        projector = folded(imported(case["messages"]))

        assert repaired(projector) == ()
        assert build_prompt(projector.view().turns) == case["messages"]


@needs_real_data
def test_the_listed_deviations_are_cases_that_are_there() -> None:
    assert set(DEVIATIONS) | REFUSED <= {case["id"] for case in cases()}


# The rules that judge


@needs_real_data
def test_the_rules_refuse_every_real_corrupt_history_as_it_stands() -> None:
    taken = [case for case in cases() if not refuses(api_of(case), case["messages"])]
    assert [
        case["id"]
        for case in taken
        if not (case["is_control"] or case["provider_specific"] or case["http_status"] == 200 or case["id"] in UNSEEN)
    ] == []
    assert {case["id"] for case in cases() if case["is_control"]} <= {case["id"] for case in taken}


def test_the_rules_refuse_our_faulty_histories_as_they_stand() -> None:
    passed = [kind for kind, messages in FAULTY.items() if not refuses("chat", messages)]
    assert passed == []
