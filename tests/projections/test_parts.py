"""Content parts: each API gets what it takes, and a note or nothing in place of the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.support.anthropic_rules import check_anthropic_prompt
from tests.support.foreign_messages import IMAGE
from tests.support.histories import folded, imported
from tests.support.prompt_rules import check_chat_prompt
from tests.support.responses_rules import check_responses_prompt
from turnlog.domain.events import MessageAdded, SessionStarted
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.placeholders import NO_RESULT, is_placeholder
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, build_prompt
from turnlog.projections.view import SessionView

ID = UUID(int=5)
AT = datetime(2026, 3, 1, tzinfo=UTC)
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
PDF = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "y.pdf"}}
LINK = {"type": "file", "file": {"file_url": "https://x/y.pdf"}}


NOTES = {
    "image": {"type": "text", "text": "(image left out: this API does not take it)"},
    "audio": {"type": "text", "text": "(audio left out: this API does not take it)"},
    "file": {"type": "text", "text": "(file left out: this API does not take it)"},
}


def view_of(role: Any, *parts: dict[str, Any]) -> SessionView:
    events = [
        SessionStarted(at=AT, user_id="u1"),
        MessageAdded(at=AT, message_id="a", role="user", content="hi"),
        MessageAdded(at=AT, message_id="b", role=role, content=parts),
        MessageAdded(at=AT, message_id="c", role="user", content="so?"),
    ]
    recorded = [RecordedEvent(ID, position, position, event) for position, event in enumerate(events, start=1)]
    view = Projector(ID).apply_all(recorded).view()
    check_chat_prompt(build_prompt(view.turns))
    check_anthropic_prompt(build_prompt(view.turns, "anthropic"))
    check_responses_prompt(build_prompt(view.turns, "responses"))
    return view


def sent(api: Api, role: str, *parts: dict[str, Any]) -> Any:
    prompt = build_prompt(view_of(role, *parts).turns, api)
    messages = prompt["messages"] if api == "anthropic" else prompt
    return [part for message in messages if isinstance(message["content"], list) for part in message["content"]]


def test_a_users_parts_pass_where_the_api_has_them_and_leave_a_note_where_not() -> None:
    assert sent("chat", "user", IMAGE, AUDIO, PDF, LINK) == [IMAGE, AUDIO, PDF, NOTES["file"]]
    source = {"type": "base64", "media_type": "application/pdf", "data": "AA"}
    assert sent("anthropic", "user", IMAGE, AUDIO, PDF, LINK)[1:-1] == [
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        NOTES["audio"],
        {"type": "document", "source": source, "title": "y.pdf"},
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
    ]
    assert sent("responses", "user", IMAGE, AUDIO, LINK) == [
        {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
        {**NOTES["audio"], "type": "input_text"},
        {"type": "input_file", "file_url": "https://x/y.pdf"},
    ]


@pytest.mark.parametrize("api", ["chat", "anthropic", "responses"])
def test_nothing_stands_in_place_of_what_an_assistant_cannot_have_said(api: Api) -> None:
    assert "left out" not in str(sent(api, "assistant", {"type": "text", "text": "Look:"}, IMAGE, AUDIO))
    turns = view_of("assistant", IMAGE).turns
    prompt = build_prompt(turns, api)
    assert len(prompt["messages"] if api == "anthropic" else prompt) == (1 if api == "anthropic" else 2)


def test_parts_have_the_fields_of_the_api_and_the_mark_of_a_cached_prefix() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    given = {"type": "text", "text": "x", "annotations": [], **mark}
    assert sent("chat", "user", given) == [{"type": "text", "text": "x", **mark}]
    assert {"type": "text", "text": "x", **mark} in sent("anthropic", "user", given)


def blocks(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages of Anthropic's prompt, which its rules take."""
    prompt = build_prompt(folded(imported(messages, "anthropic")).turns(), "anthropic")
    check_anthropic_prompt(prompt)
    return list(prompt["messages"])


def answered(*content: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [*content], **fields}]},
    ]


def test_there_is_no_mark_of_a_cached_prefix_in_a_result() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    result = blocks(answered({"type": "text", "text": "x", **mark}))[-1]["content"][0]
    assert result["content"] == [{"type": "text", "text": "x"}]


def test_of_many_marks_the_first_four_stay_so_that_what_was_sent_stays() -> None:
    text = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    turns = [{"role": role, "content": [text]} for _ in range(4) for role in ("user", "assistant")]
    sent = blocks(turns)
    assert ["cache_control" in message["content"][0] for message in sent] == [True] * 4 + [False] * 4
    assert sent[:6] == blocks(turns[:6])


def test_a_picture_of_an_error_stands_after_the_results() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "AA"}
    picture, text = {"type": "image", "source": source}, {"type": "text", "text": "failed"}
    content = blocks(answered(text, picture, is_error=True))[-1]["content"]
    assert content == [
        {"type": "tool_result", "tool_use_id": "t1", "content": [text], "is_error": True},
        picture,
    ]
    assert blocks(answered(text, picture))[-1]["content"][0]["content"] == [text, picture]


def test_a_call_of_a_custom_tool_is_a_call_with_a_text_as_its_input() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "files"},
    ]
    view = folded(imported(messages)).view()
    prompt = build_prompt(view.turns)
    check_chat_prompt(prompt)
    assert prompt[1]["tool_calls"][0]["function"] == {"name": "shell", "arguments": '{"input":"ls"}'}
    assert (prompt[2]["content"], view.faults) == ("files", ())


