"""A conversation as the UIMessage[] of the AI SDK, from version 5 on."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given

from tests.support.events import AT, begun, call, finished, result, text, user, view_of
from tests.support.histories import History, folded, imported
from tests.support.owned_talks import owned_histories
from tests.support.strategies import histories
from turnlog.domain import events as e
from turnlog.projections.ui_messages import ui_messages

Json = dict[str, Any]
NOW = AT.isoformat()

STATES = {
    "input-streaming": {"input"},
    "input-available": {"input"},
    "approval-requested": {"input", "approval"},
    "approval-responded": {"input", "approval"},
    "output-denied": {"input", "approval"},
    "output-available": {"input", "output"},
    "output-error": {"input", "errorText"},
}
"""By the state of a tool part: the fields that it has to have (ai-sdk.dev/docs/reference/ai-sdk-core/ui-message)."""


def check_ui_messages(messages: list[Json]) -> None:
    """Asserts what the types of the AI SDK say."""
    json.dumps(messages, ensure_ascii=False).encode()
    for message in messages:
        assert message.keys() == {"id", "role", "metadata", "parts"}
        assert message["role"] in ("system", "user", "assistant")
        assert isinstance(message["id"], str)
        for part in message["parts"]:
            check_part(part)
    roles = [message["role"] for message in messages]
    assert ("assistant", "assistant") not in list(pairwise(roles))


def check_part(part: Json) -> None:
    kind = part["type"]
    if kind in ("text", "reasoning"):
        assert isinstance(part["text"], str)
        assert part["state"] in ("streaming", "done")
    elif kind == "file":
        assert isinstance(part["url"], str)
        assert "/" in part["mediaType"]
    elif kind.startswith("tool-") or kind == "dynamic-tool":
        assert ("toolName" in part) == (kind == "dynamic-tool")
        assert part["toolCallId"]
        assert STATES[part["state"]] <= part.keys()
        assert not (STATES["output-error"] | STATES["output-available"]) - STATES[part["state"]] & part.keys()
    elif kind == "source-url":
        assert isinstance(part["sourceId"], str)
        assert isinstance(part["url"], str)
    else:
        assert kind == "step-start" or kind.startswith("data-")


@given(histories | owned_histories)
def test_any_history_is_what_the_types_of_the_sdk_say(history: History) -> None:
    check_ui_messages(ui_messages(folded(history).view().turns))


def test_the_steps_of_an_answer_are_one_message() -> None:
    view = view_of(
        e.MessageAdded(at=AT, message_id="m0", role="developer", content="Be brief."),
        user("Weather?"),
        begun("s1"),
        e.ReasoningDelta(at=AT, step_id="s1", text="Two cities."),
        text("s1", "I will "),
        text("s1", "look."),
        *call("s1", "c1", "weather", '{"city":"Paris"}', 0),
        *call("s1", "c2", "weather", '{"city":"Rome"}', 1),
        *call("s1", "c3", "book", "", 2),
        e.CompletionFinished(at=AT, step_id="s1", finish_reason="tool_calls", model="m-1"),
        result("s1", "21 C", 0, "c1"),
        result("s1", "no station", 1, "c2", "error"),
        result("s1", "asked", 2, "c3", "pending"),
        begun("s2"),
        text("s2", "Warm."),
        finished("s2"),
    )
    assert ui_messages(view.turns) == [
        {"id": "m0", "role": "system", "metadata": {"createdAt": NOW}, "parts": [said("Be brief.")]},
        {"id": "Weather?", "role": "user", "metadata": {"createdAt": NOW}, "parts": [said("Weather?")]},
        {
            "id": "s1",
            "role": "assistant",
            "metadata": {"createdAt": NOW, "model": "m-1", "finishReason": "stop", "status": "finished"},
            "parts": [
                {"type": "step-start"},
                {"type": "reasoning", "text": "Two cities.", "state": "done"},
                said("I will look."),
                tool("weather", "c1", {"city": "Paris"}, state="output-available", output="21 C"),
                tool("weather", "c2", {"city": "Rome"}, state="output-error", errorText="no station"),
                tool("book", "c3", {}, state="output-available", output="asked", preliminary=True),
                {"type": "step-start"},
                said("Warm."),
            ],
        },
    ]


def said(text: str, state: str = "done") -> Json:
    return {"type": "text", "text": text, "state": state}


def tool(name: str, call_id: str, given: Any, **fields: Any) -> Json:
    return {"type": f"tool-{name}", "toolCallId": call_id, "input": given, **fields}


def test_a_step_that_is_open_streams() -> None:
    view = view_of(user("hi"), begun("s1"), text("s1", "Hel"), *call("s1", "", "find", '{"q": "Ro'))
    assert ui_messages(view.turns)[-1]["parts"] == [
        {"type": "step-start"},
        said("Hel", "streaming"),
        tool("find", "s1.0", '{"q": "Ro', state="input-streaming", rawInput='{"q": "Ro'),
    ]


def test_an_attempt_that_was_made_again_is_left_out() -> None:
    failed = e.CompletionFailed(at=AT, step_id="s1", error="slow down")
    view = view_of(
        user("hi"), begun("s1"), text("s1", "Hel"), failed, begun("s2"), text("s2", "Hello."), finished("s2")
    )
    (answer,) = [message for message in ui_messages(view.turns) if message["role"] == "assistant"]
    assert answer["parts"] == [{"type": "step-start"}, said("Hello.")]


@pytest.mark.parametrize(
    ("part", "media_type", "url"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            "image/png",
            "data:image/png;base64,AAAA",
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg?size=1"}},
            "image/jpeg",
            "https://example.com/a.jpg?size=1",
        ),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a"}}, "image/*", "https://example.com/a"),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            "audio/mp3",
            "data:audio/mp3;base64,AAAA",
        ),
        ({"type": "file", "file": {"file_id": "file-1", "filename": "a.pdf"}}, "application/pdf", "file-1"),
    ],
)
def test_pictures_audio_and_files_are_file_parts(part: Json, media_type: str, url: str) -> None:
    view = folded(imported([{"role": "user", "content": [{"type": "text", "text": "Look:"}, part]}])).view()
    (message,) = ui_messages(view.turns)
    assert message["parts"][0] == said("Look:")
    name = {"filename": "a.pdf"} if part["type"] == "file" else {}
    assert message["parts"][1:] == [{"type": "file", "mediaType": media_type, "url": url, **name}]


def test_reasoning_goes_with_what_its_provider_wants_back() -> None:
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    hidden = {"type": "redacted_thinking", "data": "AAAA"}
    content = [signed, hidden, {"type": "text", "text": "Yes."}]
    view = folded(
        imported([{"role": "user", "content": "?"}, {"role": "assistant", "content": content}], "anthropic")
    ).view()
    assert ui_messages(view.turns)[-1]["parts"] == [
        {"type": "step-start"},
        {
            "type": "reasoning",
            "text": "Hm.",
            "state": "done",
            "providerMetadata": {"anthropic": {"signature": "c2ln"}},
        },
        {
            "type": "reasoning",
            "text": "",
            "state": "done",
            "providerMetadata": {"anthropic": {"redactedData": "AAAA"}},
        },
        said("Yes."),
    ]


def test_what_a_legacy_function_gave_is_the_output_of_its_call() -> None:
    calling = {"role": "assistant", "content": None, "function_call": {"name": "find", "arguments": "{}"}}
    messages = [{"role": "user", "content": "hi"}, calling, {"role": "function", "name": "find", "content": "found"}]
    (*_, answer) = ui_messages(folded(imported(messages)).view().turns)
    assert answer["parts"][1]["output"] == "found"
    assert answer["parts"][1]["state"] == "output-available"


def test_the_parts_of_a_step_stand_in_their_order() -> None:
    cited = {"type": "web_search_result_location", "url": "https://example.org/hours", "title": "Hours"}
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "harbour"}}
    content = [
        {"type": "thinking", "thinking": "t1", "signature": "S1"},
        search,
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"url": "https://example.org"}]},
        {"type": "thinking", "thinking": "t2", "signature": "S2"},
        {"type": "text", "text": "At six.", "citations": [cited]},
        {"type": "tool_use", "id": "toolu_1", "name": "save", "input": {"a": 1}},
    ]
    messages = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": content}]
    parts = ui_messages(folded(imported(messages, "anthropic")).view().turns)[-1]["parts"]
    for part in parts:
        check_part(part)
    found = {"state": "output-available", "output": [{"url": "https://example.org"}], "providerExecuted": True}
    assert parts == [
        {"type": "step-start"},
        thought("t1", "S1"),
        tool("web_search", "srvtoolu_1", {"query": "harbour"}, **found),
        thought("t2", "S2"),
        said("At six."),
        {
            "type": "source-url",
            "sourceId": "0:https://example.org/hours",
            "url": "https://example.org/hours",
            "title": "Hours",
        },
        tool("save", "toolu_1", {"a": 1}, state="input-available"),
    ]


def thought(text: str, signature: str) -> Json:
    signed = {"anthropic": {"signature": signature}}
    return {"type": "reasoning", "text": text, "state": "done", "providerMetadata": signed}
