"""The chat of the tutorial, as a newcomer runs it: what the page says is tried."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any
from uuid import uuid4

import pytest

from tests.support.pages import ROOT, blocks
from tests.support.roles import AS_APPLICATION, as_application
from tests.support.web_servers import Sent, WebServer, until, variables
from turnlog import Settings
from turnlog.infrastructure.embedded import Servers
from turnlog.testing import Answer, Failure, FakeProvider, ToolCall

TUTORIAL = ROOT / "docs" / "tutorial.md"
(PROGRAM,) = [block for block in blocks(TUTORIAL, "python") if "FastAPI(" in block.code]
(PAGE,) = blocks(TUTORIAL, "html")
TOOL_STARTED = "tool_started"
TIDE = Answer(tool_calls=[ToolCall("get_tide", {"harbour": "Lisbon"})])


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="module")
def chat(servers: Servers, provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "chat.py").write_text(PROGRAM.code.replace("sleep(3)", "sleep(0.5)"), "utf-8")
    (folder / "chat.html").write_text(PAGE.code, "utf-8")
    settings = Settings(
        database_url=servers.database_url, redis_url=servers.redis_url, database_schema="tutorial", lease_seconds=1
    )
    given = variables(settings, provider) | {"TURNLOG_LEASE_SECONDS": "1"}
    command = [sys.executable, "-m", "uvicorn", "chat:app"]
    with as_application(settings) if AS_APPLICATION else nullcontext(), WebServer(command, given, folder) as running:
        yield running


@pytest.fixture
def path() -> str:
    """A chat of the test's own."""
    return f"/chats/{uuid4()}"


@pytest.fixture
def count(provider: FakeProvider) -> Callable[[], int]:
    """How many requests have been paid for in this test."""
    before = len(provider.requests)
    return lambda: len(provider.requests) - before


def say(chat: WebServer, path: str, message_id: str, text: str = "Hello") -> None:
    assert chat.client.put(f"{path}/{message_id}", json=text).status_code == 202


def told(events: Iterator[Sent]) -> tuple[str, str]:
    """How the turn came out, and all texts in it."""
    every = list(events)
    assert every[-1].kind == "end"
    return every[-1].data["status"], "".join(event.data["text"] for event in every if event.kind == "text")


def test_the_program_has_at_most_forty_lines() -> None:
    assert len(PROGRAM.code.splitlines()) <= 40


def test_a_second_message_a_retry_and_a_reload(chat: WebServer, path: str, provider: FakeProvider, count: Any) -> None:
    assert "EventSource" in chat.client.get("/").text
    provider.add(TIDE, Answer("It rises. Yes, tomorrow, too."))
    say(chat, path, "m-1")
    *_, tool_call = until(chat.events(path), "tool_call")
    say(chat, path, "m-2", "And tomorrow?")
    say(chat, path, "m-1")
    assert told(chat.events(path)) == ("finished", "It rises. Yes, tomorrow, too.")
    assert told(chat.events(path, tool_call.id)) == told(chat.events(path))
    say(chat, path, "m-2", "And tomorrow?")
    assert "And tomorrow?" in str(provider.requests[-1]["messages"])
    assert count() == 2


def test_stop(chat: WebServer, path: str, provider: FakeProvider, count: Any) -> None:
    provider.add(TIDE)
    say(chat, path, "m-1")
    events = chat.events(path)
    until(events, TOOL_STARTED)
    assert chat.post(f"{path}/stop").json() is True
    assert told(events)[0] == "stopped"
    assert count() == 1


def test_a_turn_that_has_failed_is_tried_again(chat: WebServer, path: str, provider: FakeProvider) -> None:
    provider.add(Failure(404, message="no such model"), Answer("Here I am."))
    say(chat, path, "m-1")
    assert told(chat.events(path))[0] == "failed"
    say(chat, path, "m-1")
    assert told(chat.events(path)) == ("finished", "Here I am.")


def test_a_kill_while_the_tool_runs(chat: WebServer, path: str, provider: FakeProvider, count: Any) -> None:
    provider.add(TIDE, Answer("I do not know whether it was done."))
    say(chat, path, "m-1")
    *_, seen = until(chat.events(path), TOOL_STARTED)
    chat.kill()
    chat.start()
    assert told(chat.events(path, seen.id)) == ("finished", "I do not know whether it was done.")
    assert "interrupted" in str(provider.requests[-1]["messages"])
    assert count() == 2