@pytest.mark.parametrize("api", ["chat", "anthropic", "responses"])
@pytest.mark.parametrize(
    ("format_", "part"),
    [
        ("anthropic", {"type": "image", "source": {"type": "file"}}),
        ("responses", {"type": "input_image", "detail": "auto"}),
        ("chat", {"type": "image_url", "image_url": {}}),
    ],
)
def test_an_image_that_cannot_be_read_leaves_a_note(api: Api, format_: Any, part: dict[str, Any]) -> None:
    view = folded(imported([{"role": "user", "content": [part]}], format_)).view()
    assert NOTES["image"]["text"] in str(build_prompt(view.turns, api))
    assert [fault.kind for fault in view.faults] == ["bad_content_block"]


@pytest.mark.parametrize(
    ("api", "part"),
    [
        ("anthropic", {"type": "image", "source": {"type": "file", "file_id": "f1"}}),
        ("responses", {"type": "input_image", "file_id": "f1", "detail": "low"}),
    ],
)
def test_an_uploaded_image_goes_back_to_its_own_api_only(api: Api, part: dict[str, Any]) -> None:
    view = folded(imported([{"role": "user", "content": [part]}], api)).view()
    for other in ("chat", "anthropic", "responses"):
        assert (str(part) in str(build_prompt(view.turns, other))) == (other == api)  # type: ignore[call-overload]
        assert (NOTES["image"]["text"] in str(build_prompt(view.turns, other))) == (other != api)  # type: ignore[call-overload]
    assert view.faults == ()


def test_an_assistant_that_said_but_an_image_that_cannot_be_read_said_nothing() -> None:
    image = {"type": "image", "source": {"type": "file"}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [image]}]
    view = folded(imported(messages, "anthropic")).view()
    assert [fault.kind for fault in view.faults] == ["bad_content_block", "empty_message"]


def test_audio_that_the_api_does_not_take_is_sent_as_a_text() -> None:
    ogg = {"type": "input_audio", "input_audio": {"data": "AA", "format": "ogg"}}
    assert sent("chat", "user", ogg, {"type": "input_text", "text": "x"}) == [
        NOTES["audio"],
        {"type": "text", "text": "x"},
    ]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Order 17 was cancelled, refund 40 EUR.", False),
        ("Cancelled order 17", False),
        ("no results found", False),
        ("[Request interrupted by user for tool use]", True),
        ("Error: tool call was not executed", True),
        ("cancelled by user", True),
        ("[Cancelled]", True),
        (NO_RESULT, True),
    ],
)
def test_a_text_in_place_of_a_result_says_so_of_the_call(text: str, is_one: bool) -> None:
    assert is_placeholder(text) is is_one


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": 1},
        {"type": "image_url", "image_url": {}},
        {"type": "input_audio", "input_audio": None},
        {"type": "file", "file": {}},
        {"type": "video"},
    ],
)
def test_a_part_that_does_not_hold_what_its_type_says_is_not_sent(part: dict[str, Any]) -> None:
    assert all(api_part.get("type") == "text" for api_part in sent("chat", "user", {"type": "text", "text": "x"}, part))


def test_an_image_of_a_kind_that_anthropic_does_not_take_leaves_a_note() -> None:
    drawing = {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,AA"}}
    assert sent("anthropic", "user", drawing)[1] == NOTES["image"]


def test_a_text_keeps_its_citations_for_anthropic() -> None:
    given = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
    assert given in sent("anthropic", "user", given)


FOUND = {
    "type": "search_result",
    "source": "https://kb/1",
    "title": "Hours",
    "content": [{"type": "text", "text": "The harbour opens at 6."}],
    "citations": {"enabled": True},
}
WRITTEN = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "Tickets are 4 EUR."},
    "title": "Prices",
    "context": "of 2026",
    "citations": {"enabled": True},
}
IN_BLOCKS = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "Bring a coat."}]}}
CITED_PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"},
    "citations": {"enabled": True},
}
OWN = {"opens at 6": FOUND, "4 EUR": WRITTEN, "Bring a coat.": IN_BLOCKS}


@pytest.mark.parametrize("said", OWN)
def test_what_only_anthropic_has_goes_back_to_it_unchanged_and_elsewhere_is_its_text(said: str) -> None:
    block = OWN[said]
    messages = answered(block)
    assert blocks(messages)[-1]["content"][0]["content"] == [block]
    turns = folded(imported(messages, "anthropic")).turns()
    for prompt in (build_prompt(turns), build_prompt(turns, "responses")):
        assert said in str(prompt)
        assert "left out" not in str(prompt)
    assert block in sent("anthropic", "user", block)
    assert said in str(sent("chat", "system", block))


def test_a_document_with_citations_is_a_file_elsewhere() -> None:
    assert CITED_PDF in sent("anthropic", "user", CITED_PDF)
    assert sent("chat", "user", CITED_PDF) == [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "document"}}
    ]


@pytest.mark.parametrize(
    "part",
    [
        {**FOUND, "content": []},
        {**FOUND, "source": 5},
        {"type": "document", "source": {"type": "text", "data": " "}},
        {"type": "document", "source": {"type": "content", "content": [5]}},
    ],
)
def test_a_document_that_says_nothing_leaves_a_note(part: dict[str, Any]) -> None:
    assert "left out" in str(sent("anthropic", "user", part))
