"""The chat on the router, as `make serve` starts it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tests.support.pages import ROOT
from tests.support.roles import AS_APPLICATION, as_application
from tests.support.served import as_user, lines
from tests.support.web_servers import WebServer, variables
from turnlog import Settings
from turnlog.infrastructure.embedded import Servers
from turnlog.testing import Answer, FakeProvider

TOKEN = "printed"


@pytest.fixture(scope="module")
def chat(servers: Servers) -> Iterator[WebServer]:
    """The server of the example."""
    settings = Settings(database_url=servers.database_url, redis_url=servers.redis_url, database_schema="serve_example")
    with FakeProvider([Answer("It is 21 C.")]) as provider:
        given = variables(settings, provider) | {"CHAT_TOKEN": TOKEN, "CHAT_DEMO": "no"}
        command = [sys.executable, str(ROOT / "examples" / "serve_chat.py")]
        with as_application(settings) if AS_APPLICATION else nullcontext(), WebServer(command, given) as running:
            yield running


def test_a_page_asks_by_the_route_of_the_application_and_follows_by_the_router(chat: WebServer) -> None:
    assert 'from "/turnlog.js"' in chat.client.get("/").text
    assert chat.client.get("/turnlog.js").status_code == 200
    assert chat.client.get("/sessions").status_code == 401
    chat.client.headers.update(as_user(TOKEN))
    session = chat.post("/sessions").json()["session_id"]
    question = {"text": "The weather?", "message_id": "m-1"}
    for _ in range(2):  # the retry is the same turn
        assert chat.post(f"/chat/{session}", question).status_code == 202
    accept = {"accept": "application/x-ndjson"}
    told = lines(chat.client.get(f"/sessions/{session}/deltas", headers=accept).text)
    assert (told[-1]["kind"], told[-1]["status"]) == ("end", "finished")
    assert "".join(one["text"] for one in told if one["kind"] == "text") == "It is 21 C."
    assert chat.post("/chat/00000000-0000-4000-8000-000000000001", question).status_code == 404
    assert json.loads(chat.client.get("/openapi.json").text)["paths"]["/chat/{session_id}"]
