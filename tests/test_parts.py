"""Content parts: each API gets what it takes, and a note or nothing in place of the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.anthropic_rules import check_anthropic_prompt
from tests.prompt_rules import check_chat_prompt
from tests.responses_rules import check_responses_prompt
from turnlog.domain.events import MessageAdded, SessionStarted
from turnlog.domain.foreign import ForeignMessage, read_foreign
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, build_prompt
from turnlog.projections.view import SessionView

ID = UUID(int=5)
AT = datetime(2026, 3, 1, tzinfo=UTC)
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}
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


def test_parts_have_only_the_fields_that_the_api_has_and_keep_the_mark_of_a_cached_prefix() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    given = {"type": "text", "text": "x", "annotations": [], **mark}
    assert sent("chat", "user", given) == [{"type": "text", "text": "x", **mark}]
    assert {"type": "text", "text": "x", **mark} in sent("anthropic", "user", given)


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


def test_a_json_column_that_no_event_could_hold_is_a_flaw_and_not_an_error() -> None:
    for column in ("[" * 400 + "]" * 400, "[NaN]", '[{"a": 1e999}]', "[" * 100_000, '["\\ud800": 1]'):
        reading = read_foreign("rows", {"role": "assistant", "content": "x", "toolCalls": column})
        assert [flaw.kind for flaw in reading.flaws] == ["bad_field"]
        assert isinstance(reading.items[0], ForeignMessage)
        assert reading.items[0].content == "x"


def test_an_image_where_no_api_takes_one_is_a_fault() -> None:
    for role in ("assistant", "system"):
        flaws = read_foreign("chat", {"role": role, "content": [{"type": "text", "text": "x"}, IMAGE]}).flaws
        assert [flaw.kind for flaw in flaws] == ["bad_content_block"]
    tool = {"role": "tool", "tool_call_id": "c1", "content": [IMAGE]}
    assert [flaw.kind for flaw in read_foreign("chat", tool).flaws] == ["bad_content_block"]
    block = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "image", "source": {"type": "url"}}]}
    assert read_foreign("anthropic", {"role": "user", "content": [block]}).flaws != ()
    block["content"] = [{"type": "image", "source": {"type": "url", "url": "https://x"}}]
    assert read_foreign("anthropic", {"role": "user", "content": [block]}).flaws == ()
