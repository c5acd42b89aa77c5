"""The servers and a provider, where a program of a page, or an example, looks for its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from turnlog import Settings
from turnlog.infrastructure.testing import Provider, own_corpus

_CALL = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city": "Lisbon"}'}}


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Iterator[Provider]:
    """Calls get_weather where it is a tool and has not answered yet, a long-running tool for gpt-4o, and else says
    when the ferry leaves. The parameter is how many seconds a chunk takes."""
    corpus = {stream.name: stream for stream in own_corpus()}
    text, report = corpus["plain-text"], corpus["text-and-long-running-call"]
    call = replace(text, name="call", chunks=tuple(_chunks({"tool_calls": [_CALL]}, "tool_calls")), delays_ms=None)
    with Provider(
        [replace(text, name="text", delays_ms=None), replace(report, name="gpt-4o"), call],
        pace=getattr(request, "param", 0),
    ) as running:
        answer = running._playbook.answer  # its own choice is by the name of the model alone

        def choose(body: dict[str, Any]) -> Any:
            wants_call = body.get("tools") and body["messages"][-1]["role"] != "tool"
            return answer(
                {**body, "model": "gpt-4o" if body["model"] == "gpt-4o" else "call" if wants_call else "text"}
            )

        running._playbook.answer = choose  # type: ignore[method-assign]
        yield running


def _chunks(delta: dict[str, Any], finish_reason: str) -> Iterator[bytes]:
    for part, reason in ((delta, None), ({}, finish_reason)):
        choice = {"index": 0, "delta": part, "finish_reason": reason}
        yield json.dumps({"id": "1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}).encode()


@pytest.fixture
def environment(settings: Settings, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that a reader's program reads."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url or "")
    monkeypatch.setenv("REDIS_URL", settings.redis_url or "")
    monkeypatch.setenv("TURNLOG_DATABASE_SCHEMA", settings.database_schema)
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
