"""The chat of the examples, on real servers and with processes that are stopped and killed."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from tests.support.pages import ROOT
from tests.support.roles import AS_APPLICATION, as_application
from tests.support.web_servers import Sent, WebServer, until, variables
from turnlog import Settings
from turnlog.infrastructure.embedded import Servers
from turnlog.testing import Answer, FakeProvider, ToolCall

Asked = Callable[[], list[dict[str, Any]]]
TOOL_STARTED = "tool_started"
WEATHER = Answer(tool_calls=[ToolCall("get_weather", {"city": "Lisbon"})])


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="module")
def chat(servers: Servers, provider: FakeProvider) -> Iterator[WebServer]:
    """One server for the tests of this file: it takes seconds to start."""
    settings = Settings(
        database_url=servers.database_url, redis_url=servers.redis_url, database_schema="chat_example", lease_seconds=1
    )
    command = [sys.executable, str(ROOT / "examples" / "fastapi_chat.py")]
    given = variables(settings, provider) | {"WEATHER_SECONDS": "0.5", "TURNLOG_LEASE_SECONDS": "1"}
    with as_application(settings) if AS_APPLICATION else nullcontext(), WebServer(command, given) as running:
        yield running


@pytest.fixture
def session(chat: WebServer, session: str) -> str:
    """The path of a new session."""
    return f"/sessions/{chat.post('/sessions').json()['session_id']}"


@pytest.fixture
def asked(provider: FakeProvider) -> Asked:
    """The requests to the provider in this test."""
    before = len(provider.requests)
    return lambda: [dict(request) for request in provider.requests[before:]]


def say(chat: WebServer, session: str, text: str, message_id: str, **more: str) -> bool:
    """Whether the message was new."""
    answered = chat.post(f"{session}/messages", {"text": text, "message_id": message_id, **more})
    assert answered.status_code == 202
    is_new: bool = answered.json()["is_new"]
    return is_new


def told(chat: WebServer, session: str, last_event_id: str = "") -> list[Sent]:
    """A stream, which ends by itself, with the end of the turn."""
    every = list(chat.events(f"{session}/events", last_event_id))
    assert every[-1].kind == "end"
    return every


def text_of(events: list[Sent]) -> str:
    return "".join(event.data["text"] for event in events if event.kind == "text")


def test_a_turn_with_a_tool_is_answered_and_a_browser_that_comes_back_misses_nothing(
    chat: WebServer, session: str
) -> None:
    assert "EventSource" in chat.client.get("/").text
    assert say(chat, session, "What is the weather?", "m-1")

    every = told(chat, session)
    assert text_of(every) == "The tools say: 21 C and clear in Lisbon"
    assert [event.data["position"] for event in every[:-1]] == list(range(1, len(every)))
    assert {"message", "step_started", "tool_call", "tool_result", "text", "step_ended"} <= {e.kind for e in every}
    assert every[-1].data == {"turn_id": "m-1", "status": "finished", "reason": ""}
    assert told(chat, session, every[4].id) == every[5:]
    assert told(chat, session, every[-1].id) == every[-1:]


def test_what_is_not_there_is_said_before_a_stream_begins(chat: WebServer, session: str) -> None:
    missing = "/sessions/00000000-0000-0000-0000-000000000001"
    assert chat.client.get(f"{missing}/events").status_code == 404
    assert chat.post(f"{missing}/stop").status_code == 404
    assert chat.post(f"{missing}/messages", {"text": "?", "message_id": "m"}).status_code == 404
    assert chat.client.get(f"{session}/events", headers={"last-event-id": "1-abc"}).status_code == 410
    assert chat.client.get(f"{session}/events", headers={"last-event-id": "?"}).status_code == 422
    assert chat.post(f"{session}/stop").json() == {"stopped": False}


def test_a_retry_is_the_same_turn_and_is_paid_for_once(chat: WebServer, session: str, asked: Asked) -> None:
    assert [say(chat, session, "What is the weather?", "m-1") for _ in range(3)] == [True, False, False]
    every = told(chat, session)
    assert not say(chat, session, "What is the weather?", "m-1")
    assert told(chat, session) == every
    assert len(asked()) == 2  # the call, and the answer after it


@pytest.mark.parametrize("on_busy", ["steer", "queue"])
def test_a_second_message_is_answered_too(
    chat: WebServer, session: str, provider: FakeProvider, asked: Asked, on_busy: str
) -> None:
    answers = [WEATHER, Answer("Clear."), Answer("The second.")]
    provider.add(*answers[: 2 if on_busy == "steer" else 3])
    say(chat, session, "What is the weather?", "m-1")
    until(chat.events(f"{session}/events"), TOOL_STARTED)
    say(chat, session, "And tomorrow?", "m-2", on_busy=on_busy)

    every = told(chat, session)
    texts = {"steer": "Clear.", "queue": "Clear.The second."}
    assert (text_of(every), every[-1].data["status"]) == (texts[on_busy], "finished")
    assert "And tomorrow?" in str(asked()[1 if on_busy == "steer" else 2]["messages"])


@pytest.mark.parametrize("at", ["text", TOOL_STARTED])
def test_stop_ends_the_turn_while_the_model_speaks_and_while_its_tool_runs(
    chat: WebServer, session: str, provider: FakeProvider, asked: Asked, at: str
) -> None:
    provider.add(Answer("A long answer. " * 50, delay=0.1) if at == "text" else WEATHER)
    say(chat, session, "Tell me everything.", "m-1")
    events = chat.events(f"{session}/events")
    until(events, at)
    assert chat.post(f"{session}/stop").json() == {"stopped": True}
    last = list(events)[-1]
    assert (last.kind, last.data["status"], last.data["reason"]) == ("end", "stopped", "the user pressed stop")
    assert len(asked()) == 1


def test_a_server_that_is_told_to_stop_ends_in_mid_answer_and_the_next_one_goes_on(
    chat: WebServer, session: str, provider: FakeProvider, asked: Asked
) -> None:
    provider.add(WEATHER, Answer("One two three four five", delay=0.2), Answer("The whole answer."))
    say(chat, session, "What is the weather?", "m-1")
    events = chat.events(f"{session}/events")
    seen = until(events, "text")
    began = time.monotonic()
    assert "Traceback" not in chat.stop(signal.SIGTERM)
    assert time.monotonic() - began < 5
    assert [event for event in events if event.kind == "end"] == []  # so a browser comes back

    chat.start()
    rest = told(chat, session, seen[-1].id)
    assert (rest[-1].data["status"], text_of(rest).endswith("The whole answer.")) == ("finished", True)
    assert len(asked()) == 3


def test_a_server_that_is_killed_while_a_tool_runs_is_gone_on_from_by_the_next(
    chat: WebServer, session: str, asked: Asked
) -> None:
    say(chat, session, "What is the weather?", "m-1")
    seen = until(chat.events(f"{session}/events"), TOOL_STARTED)
    chat.kill()
    chat.start()
    assert not say(chat, session, "What is the weather?", "m-1")
    every = told(chat, session, seen[-1].id)
    assert text_of(every) == "The tools say: 21 C and clear in Lisbon"
    assert ([event.kind for event in every].count("step_started"), len(asked())) == (1, 2)


def test_a_call_that_needs_a_decision_runs_once_it_is_allowed_and_not_if_it_is_refused(
    chat: WebServer, session: str, provider: FakeProvider, asked: Asked
) -> None:
    for number, (approved, said) in enumerate(((True, "a red umbrella is on its way"), (False, "refused"))):
        provider.add(Answer(tool_calls=[ToolCall("buy_umbrella", {"colour": "red"})]), Answer("So be it."))
        say(chat, session, "An umbrella!", f"m-{number}")
        events = chat.events(f"{session}/events")
        requests = list(upto(events, "approval_requested", number + 1))
        call = {name: requests[-1].data[name] for name in ("step_id", "call_id")}
        decided = chat.post(f"{session}/decisions", {**call, "approved": approved})
        assert (decided.status_code, decided.json()) == (202, {"approved": approved})
        (result,) = [event.data for event in told(chat, session, requests[-1].id) if event.kind == "tool_result"]
        assert said in result["content"]
        again = chat.post(f"{session}/decisions", {**call, "approved": not approved})
        assert again.status_code == 409
    assert len(asked()) == 4


def upto(events: Iterator[Sent], kind: str, count: int) -> Iterator[Sent]:
    """The events up to the one that is this many of its kind."""
    for event in events:
        yield event
        count -= event.kind == kind
        if not count:
            return
