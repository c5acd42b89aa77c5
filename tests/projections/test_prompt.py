"""The prompt's rules, one by one. (That it is valid after anything at all: see test_projector.)"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.anthropic_rules import check_anthropic_prompt
from tests.support.events import abandoned, begun, call, failed, finished, interrupted, result, text, user, view_of
from tests.support.foreign_messages import IMAGE
from tests.support.histories import AT
from tests.support.prompt_rules import check_chat_prompt
from tests.support.rules import CHECKS
from turnlog.domain import events as e
from turnlog.projections.prompt import NO_RESULT, Api, PromptPolicy, build_prompt, chat_prompt


def prompt_of(*events: e.SessionEvent) -> list[dict[str, Any]]:
    prompt = chat_prompt(view_of(*events).turns)
    check_chat_prompt(prompt)
    return prompt


def said(prompt: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(message["role"], message["content"]) for message in prompt]


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    prompt = prompt_of(user("hi"), begun("s1"), *call("s1"), finished("s1"), user("and?"))

    assert said(prompt) == [("user", "hi"), ("assistant", None), ("tool", NO_RESULT), ("user", "and?")]


def test_a_message_in_mid_step_stands_after_the_step_and_its_results() -> None:
    prompt = prompt_of(
        user("hi"), begun("s1"), text("s1", "wait"), *call("s1"), user("hurry"), result("s1", "found"), finished("s1")
    )

    assert said(prompt) == [("user", "hi"), ("assistant", "wait"), ("tool", "found"), ("user", "hurry")]


def test_a_failed_or_abandoned_attempt_that_was_replaced_is_left_out() -> None:
    for end in (failed, abandoned):
        prompt = prompt_of(
            user("hi"), begun("s1"), text("s1", "Hel"), end("s1"), begun("s2"), text("s2", "Hello"), finished("s2")
        )

        assert said(prompt) == [("user", "hi"), ("assistant", "Hello")]


def test_an_attempt_that_a_request_has_had_stays_in_its_place() -> None:
    for role in ("system", "developer"):
        said_since = e.MessageAdded(at=AT, message_id="m", role=role, content="be short")
        for end in (failed, abandoned):
            attempt = [user("hi"), begun("s1"), text("s1", "Hel"), end("s1"), said_since]
            sent = prompt_of(*attempt)

            assert said(sent) == [("user", "hi"), ("assistant", "Hel"), (role, "be short")]
            assert prompt_of(*attempt, begun("s2"), text("s2", "Hi"), finished("s2"))[:-1] == sent
            taken = e.TurnStarted(at=AT, turn_id="hi", run="r1", writer="w1")
            assert prompt_of(*attempt, taken) == sent


def test_an_attempt_that_was_not_replaced_is_sent_as_far_as_it_got() -> None:
    for end in (failed, abandoned, interrupted):
        prompt = prompt_of(user("hi"), begun("s1"), text("s1", "Hel"), end("s1"), user("go on"))

        assert said(prompt) == [("user", "hi"), ("assistant", "Hel"), ("user", "go on")]


def test_an_attempt_whose_call_was_answered_is_gone_on_from_and_not_replaced() -> None:
    prompt = prompt_of(
        user("hi"),
        begun("s1"),
        *call("s1"),
        failed("s1"),
        result("s1", "x"),
        begun("s2"),
        text("s2", "y"),
        finished("s2"),
    )

    assert [role for role, _ in said(prompt)] == ["user", "assistant", "tool", "assistant"]


def test_an_attempt_that_was_gone_on_from_stays_when_another_result_comes_late() -> None:
    attempt = [user("hi"), begun("s1"), *call("s1"), failed("s1"), result("s1", "soon", status="pending")]
    gone_on = [*attempt, begun("s2"), text("s2", "y"), finished("s2")]
    for status in ("pending", "final"):
        late = result("s1", "later", status=status).model_copy(update={"late": True})

        assert said(prompt_of(*gone_on, late))[:4] == said(prompt_of(*gone_on))


def test_a_call_that_was_cut_off_is_left_out_and_a_whole_one_is_closed() -> None:
    cut = [*call("s1"), *call("s1", "c2", arguments='{"a":', index=1), interrupted("s1")]
    prompt = prompt_of(user("hi"), begun("s1"), *cut, user("so?"))

    assert [call["id"] for call in prompt[1]["tool_calls"]] == ["c1"]
    assert said(prompt)[2:] == [("tool", NO_RESULT), ("user", "so?")]


def test_a_call_without_a_name_goes_with_its_result() -> None:
    prompt = prompt_of(
        user("hi"), begun("s1"), text("s1", "x"), *call("s1", name=""), finished("s1"), result("s1", "r")
    )

    assert said(prompt) == [("user", "hi"), ("assistant", "x")]
    assert "tool_calls" not in prompt[1]


def test_missing_and_repeated_ids_are_replaced_by_the_same_ones_each_time() -> None:
    events = [
        user("hi"), begun("s1"), *call("s1", ""), *call("s1", "c1", index=1), *call("s1", "c1", index=2),
        finished("s1"),
        result("s1", "a", 0, ""), result("s1", "c", 2), result("s1", "b", 1),
        begun("s2"), *call("s2", "c1"), finished("s2"), result("s2", "d"),
    ]  # fmt: skip
    prompt = prompt_of(*events)

    ids = [call["id"] for message in prompt for call in message.get("tool_calls", ())]
    answers = {message["tool_call_id"]: message["content"] for message in prompt if message["role"] == "tool"}
    assert ids[1] == "c1"
    assert len(set(ids)) == 4
    assert [answers[call_id] for call_id in ids] == ["a", "b", "c", "d"]
    assert prompt == prompt_of(*events)


def test_arguments_that_are_not_json_become_an_empty_object() -> None:
    for arguments in ("", "{", "NaN", '{"a": Infinity}', "{} {}", "nul"):
        prompt = prompt_of(user("hi"), begun("s1"), *call("s1", arguments=arguments), finished("s1"))

        assert prompt[1]["tool_calls"][0]["function"]["arguments"] == "{}"


MENDED = [
    (r'{"a":"\ud800x", "cmd":"y"}', r'{"a":"\ufffdx", "cmd":"y"}', {"a": "\ufffdx", "cmd": "y"}),
    (r'{"\uDFFF":"\uD83D\uDE00\uD83D"}', r'{"\ufffd":"\uD83D\uDE00\ufffd"}', {"\ufffd": "😀\ufffd"}),
    (r'{"a":"\\ud800\\\ud800"}', r'{"a":"\\ud800\\\ufffd"}', {"a": "\\ud800\\\ufffd"}),
    ('{"a":1e999,"b":[-1e999,1.5,2]}', '{"a":1e999,"b":[-1e999,1.5,2]}', {"a": "1e999", "b": ["-1e999", 1.5, 2]}),
    (r'{"a":"\ud8"}', "{}", {}),
]


@pytest.mark.parametrize("api", CHECKS)
@pytest.mark.parametrize(("arguments", "text_sent", "object_sent"), MENDED)
def test_of_arguments_only_what_cannot_be_sent_is_another(
    api: Api, arguments: str, text_sent: str, object_sent: dict[str, Any]
) -> None:
    turns = view_of(user("hi"), begun("s1"), *call("s1", arguments=arguments), finished("s1")).turns

    prompt = build_prompt(turns, api)

    CHECKS[api](prompt)
    if api == "anthropic":
        assert prompt["messages"][1]["content"][0]["input"] == object_sent
    else:
        assert (prompt[1]["tool_calls"][0]["function"] if api == "chat" else prompt[1])["arguments"] == text_sent


def test_valid_arguments_are_sent_byte_for_byte() -> None:
    arguments = '{ "b" : 1,"a":[ 1.50, "\\u00fc"] }\n'
    prompt = prompt_of(user("hi"), begun("s1"), *call("s1", arguments=arguments), finished("s1"))

    assert prompt[1]["tool_calls"][0]["function"]["arguments"] == arguments


@pytest.mark.parametrize(("api", "length"), [("chat", 64), ("anthropic", 128), ("responses", 64)])
def test_the_name_of_a_tool_is_as_long_as_the_api_takes_it(api: Api, length: int) -> None:
    step = [begun("s1"), *call("s1", name="mcp.find" + "x" * 200), finished("s1")]
    asked = e.FunctionCallDelta(at=AT, step_id="s2", name="mcp.call" + "x" * 200, arguments="{}")
    answer = e.MessageAdded(at=AT, message_id="b", role="function", content="found", name="mcp.call" + "x" * 200)
    turns = view_of(user("hi"), *step, result("s1", "ok"), begun("s2"), asked, finished("s2"), answer).turns

    prompt = build_prompt(turns, api)

    CHECKS[api](prompt)
    names = re.findall(r"'(mcp_\w+)'", str(prompt))
    assert {(name[:8], len(name)) for name in names} == {("mcp_find", length), ("mcp_call", length)}
    assert "found" in str(prompt)


def test_two_steps_with_nothing_between_are_one_message_joined_by_nothing() -> None:
    steps = [begun("s1"), text("s1", "Hel"), interrupted("s1"), begun("s2"), text("s2", "lo"), finished("s2")]

    assert said(prompt_of(user("hi"), *steps)) == [("user", "hi"), ("assistant", "Hello")]


def test_text_and_parts_that_meet_become_parts() -> None:
    parts = ({"type": "text", "text": "b"},)
    whole = e.MessageAdded(at=AT, message_id="m", role="assistant", content=parts)

    assert prompt_of(user("hi"), begun("s1"), text("s1", "a"), finished("s1"), whole)[1]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


def test_a_step_that_said_nothing_is_not_sent() -> None:
    assert said(prompt_of(user("hi"), begun("s1"), finished("s1"), user("hello?"))) == [
        ("user", "hi"),
        ("user", "hello?"),
    ]


def test_halves_of_characters_are_made_fit_to_send_and_stay_in_the_view() -> None:
    events = [user("hi"), begun("s1"), text("s1", "\ud83d"), text("s1", "\ude00 \ud83d \0"), finished("s1")]

    assert prompt_of(*events)[1]["content"] == "😀 � \0"
    assert view_of(*events).messages[1]["content"] == "\ud83d\ude00 \ud83d \0"


def test_roles_names_and_the_legacy_function_call_are_kept() -> None:
    prompt = prompt_of(
        e.MessageAdded(at=AT, message_id="a", role="developer", content="d", name="dev"),
        user("hi"),
        begun("s1"),
        e.FunctionCallDelta(at=AT, step_id="s1", name="find", arguments='{"q":'),
        e.FunctionCallDelta(at=AT, step_id="s1", arguments="1}"),
        finished("s1"),
        e.MessageAdded(at=AT, message_id="b", role="function", content="found", name="find"),
    )

    assert prompt[0] == {"role": "developer", "content": "d", "name": "dev"}
    assert prompt[2]["function_call"] == {"name": "find", "arguments": '{"q":1}'}
    assert prompt[3] == {"role": "function", "content": "found", "name": "find"}


def test_the_transcript_shows_what_was_recorded() -> None:
    messages = view_of(user("hi"), begun("s1"), *call("s1", arguments="{"), finished("s1"), user("so?")).messages

    assert messages[1]["tool_calls"][0]["function"]["arguments"] == "{"
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]


def test_reasoning_is_sent_only_where_a_policy_says_so() -> None:
    thought = e.ReasoningDelta(at=AT, step_id="s1", text="hm")
    turns = view_of(user("hi"), begun("s1"), thought, text("s1", "Yes."), finished("s1")).turns

    assert "reasoning_content" not in build_prompt(turns)[1]
    assert build_prompt(turns, policy=PromptPolicy(reasoning="send"))[1]["reasoning_content"] == "hm"


def test_a_result_that_is_an_error_is_marked_as_one_for_anthropic() -> None:
    turns = view_of(user("hi"), begun("s1"), *call("s1"), finished("s1"), result("s1", "boom", status="error")).turns
    block = {"type": "tool_result", "tool_use_id": "c1", "content": "boom", "is_error": True}
    assert build_prompt(turns, "anthropic")["messages"][2]["content"] == [block]


def system_prompt(*contents: Any) -> Any:
    messages = [
        e.MessageAdded(at=AT, message_id=str(number), role="system", content=content)
        for number, content in enumerate(contents)
    ]
    return build_prompt(view_of(*messages).turns, "anthropic")["system"]


def test_what_is_lifted_out_for_anthropic_is_one_text_unless_a_block_has_a_mark() -> None:
    marked = {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}
    assert system_prompt() == ""
    assert system_prompt("a", "b") == "a\n\nb"
    assert system_prompt("a", (marked,)) == [{"type": "text", "text": "a"}, marked]
    assert system_prompt(({"type": "text", "text": "a"}, IMAGE)) == "a"


def test_a_signature_that_came_without_its_text_signs_the_reasoning() -> None:
    detail = {"type": "reasoning.text", "format": "anthropic-claude-v1", "signature": "s"}
    thought = e.ReasoningDelta(at=AT, step_id="s1", text="hm", details=(detail,))
    turns = view_of(user("hi"), begun("s1"), thought, text("s1", "Yes."), finished("s1")).turns
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    assert build_prompt(turns, "anthropic")["messages"][1]["content"][0] == thinking


def thoughtful(step: str, said: str) -> list[Any]:
    detail = {"type": "thinking", "thinking": "hm", "signature": step}
    return [begun(step), e.ReasoningDelta(at=AT, step_id=step, details=(detail,)), text(step, said), finished(step)]


def test_thinking_stands_first_in_its_message_or_nowhere() -> None:
    turns = view_of(user("hi"), *thoughtful("s1", "One."), user(" "), *thoughtful("s2", "Two.")).turns
    prompt = build_prompt(turns, "anthropic")
    check_anthropic_prompt(prompt)
    assert [block["type"] for block in prompt["messages"][1]["content"]] == ["thinking", "text", "text"]


def test_thinking_without_an_answer_is_not_sent() -> None:
    turns = view_of(user("hi"), *thoughtful("s1", " "), user("so?")).turns
    assert len(build_prompt(turns, "anthropic")["messages"]) == 1


def called_function(name: str = "find") -> list[Any]:
    return [begun("s1"), e.FunctionCallDelta(at=AT, step_id="s1", name=name, arguments="{}"), finished("s1")]


FUNCTION = e.MessageAdded(at=AT, message_id="f", role="function", content="found", name="find")


def test_a_function_message_of_another_name_is_the_result_of_no_call() -> None:
    prompt = prompt_of(user("hi"), *called_function("other"), FUNCTION)
    assert [role for role, _ in said(prompt)] == ["user", "assistant"]


def test_a_function_message_after_another_answer_is_the_result_of_no_call() -> None:
    answer = [begun("s2"), text("s2", "Yes."), finished("s2")]
    prompt = prompt_of(user("hi"), *called_function(), user("and?"), *answer, FUNCTION)
    assert [role for role, _ in said(prompt)] == ["user", "assistant", "user", "assistant"]


def test_the_joined_message_has_the_name_and_the_reasoning_of_both() -> None:
    named = [
        e.MessageAdded(at=AT, message_id=said, role="assistant", content=said, name=name)
        for said, name in (("a", "bot"), ("b", None))
    ]
    assert prompt_of(user("hi"), *named)[1] == {"role": "assistant", "content": "ab", "name": "bot"}
    thoughts = [e.ReasoningDelta(at=AT, step_id=step, text=thought) for step, thought in (("s1", "h"), ("s2", "m"))]
    steps = [[begun(t.step_id), t, text(t.step_id, "x"), finished(t.step_id)] for t in thoughts]
    turns = view_of(user("hi"), *steps[0], *steps[1]).turns
    assert build_prompt(turns, policy=PromptPolicy(reasoning="send"))[1]["reasoning_content"] == "hm"


def test_a_compaction_stands_for_nothing_that_came_after_it() -> None:
    compacted = e.ContextCompacted(at=AT, summary="so far", upto=100)
    view = view_of(user("hi"), compacted, user("and?"))
    assert said(build_prompt(view.turns, compaction=view.compaction)) == [("user", "so far"), ("user", "and?")]
