"""Content parts as APIs, MCP and libraries have them: each gets the form that prompts are made from, or is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.inputs import nothing_stored, refused
from tests.support.sessions import call_tools
from turnlog import Session, SessionLog

PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
WAV = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
PDF = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}}

READ: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "image", "data": "iVBO", "mimeType": "image/png", "annotations": {"priority": 1}}, PNG),
    ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}, PNG),
    ({"type": "image", "source_type": "base64", "data": "iVBO", "mime_type": "image/png"}, PNG),
    ({"type": "image", "image": "data:image/png;base64,iVBO"}, PNG),
    ({"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,iVBO"}, PNG),
    ({"type": "input_image", "image_url": "data:image/png;base64,iVBO"}, PNG),
    ({"type": "audio", "data": "UklG", "mimeType": "audio/x-wav"}, WAV),
    ({"type": "file", "mediaType": "application/pdf", "data": "JVBE", "filename": "a.pdf"}, PDF),
    ({"type": "resource", "resource": {"uri": "s3://b/a.pdf", "blob": "JVBE", "mimeType": "application/pdf"}}, PDF),
    ({"type": "resource", "resource": {"uri": "file:///a.png", "blob": "iVBO", "mimeType": "image/png"}}, PNG),
    (
        {"type": "resource", "resource": {"uri": "file:///a.md", "text": "Opens at six.", "mimeType": "text/markdown"}},
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "Opens at six."},
            "title": "file:///a.md",
        },
    ),
    (
        {"type": "resource_link", "uri": "https://x/a.csv", "name": "a.csv", "description": "All rows."},
        {"type": "text", "text": "a.csv: https://x/a.csv\nAll rows."},
    ),
    (PNG, PNG),
    ({"type": "poll", "options": [1]}, {"type": "poll", "options": [1]}),
]

EMPTY: list[dict[str, Any]] = [
    {"type": "image"},
    {"type": "image", "data": "", "mimeType": "image/png"},
    {"type": "image", "source": {"type": "base64"}},
    {"type": "image_url", "image_url": {}},
    {"type": "audio", "mimeType": "audio/wav"},
    {"type": "resource", "resource": {"uri": "file:///a.md"}},
    {"type": "resource_link", "name": "a"},
    {"type": "search_result", "content": []},
    {"type": "document", "source": {"type": "text", "data": ""}},
    {"type": "file", "file": {}},
]


@pytest.mark.parametrize(("given", "stored"), READ)
async def test_a_part_of_any_api_is_stored_in_the_form_that_prompts_are_made_from(
    session: Session, given: dict[str, Any], stored: dict[str, Any]
) -> None:
    await session.say([given])
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", [given])
    view = await session.view()
    assert view.turns[0].messages[0].content == (stored,)
    assert view.turns[0].steps[0].tool_results[0].content == (stored,)


@pytest.mark.parametrize("given", [given for given, _ in READ if given["type"] != "poll"])
async def test_what_a_tool_shows_reaches_the_model(session: Session, given: dict[str, Any]) -> None:
    await session.say("go")
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", [given])
    sent = json.dumps(await session.prompt("responses")) + json.dumps(await session.prompt("anthropic"))
    assert any(held in sent for held in ("iVBO", "UklG", "JVBE", "Opens at six.", "All rows.")) or "audio" in sent


@pytest.mark.parametrize("given", EMPTY)
async def test_a_part_without_what_its_type_says_is_refused(
    log: SessionLog, session: Session, given: dict[str, Any]
) -> None:
    await call_tools(session, "call-1")
    async with nothing_stored(log):
        with refused("content[1]"):
            await session.say([{"type": "text", "text": "look"}, given])
        with refused("content[0]"):
            await session.add_tool_result("call-1", [given])
