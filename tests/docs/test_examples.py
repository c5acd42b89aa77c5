"""Each example is run as a reader would run it, against real servers and the fake provider."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.pages import ROOT
from turnlog import SYSTEM, SessionLog
from turnlog.testing import FakeProvider


def run_example(name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_tool_loop_asks_again_after_its_tools(environment: None, provider: FakeProvider) -> None:
    printed = run_example("tool_loop.py", "What is the weather in Lisbon?")

    assert "The tools say: 21 C and clear in Lisbon" in printed
    first, second = provider.requests
    assert [message["role"] for message in first["messages"]] == ["user"]
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]
    assert second["messages"][-1]["content"] == "21 C and clear in Lisbon"


def test_the_projection_counts_and_can_be_rebuilt(environment: None) -> None:
    assert run_example("own_projection.py").splitlines()[-1].endswith("  2")

    rebuild = [sys.executable, "-m", "turnlog", "rebuild", "examples.own_projection:Questions"]
    done = subprocess.run(rebuild, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def chat(environment: None) -> Iterator[httpx.Client]:
    """The server of the chat, and a client of it. It ends at Ctrl-C, without a word of complaint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "examples" / "fastapi_chat.py")]
    served = subprocess.Popen(command, env={**os.environ, "PORT": str(port)}, stderr=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for(client)
            yield client
        served.send_signal(signal.SIGINT)
        _, said = served.communicate(timeout=30)
        assert "Traceback" not in said
    finally:
        served.kill()
        served.communicate()


def wait_for(client: httpx.Client) -> None:
    for _ in range(300):
        try:
            client.get("/")
        except httpx.ConnectError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the server of the example does not answer")


def events(client: httpx.Client, session_id: str, last_event_id: str | None = None) -> list[tuple[str, str]]:
    """The id and the type of each event, up to the end of the answer."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    found, position = list[tuple[str, str]](), ""
    with client.stream("GET", f"/sessions/{session_id}/events", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            position = value if field == "id" else position
            if field == "event":
                found.append((position, value))
                if value == "step_ended":
                    break
    return found


def test_the_chat_answers_and_a_browser_that_comes_back_misses_nothing(chat: httpx.Client) -> None:
    assert "EventSource" in chat.get("/").text
    session_id = chat.post("/sessions").json()["session_id"]
    question = {"text": "When does the ferry leave?", "message_id": "m-1"}
    assert chat.post(f"/sessions/{session_id}/messages", json=question).status_code == 202

    every = events(chat, session_id)
    assert [position for position, _ in every] == [str(number + 1) for number in range(len(every))]
    assert [kind for _, kind in every[:4]] == ["changed", "message", "step_started", "text"]
    assert every[-1][1] == "step_ended"
    assert events(chat, session_id, last_event_id="5") == every[5:]


def test_the_chat_says_not_found_for_what_is_not_there(chat: httpx.Client) -> None:
    missing = "00000000-0000-0000-0000-000000000001"
    assert chat.get(f"/sessions/{missing}/events").status_code == 404
    assert chat.post(f"/sessions/{missing}/stop").status_code == 404


@pytest.mark.parametrize("provider", [0.5], indirect=True)
def test_the_stop_button_ends_the_answer_and_a_second_one_at_once_is_refused(chat: httpx.Client) -> None:
    session_id = chat.post("/sessions").json()["session_id"]
    for number, status in enumerate([202, 409]):
        question = {"text": "And then?", "message_id": f"m-{number}"}
        assert chat.post(f"/sessions/{session_id}/messages", json=question).status_code == status

    assert chat.post(f"/sessions/{session_id}/stop").json() == {"stopped": True}
    step = asyncio.run(last_step_status(session_id))
    assert step == ("interrupted", "the user pressed stop")


async def last_step_status(session_id: str) -> tuple[str, str | None]:
    async with SessionLog.open() as log:
        view = await (await log.session(session_id, SYSTEM)).view()
        (step,) = [step for turn in view.turns for step in turn.steps]
        return step.status, step.note
