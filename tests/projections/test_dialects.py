"""The chat prompt for one provider: what it would take, from any history at all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.conversations import FOLDERS, conversations
from tests.support.dialect_rules import DIALECT_CHECKS, check_dialect
from tests.support.events import START, begun, call, failed, finished, result, text, user, view_of
from tests.support.histories import AT, ID, History, folded, imported, recorded, replayed
from tests.support.prompt_rules import check_chat_prompt
from tests.support.real_data import each_sample, evenly
from tests.support.strategies import histories
from turnlog import InvalidInputError
from turnlog.domain import events as e
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import PromptPolicy, build_prompt, check_prompt
from turnlog.projections.prompt.chat_faults import CHAT_FAULTS
from turnlog.projections.prompt.dialects import DIALECTS, DialectName
from turnlog.projections.prompt.explain import explain
from turnlog.projections.prompt.request import request_faults
from turnlog.projections.prompt.rewindable_prompt import RewindablePrompt
from turnlog.projections.prompt.tokens import estimated_tokens

SEND = PromptPolicy(reasoning="send")
SHOW = PromptPolicy(tool_media="user_message")
CONTINUE = PromptPolicy(broken_off="continue")
AT_THE_END = {"no_messages", "trailing_assistant"}
"""Faults that nothing but another message mends."""

Messages = list[dict[str, Any]]


def prompt_of(*events: e.SessionEvent, dialect: DialectName | None, policy: PromptPolicy | None = None) -> Messages:
    prompt: Messages = build_prompt(view_of(*events).turns, policy=policy or PromptPolicy(), dialect=dialect)
    if dialect is not None:
        check_dialect(dialect, prompt)
    return prompt


def check_all(projector: Projector, policy: PromptPolicy) -> None:
    turns, compaction = projector.turns(), projector.compaction
    for name in DIALECTS:
        prompt = build_prompt(turns, "chat", compaction, policy, dialect=name)
        check_dialect(name, prompt)
        assert {fault.kind for fault in request_faults(prompt, "chat", name)} <= AT_THE_END


def test_each_dialect_has_a_validator() -> None:
    assert set(DIALECTS) == {*DIALECT_CHECKS, "strict"} == set(get_args(DialectName))


@given(histories, st.sampled_from([PromptPolicy(), SEND, SHOW, CONTINUE]))
def test_each_provider_takes_the_prompt_of_any_history_by_its_dialect(history: History, policy: PromptPolicy) -> None:
    check_all(Projector(history[0].session_id).apply_all(history), policy)


@each_sample
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("history", [imported, replayed])
def test_each_provider_takes_the_prompts_of_recorded_conversations(folder: Path, history: Any, count: int) -> None:
    for messages in evenly(conversations(folder, "valid"), count):
        check_all(folded(history(messages)), SHOW)


@each_sample
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("dialect", ["mistral", "deepseek", "gemini", "strict"])
def test_no_prompt_of_a_recorded_conversation_loses_its_prefix(folder: Path, dialect: DialectName, count: int) -> None:
    for messages in evenly(conversations(folder, "valid"), count):
        events = replayed(messages)
        explained = explain(ID, events, "chat", dialect)
        assert explained.breaks == ()
        assert [one.message for one in explained.messages] == build_prompt(folded(events).turns(), dialect=dialect)


@given(histories, st.sampled_from(["strict", "mistral", "gemini", "openai"]))
def test_an_explanation_has_the_messages_of_the_prompt(history: History, dialect: DialectName) -> None:
    projector = Projector(history[0].session_id).apply_all(history)
    explained = explain(history[0].session_id, history, "chat", dialect)
    prompt = build_prompt(projector.turns(), "chat", projector.compaction, dialect=dialect)
    assert [one.message for one in explained.messages] == prompt


def test_messages_that_are_joined_go_on_and_are_joined_once() -> None:
    events = recorded([START, message("system", "Be brief.", 1), message("developer", "Be kind.", 2)])
    prompt = RewindablePrompt(ID, "chat", "strict")
    for event in events:
        prompt.apply(event)
    for _ in range(2):
        prompt.select()
        prompt.update()
        assert [one.message["content"] for one in prompt.messages] == ["Be brief.\n\nBe kind."]
        prompt._rewind_assembly(1)

    users = recorded([START, user("hi"), user("there"), user("and?")])
    explained = explain(ID, users, "chat", "strict")
    assert [one.message["content"] for one in explained.messages] == ["hi\n\nthere\n\nand?"]
    assert explained.breaks == ()


def test_a_name_that_nobody_has_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidInputError, match=r"'gpt' is not one of: openai, azure, gemini, .*strict"):
        check_prompt("chat", None, estimated_tokens, None, "gpt")
    with pytest.raises(InvalidInputError, match="chat prompt only"):
        check_prompt("responses", None, estimated_tokens, None, "openai")
    check_prompt("responses", None, estimated_tokens, None, None)


def test_ids_are_of_the_providers_form_and_always_the_same_ones() -> None:
    events = [user("hi"), begun("s1"), *call("s1", "call_abcdefgh"), *call("s1", "Ab3dEf9hi", index=1), finished("s1")]

    ids = [one["id"] for one in prompt_of(*events, dialect="mistral")[1]["tool_calls"]]

    assert ids[1] == "Ab3dEf9hi"
    assert re.fullmatch("[a-zA-Z0-9]{9}", ids[0])
    again = prompt_of(*events, result("s1", "ok", 0, "call_abcdefgh"), user("and?"), dialect="mistral")
    assert [one["id"] for one in again[1]["tool_calls"]] == ids
    assert again[2]["tool_call_id"] == ids[0]


def test_short_ids_that_meet_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnlog.projections.prompt.dialect.fingerprint", lambda *parts: "abcdefghi" + str(len(parts)))
    monkeypatch.setattr(
        "turnlog.projections.prompt.dialect.Dialect.new_id",
        lambda self, *parts: "abcdefghi" if len(parts) == 2 else f"abcdefgh{parts[2]}",
    )
    calls = [piece for number in range(3) for piece in call("s1", f"call_{number}", index=number)]
    prompt = prompt_of(user("hi"), begun("s1"), *calls, finished("s1"), dialect="mistral")
    assert [one["id"] for one in prompt[1]["tool_calls"]] == ["abcdefghi", "abcdefgh1", "abcdefgh2"]


def thought(step: str, said: str) -> e.ReasoningDelta:
    return e.ReasoningDelta(at=AT, step_id=step, text=said)


THOUGHT = [
    user("hi"), begun("s1"), thought("s1", "hm"), *call("s1"), finished("s1"), result("s1", "ok"),
    begun("s2"), *call("s2", "c2"), finished("s2"), result("s2", "ok", 0, "c2"),
    begun("s3"), text("s3", "So."), finished("s3"), user("and?"),
]  # fmt: skip


def answers(dialect: DialectName | None, field: str, policy: PromptPolicy | None = None) -> list[Any]:
    prompt = prompt_of(*THOUGHT, dialect=dialect, policy=policy)
    return [one.get(field) for one in prompt if one["role"] == "assistant"]


def test_thinking_goes_back_where_and_as_the_provider_wants_it() -> None:
    assert answers("deepseek", "reasoning_content") == ["hm", "", ""]
    assert answers("moonshot", "reasoning_content") == ["hm", "", None]
    assert answers("openrouter", "reasoning") == ["hm", None, None]
    assert answers("qwen", "reasoning_content") == [None] * 3
    assert answers("qwen", "reasoning_content", SEND) == ["hm", None, None]
    assert answers("cerebras", "reasoning", SEND) == ["hm", None, None]
    for name in ("openai", "groq", "strict"):
        assert "hm" not in json.dumps(prompt_of(*THOUGHT, dialect=name, policy=SEND))  # type: ignore[arg-type]
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    assert answers("mistral", "content", SEND)[0] == [thinking]
    assert answers("mistral", "content") == [None, None, "So."]


def test_an_answer_of_several_steps_has_the_field_although_nothing_was_thought() -> None:
    steps = [event for step in ("s1", "s2") for event in (begun(step), text(step, step), finished(step))]
    for dialect in (None, "deepseek"):
        prompt = prompt_of(user("hi"), *steps, user("and?"), dialect=dialect, policy=SEND)
        assert prompt[1] == {"role": "assistant", "content": "s1s2", "reasoning_content": ""}


DETAILS = [
    {"type": "reasoning.text", "text": "hm", "format": "google-gemini-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "ENC", "id": "c1", "format": "google-gemini-v1", "index": 1},
]


def foreign_call(**more: Any) -> Messages:
    called = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    beside, message = more.pop("beside", {}), {"role": "assistant", "content": None, **more}
    return [
        {"role": "user", "content": "Go."},
        {**message, "tool_calls": [{**called, **beside}]},
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
    ]


def test_details_of_reasoning_go_back_to_openrouter_unchanged_and_to_nobody_else() -> None:
    turns = folded(imported(foreign_call(reasoning="hm", reasoning_details=DETAILS))).turns()
    sent = build_prompt(turns, dialect="openrouter")[1]
    assert sent["reasoning_details"] == DETAILS
    assert "reasoning" not in sent
    for name in DIALECTS:
        assert name == "openrouter" or "ENC" not in json.dumps(build_prompt(turns, dialect=name, policy=SEND))


def test_the_signature_of_a_thought_goes_back_to_gemini_alone_and_a_call_from_elsewhere_gets_one() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "SIG"}}}
    turns = folded(imported(foreign_call(beside=signed))).turns()
    assert build_prompt(turns, dialect="gemini")[1]["tool_calls"][0]["extra_content"] == signed["extra_content"]
    for name in DIALECTS:
        assert name == "gemini" or "SIG" not in json.dumps(build_prompt(turns, dialect=name, policy=SEND))

    calls = prompt_of(
        user("hi"), begun("s1"), *call("s1"), *call("s1", "c2", index=1), finished("s1"), dialect="gemini"
    )
    beside = [one.get("extra_content") for one in calls[1]["tool_calls"]]
    assert beside == [{"google": {"thought_signature": "skip_thought_signature_validator"}}, None]


def test_the_signature_of_a_text_goes_back_to_gemini_alone() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "SIG"}}}
    mark = e.PartStarted(at=AT, step_id="s1", part=1, kind="opaque", api="chat", data={**signed, "service_tier": "x"})
    events = [user("hi"), begun("s1"), text("s1", "Hello"), mark, finished("s1"), user("and?")]
    assert prompt_of(*events, dialect="gemini")[1] == {"role": "assistant", "content": "Hello", **signed}
    for name in (None, "openai", "openrouter"):
        assert prompt_of(*events, dialect=name)[1] == {"role": "assistant", "content": "Hello"}  # type: ignore[arg-type]


def test_a_call_of_a_custom_tool_goes_back_to_openai_as_it_came() -> None:
    mark = e.PartStarted(at=AT, step_id="s1", part=1, kind="tool_call", api="chat", call=0, data={"type": "custom"})
    custom = [
        e.ToolCallStarted(at=AT, step_id="s1", index=0, id="c1", name="sql", custom=True),
        mark,
        e.ToolCallArgumentsDelta(at=AT, step_id="s1", index=0, arguments="select 1"),
    ]
    events = [user("hi"), begun("s1"), *custom, finished("s1"), result("s1", "1"), user("and?")]
    sent = prompt_of(*events, dialect="openai")[1]["tool_calls"][0]
    assert sent == {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    assert prompt_of(*events, dialect="groq")[1]["tool_calls"][0]["function"] == {
        "name": "sql",
        "arguments": '{"input":"select 1"}',
    }


def message(role: Any, content: Any, number: int, name: str | None = None) -> e.MessageAdded:
    return e.MessageAdded(at=AT, message_id=f"n{number}", role=role, content=content, name=name)


def said(prompt: Messages) -> list[tuple[str, Any]]:
    return [(one["role"], one["content"]) for one in prompt]


def test_roles_names_and_the_order_of_messages_are_the_providers() -> None:
    events = [
        message("system", "Be brief.", 1),
        message("developer", "Be kind.", 2),
        message("user", "hi", 3, "ada"),
        message("system", "It is late.", 4),
        begun("s1"), *call("s1"), finished("s1"), result("s1", "ok"),
        message("user", "and?", 5, "bob"),
    ]  # fmt: skip
    assert said(prompt_of(*events, dialect="strict")) == [
        ("system", "Be brief.\n\nBe kind."),
        ("user", "hi\n\nIt is late."),
        ("assistant", ""),
        ("tool", "ok"),
        ("assistant", "(No answer.)"),
        ("user", "and?"),
    ]
    deepseek = prompt_of(*events, dialect="deepseek")
    assert [one["role"] for one in deepseek] == ["system", "system", "user", "system", "assistant", "tool", "user"]
    assert [one.get("name") for one in deepseek if one["role"] == "user"] == ["ada", "bob"]
    assert not any("name" in one for one in prompt_of(*events, dialect="groq"))
    assert [one["role"] for one in prompt_of(*events, dialect="openai")][:2] == ["system", "developer"]


def test_a_refusal_is_text_where_there_is_no_field_for_it() -> None:
    refused = e.RefusalDelta(at=AT, step_id="s1", text="No.")
    events = [user("hi"), begun("s1"), text("s1", "Sorry."), refused, finished("s1"), user("and?")]
    assert prompt_of(*events, dialect="openai")[1] == {"role": "assistant", "content": "Sorry.", "refusal": "No."}
    assert prompt_of(*events, dialect="mistral")[1] == {"role": "assistant", "content": "Sorry.\n\nNo."}


def test_the_assistant_does_not_speak_first_where_it_must_not() -> None:
    first = [begun("s1"), text("s1", "Welcome."), finished("s1"), user("hi")]
    assert [one["role"] for one in prompt_of(*first, dialect="openai")] == ["assistant", "user"]
    for name in ("gemini", "mistral", "perplexity", "vllm"):
        assert [one["role"] for one in prompt_of(*first, dialect=name)] == ["user", "assistant", "user"]  # type: ignore[arg-type]


def test_each_call_has_a_message_where_there_is_one_at_once() -> None:
    calls = [*call("s1", "c1"), *call("s1", "c2", index=1)]
    events = [user("hi"), begun("s1"), text("s1", "Wait."), *calls, finished("s1")]
    events += [result("s1", "b", 1, "c2"), result("s1", "a"), user("and?")]
    prompt = prompt_of(*events, dialect="llama")
    assert [(one["role"], one["content"]) for one in prompt[1:5]] == [
        ("assistant", "Wait."),
        ("tool", "b"),
        ("assistant", None),
        ("tool", "a"),
    ]


def test_an_answer_that_is_to_be_continued_has_the_mark_of_the_provider() -> None:
    events = [user("hi"), begun("s1"), text("s1", "Hel"), failed("s1")]
    assert prompt_of(*events, dialect="deepseek", policy=CONTINUE)[1]["prefix"] is True
    assert prompt_of(*events, dialect="moonshot", policy=CONTINUE)[1]["partial"] is True
    assert request_faults(prompt_of(*events, dialect="mistral", policy=CONTINUE), "chat", "mistral") == ()
    assert len(prompt_of(*events, dialect="deepseek")) == 1


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
SEEN = [
    user("hi"), begun("s1"), *call("s1", "c1"), *call("s1", "c2", index=1), finished("s1"),
    result("s1", ({"type": "text", "text": "A cat:"}, PICTURE), 0, "c1"), result("s1", "ok", 1, "c2"),
]  # fmt: skip


def test_a_picture_in_a_result_goes_into_a_users_message_behind_the_results() -> None:
    prompt = prompt_of(*SEEN, dialect=None, policy=SHOW)
    check_chat_prompt(prompt)
    assert [one["role"] for one in prompt] == ["user", "assistant", "tool", "tool", "user"]
    assert [part["text"] for part in prompt[2]["content"]] == ["A cat:", "(image left out: it follows the results)"]
    assert prompt[4]["content"] == [{"type": "text", "text": "(From the result of find, c1:)"}, PICTURE]
    later = prompt_of(*SEEN, begun("s2"), text("s2", "A cat."), finished("s2"), user("and?"), dialect=None, policy=SHOW)
    assert later[:5] == prompt
    assert "it follows" not in json.dumps(prompt_of(*SEEN, dialect=None))
    assert "it follows" not in json.dumps(prompt_of(*SEEN, dialect="deepseek", policy=SHOW))  # it takes no pictures


def test_a_window_keeps_a_picture_with_its_result() -> None:
    view = view_of(*SEEN, begun("s2"), text("s2", "A cat."), finished("s2"), user("and?"))

    def count(messages: Messages) -> int:
        return len(messages)

    window = build_prompt(view.turns, policy=SHOW, max_tokens=6, count_tokens=count)
    assert [one.get("content") for one in window] == [prompt_of(*SEEN, dialect=None)[0]["content"], "A cat.", "and?"]
    large = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 4000}"}}
    answered = [*SEEN[:-2], result("s1", (large,), 0, "c1"), SEEN[-1]]
    assert count(build_prompt(view_of(*answered).turns, policy=SHOW)) == 5
    short = build_prompt(view_of(*answered).turns, policy=SHOW, max_tokens=300)
    assert [one["role"] for one in short] == ["user", "assistant", "tool", "tool"]
    assert short[2]["content"] == "(image left out: the prompt is too long)"


def kinds(prompt: Messages, dialect: DialectName | None = None) -> dict[str, tuple[str, ...]]:
    return {fault.kind: fault.dialects for fault in request_faults(prompt, "chat", dialect)}


def test_what_providers_refuse_of_the_prompt_of_none_is_named_with_them() -> None:
    found = kinds(prompt_of(*THOUGHT, dialect=None))
    assert found == {
        "call_id": ("mistral",),
        "missing_reasoning": ("deepseek", "moonshot"),
        "null_content": ("xai",),
    }
    current = prompt_of(*THOUGHT[:6], dialect=None)
    assert kinds(current)["missing_signature"] == ("gemini",)
    assert kinds(current, "gemini") == {"missing_signature": ("gemini",)}
    assert kinds(current, "openai") == {}
    named = [{"role": "developer", "content": "x"}, {"role": "user", "content": "hi", "name": "ada"}]
    assert kinds(named)["message_name"] == ("mistral", "groq", "cerebras")
    assert "deepseek" in kinds(named)["developer_role"]


EXAMPLES: dict[str, Messages] = {
    "function_role": [{"role": "function", "name": "f", "content": "x"}],
    "tool_name": [{"role": "assistant", "content": "", "tool_calls": [{"id": "a", "function": {"name": "1"}}]}],
    "custom_tool": [{"role": "assistant", "content": "", "tool_calls": [{"id": "a", "custom": {"name": "f"}}]}],
    "parallel_calls": [{"role": "assistant", "content": "", "tool_calls": [{"id": "a"}, {"id": "b"}]}],
    "unknown_field": [{"role": "assistant", "content": "x", "refusal": "y"}],
    "null_content": [{"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}],
    "content_list": [{"role": "tool", "content": [{"type": "text", "text": "x"}]}],
    "content_part": [{"role": "user", "content": [{"type": "file", "file": {}}]}],
    "user_after_tool": [{"role": "tool", "content": "x"}, {"role": "user", "content": "x"}],
    "late_system": [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}],
    "leading_assistant": [{"role": "assistant", "content": "x"}],
    "consecutive_roles": [{"role": "user", "content": "x"}] * 2,
}


@pytest.mark.parametrize("kind", CHAT_FAULTS)
def test_each_fault_is_one_of_somebodys(kind: str) -> None:
    current = [*prompt_of(*THOUGHT[:6], dialect=None), {"role": "developer", "content": "x", "name": "y"}]
    assert kinds(EXAMPLES.get(kind, current))[kind]
