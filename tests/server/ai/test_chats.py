"""`POST /ai/chat` and what belongs to it, as the transport of the AI SDK asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from tests.support.served import app_of, as_user, asked, served
from turnlog import Session, SessionLog, Tool
from turnlog.infrastructure.server.asking import Question
from turnlog.testing import Answer, Failure, FakeProvider, ToolCall

Json = dict[str, Any]


def ask_weather(city: str) -> str:
    """Looks the weather up."""
    return f"21 C in {city}"


@pytest.fixture
def provider() -> Any:
    with FakeProvider() as running:
        yield running


@pytest.fixture
async def chat(log: SessionLog, provider: FakeProvider) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a router that answers."""
    direct = DefaultAsyncHttpxClient(trust_env=False)
    async with AsyncOpenAI(base_url=provider.base_url, api_key="none", http_client=direct, max_retries=0) as client:

        def answer(session: Session, question: Question) -> object:
            tools = [Tool(ask_weather, needs_approval=True)] if question.body.get("asks") else []
            return session.answer(
                client, model="m", message=question.content, message_id=question.message_id, tools=tools
            )

        async with served(app_of(log, answer=answer)) as http:
            yield http


def said(text: str, message_id: str = "m-1", chat_id: str = "chat-1", **more: Any) -> Json:
    message = {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": chat_id, "messages": [message], "trigger": "submit-message", **more}


def chunks(text: str) -> list[Json]:
    blocks = [block.removeprefix("data: ") for block in text.split("\n\n") if block.startswith("data: ")]
    assert blocks[-1] == "[DONE]"
    return [json.loads(block) for block in blocks[:-1]]


def text_of(found: list[Json]) -> str:
    return "".join(chunk["delta"] for chunk in found if chunk["type"] == "text-delta")


async def test_a_chat_begins_a_session_and_is_answered(chat: httpx.AsyncClient, provider: FakeProvider) -> None:
    provider.add(Answer("Hello there"))
    answered = await chat.post("/ai/chat", json=said("Hi"))
    assert answered.headers["x-vercel-ai-ui-message-stream"] == "v1"
    found = chunks(answered.text)
    assert [found[0]["type"], found[1]["type"], found[-1]] == [
        "start",
        "start-step",
        {"type": "finish", "finishReason": "stop"},
    ]
    assert text_of(found) == "Hello there"
    kept = (await chat.get("/ai/chat/chat-1")).json()
    assert [message["role"] for message in kept["messages"]] == ["user", "assistant"]
    assert kept["messages"][1]["id"] == found[0]["messageId"]
    by_session = (await chat.get(f"/ai/chat/{kept['session_id']}")).json()
    assert by_session["messages"] == kept["messages"]
    assert (await chat.get("/ai/chat/chat-1/stream")).status_code == 204


async def test_whoever_comes_back_in_the_middle_has_the_answer_from_its_beginning(
    chat: httpx.AsyncClient, provider: FakeProvider
) -> None:
    provider.add(Answer("One two three four five six seven eight", delay=0.1))
    async with chat.stream("POST", "/ai/chat", json=said("Count.")) as first:
        async for line in first.aiter_lines():
            if "text-delta" in line:
                break
    resumed = await chat.get("/ai/chat/chat-1/stream")
    assert text_of(chunks(resumed.text)) == "One two three four five six seven eight"
    assert len(provider.requests) == 1


async def test_an_answer_is_stopped_for_all_who_follow_it(chat: httpx.AsyncClient, provider: FakeProvider) -> None:
    provider.add(Answer("A long answer. " * 40, delay=0.05))
    asking = asyncio.create_task(chat.post("/ai/chat", json=said("Go on and on.")))
    while (resumed := await chat.get("/ai/chat/chat-1", timeout=5)).json()["messages"][1:] == []:
        await asyncio.sleep(0.05)
    assert resumed.status_code == 200
    assert (await chat.post("/ai/chat/chat-1/stop")).json() == {"stopped": True}
    found = chunks((await asking).text)
    assert found[-2:] == [{"type": "abort", "reason": "stopped"}, {"type": "finish", "finishReason": "interrupted"}]
    assert (await chat.post("/ai/chat/chat-1/stop")).json() == {"stopped": False}


async def test_what_was_said_stays_and_what_has_failed_is_tried_again(
    chat: httpx.AsyncClient, provider: FakeProvider
) -> None:
    provider.add(Failure(404, message="no such model"), Answer("Here I am."))
    failed = chunks((await chat.post("/ai/chat", json=said("Hi"))).text)
    assert failed[-1]["type"] == "error"
    again = said("Hi", trigger="regenerate-message")
    assert text_of(chunks((await chat.post("/ai/chat", json=again)).text)) == "Here I am."
    for body in (again, said("Hello", messageId="m-1")):
        refused = await chat.post("/ai/chat", json=body)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:turnlog:problem:already-said")


@pytest.mark.parametrize("approved", [True, False])
async def test_a_call_is_decided_in_the_page_and_the_answer_goes_on(
    chat: httpx.AsyncClient, provider: FakeProvider, approved: bool
) -> None:
    provider.add(Answer(tool_calls=[ToolCall("ask_weather", {"city": "Paris"})]), Answer("Done."))
    found = chunks((await chat.post("/ai/chat", json=said("Weather?", asks=True))).text)
    (wanted,) = [chunk for chunk in found if chunk["type"] == "tool-approval-request"]
    assert found[-1]["type"] == "finish"
    assert (await chat.get("/ai/chat/chat-1/stream")).status_code == 204
    message = (await chat.get("/ai/chat/chat-1")).json()["messages"][-1]
    part = message["parts"][-1]
    assert (part["state"], part["approval"]) == ("approval-requested", {"id": wanted["approvalId"]})
    part |= {"state": "approval-responded", "approval": {**part["approval"], "approved": approved}}
    body = {"id": "chat-1", "messages": [message], "messageId": message["id"], "asks": True}
    went_on = chunks((await chat.post("/ai/chat", json=body)).text)
    assert went_on[0]["messageId"] == message["id"]
    wanted_end = "tool-output-available" if approved else "tool-output-denied"
    assert wanted_end in [chunk["type"] for chunk in went_on]
    assert text_of(went_on) == "Done."


async def test_without_an_answer_a_router_says_so_and_stores_nothing(log: SessionLog) -> None:
    async with asked(app_of(log)) as http:
        refused = await http.post("/ai/chat", json=said("Hi"))
        assert (refused.status_code, refused.json()["type"]) == (501, "urn:turnlog:problem:no-answer")
        assert (await http.get("/ai/chat/chat-1")).json() == {"id": "chat-1", "session_id": None, "messages": []}
        assert (await http.get("/ai/chat/chat-1/stream")).status_code == 204


async def test_the_same_chat_of_somebody_else_is_another_one(chat: httpx.AsyncClient, provider: FakeProvider) -> None:
    provider.add(Answer("Hello u1"))
    await chat.post("/ai/chat", json=said("Hi"))
    mine = (await chat.get("/ai/chat/chat-1")).json()
    for chat_id in ("chat-1", mine["session_id"]):
        theirs = await chat.get(f"/ai/chat/{chat_id}", headers=as_user("u2"))
        assert theirs.json()["messages"] == []
        assert (await chat.get(f"/ai/chat/{chat_id}/stream", headers=as_user("u2"))).status_code == 204
        assert (await chat.post(f"/ai/chat/{chat_id}/stop", headers=as_user("u2"))).json() == {"stopped": False}
