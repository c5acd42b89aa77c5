"""Answers that were recorded as streams go back to the API that they came from, with the same parts in their order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.anthropic_rules import check_anthropic_prompt
from tests.support.event_streams import (
    AT,
    EVENT_STREAMS,
    EventStream,
    asked_again,
    blocks_of,
    event_streams,
    items_of,
    plain,
    read_again,
)
from tests.support.prompt_rules import check_chat_prompt
from tests.support.responses_rules import check_responses_prompt
from turnlog.projections.prompt import build_prompt

Json = dict[str, Any]


@pytest.mark.parametrize("stream", event_streams("anthropic"), ids=str)
def test_blocks_go_back_to_anthropic_in_their_order(stream: EventStream) -> None:
    """Without thinking that nothing vouches for, and without a call that was cut off."""
    done = read_again(stream)
    turns = asked_again(done.events, done.reader).turns
    if turns[0].steps[-1].is_paused:  # it goes back as long as nothing has followed
        turns = (turns[0].model_copy(update={"messages": turns[0].messages[:1]}),)
    messages = build_prompt(turns, "anthropic")["messages"]

    sent = [block for message in messages if message["role"] == "assistant" for block in message["content"]]
    expected = [block for block in blocks_of(done.step) if block["type"] != "thinking" or block["signature"]]
    expected = [] if stream.name == "call-cut-off" else expected
    assert plain(sent) == plain(expected)


@pytest.mark.parametrize("stream", event_streams("responses"), ids=str)
def test_items_go_back_to_the_responses_api_in_their_order(stream: EventStream) -> None:
    """Texts that follow each other are one message. Calls stand behind what is said, each behind the reasoning that led
    to it; and reasoning goes back where it can be proved."""
    done = read_again(stream)
    if stream.name == "outputs-of-the-conversation":
        return  # they are no answer of a model
    sent = build_prompt(asked_again(done.events, done.reader).turns, "responses")[1:-1]

    assert [_of(item) for item in sent if not item["type"].endswith("call_output")] == _expected(stream)


def _of(item: Json) -> Json:
    """An item without its id and its state, which nothing depends on."""
    if item["type"] == "message":
        return {"said": item["content"], "phase": item.get("phase")}
    return {name: value for name, value in plain(item).items() if name not in ("id", "status")}


def _expected(stream: EventStream) -> list[Json]:
    others, calls, thoughts = list[Json](), list[Json](), list[Json]()
    for item in items_of(read_again(stream).step):
        if item["type"] == "reasoning":
            thoughts += [_of(item)] if item.get("encrypted_content") else []
        elif item["type"] == "message":
            said = "".join(content.get("text", content.get("refusal", "")) for content in item["content"])
            last = others[-1] if others and not thoughts else {}
            if not said:
                continue
            if "said" in last:
                last["said"] += said
                last["phase"] = item.get("phase") or last["phase"]
            else:
                others += [*thoughts, {"said": said, "phase": item.get("phase")}]
            thoughts = []
        elif item.get("status") == "incomplete":
            pass  # it was cut off
        elif item["type"] in ("function_call", "custom_tool_call"):
            calls += [*thoughts, _of(item)]
            thoughts = []
        elif stream.name in ("computer", "local-shell") and item["type"].endswith("_call"):
            pass  # somebody else runs it, and has not answered
        elif not item["type"].endswith("call_output"):
            others += [*thoughts, _of(item)]
            thoughts = []
    return [*others, *calls]


OF_OTHERS = {
    *("outputs-of-the-conversation", "unknown-kinds"),
}
"""Streams whose answers their own API takes only with something that is not in them."""


@pytest.mark.parametrize("stream", EVENT_STREAMS, ids=str)
def test_cut_after_any_event_all_apis_take_the_answer(stream: EventStream) -> None:
    done = read_again(stream)
    for count in sorted(set(done.counts)):
        reader = done.reader if count == done.counts[-1] else type(done.reader)("s1", lambda: AT)
        turns = asked_again(done.events[:count], reader).turns
        check_chat_prompt(build_prompt(turns))
        if stream.api == "responses" or stream.name not in OF_OTHERS:
            check_anthropic_prompt(build_prompt(turns, "anthropic"))
        if stream.api == "anthropic" or stream.name not in OF_OTHERS:
            check_responses_prompt(build_prompt(turns, "responses"))
