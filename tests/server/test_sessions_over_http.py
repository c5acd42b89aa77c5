"""All that a session can do, over HTTP: it is what the same calls do in Python."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.support.served import AS_SYSTEM, app_of, asked, lines
from turnlog import SYSTEM, Session, SessionLog, SessionView

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def ndjson(*chunks: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in chunks)


LINES = {"content-type": "application/x-ndjson"}


async def test_a_conversation_is_held_over_http_alone(log: SessionLog, http: httpx.AsyncClient) -> None:
    started = await http.post("/sessions", json={"title": "Weather", "metadata": {"a": 1, "b": 2}})
    assert started.status_code == 201
    at = f"/sessions/{started.json()['session_id']}"
    assert (await http.post(f"{at}/messages", json={"role": "system", "content": "Be brief."})).status_code == 201
    said = await http.post(f"{at}/messages", json={"content": "Weather?", "message_id": "m-1"})
    assert (said.status_code, said.json()) == (201, {"message_id": "m-1", "is_new": True})

    prompt = (await http.get(f"{at}/prompt")).json()
    assert [message["role"] for message in prompt] == ["system", "user"]
    call = {"index": 0, **CALL}
    body = ndjson(chunk({"role": "assistant", "tool_calls": [call]}), chunk({}, "tool_calls"))
    acks = lines((await http.post(f"{at}/record?model=m", content=body, headers=LINES)).text)
    assert acks[:2] == [{"chunk": 1}, {"chunk": 2}]
    assert (acks[2]["status"], acks[2]["chunks"]) == ("finished", 2)

    assert [one["id"] for one in (await http.get(f"{at}/tool-calls")).json()["pending"]] == ["call_1"]
    result = {"call_id": "call_1", "content": "21 C", "step_id": acks[2]["step_id"]}
    assert (await http.post(f"{at}/tool-results", json=result)).status_code == 204
    assert (await http.post(f"{at}/tool-results", json=result)).status_code == 204
    other = await http.post(f"{at}/tool-results", json={**result, "content": "22 C"})
    assert (other.status_code, other.json()["call_id"]) == (409, "call_1")

    whole = {"role": "assistant", "content": "It is 21 C."}
    answer = {"id": "c-2", "object": "chat.completion", "created": 1, "model": "m"}
    answer["choices"] = [{"index": 0, "finish_reason": "stop", "message": whole}]
    assert (await http.post(f"{at}/record/whole", json={"response": answer})).status_code == 201

    found = (await http.get(at)).json()
    session = log.session(found["session_id"], "u1")
    assert SessionView.model_validate(found) == await session.view()
    assert (await http.get(f"{at}/messages")).json()["messages"][-1] == whole
    assert (await http.get(f"{at}/prompt?api=anthropic")).json() == await session.prompt("anthropic")
    assert (await http.get(f"{at}/prompt?max_tokens=1")).json()["type"].endswith("prompt-too-long")


async def test_what_is_set_and_counted_is_in_the_view(session: Session, http: httpx.AsyncClient, at: str) -> None:
    assert (await http.put(f"{at}/title", json={"title": "One"})).status_code == 204
    await http.put(f"{at}/title", json={"title": "Two", "only_if_empty": True})
    await http.patch(f"{at}/metadata", json={"a": {"b": 1, "c": None}, "d": [1]})
    await http.patch(f"{at}/metadata", json={"d": None})
    await http.post(f"{at}/counters", json={"counter": "feedback", "key": "up", "by": 2})
    await http.post(f"{at}/usage", json={"usage": {"prompt_tokens": 5}, "model": "m"})
    view = await session.view()
    assert (view.title, view.metadata, view.counters) == ("One", {"a": {"b": 1}}, {"feedback": {"up": 2}})
    assert view.usage.prompt_tokens == 5
    rows = (await http.get("/usage", params={"by": ["user", "model"]})).json()
    assert [(row["user_id"], row["model"], row["prompt_tokens"]) for row in rows["rows"]] == [("u1", "m", 5)]


async def test_a_key_names_a_request_for_ever(
    log: SessionLog, other_log: SessionLog, http: httpx.AsyncClient, at: str, session: Session
) -> None:
    async with asked(app_of(other_log)) as elsewhere, asked(app_of(log), "u2") as somebody:
        key = {"idempotency-key": "k-1"}
        for path, body, once in (
            ("/sessions", {"title": "T"}, "session_id"),
            (f"{at}/fork", {}, "session_id"),
            ("/import", {"messages": [{"role": "user", "content": "Hello"}]}, "session_id"),
            (f"{at}/messages", {"content": "Hello"}, "message_id"),
        ):
            clients = (http, elsewhere, http)
            made = await asyncio.gather(*(one.post(path, json=body, headers=key) for one in clients))
            assert len({one.json()[once] for one in made}) == 1, path
        for path, body in (
            (f"{at}/counters", {"counter": "c", "key": "k"}),
            (f"{at}/usage", {"usage": {"prompt_tokens": 3}}),
        ):
            assert {(await one.post(path, json=body, headers=key)).status_code for one in (http, elsewhere)} == {204}
        view = await session.view()
        assert (view.counters, view.usage.prompt_tokens, len(view.turns)) == ({"c": {"k": 1}}, 3, 1)
        theirs = await somebody.post("/sessions", json={"title": "T"}, headers=key)
        mine = await http.post("/sessions", json={"title": "T"}, headers=key)
        assert theirs.status_code == mine.status_code == 201
        assert theirs.json() != mine.json()
    assert (await http.post("/sessions", headers={"idempotency-key": "k" * 256})).status_code == 422


async def test_a_retry_of_a_message_says_so(http: httpx.AsyncClient, at: str) -> None:
    body = {"content": "Hello", "message_id": "m-1", "on_busy": "queue"}
    statuses = [(await http.post(f"{at}/messages", json=body)).status_code for _ in range(2)]
    assert statuses == [201, 200]


async def test_sessions_are_listed_page_by_page(log: SessionLog, http: httpx.AsyncClient) -> None:
    made = [str((await log.start_session(user_id="u1")).id) for _ in range(5)]
    await log.start_session(user_id="u2")
    found, cursor = list[str](), ""
    while cursor is not None:
        page = (await http.get("/sessions", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        found += [one["session_id"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert found == made[::-1]
    assert (await http.get("/sessions?cursor=x")).status_code == 422
    assert (await http.get("/sessions?limit=0")).status_code == 422
    assert (await http.get("/sessions?status=answering")).json()["items"] == []


async def test_nothing_is_read_for_a_view_that_is_there(
    session: Session, http: httpx.AsyncClient, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await session.say("Hello")
    for path in (at, f"{at}/turns"):
        first = await http.get(path)
        tag = first.headers["etag"]
        with monkeypatch.context() as patched:
            patched.setattr(Session, "view", None)
            again = await http.get(path, headers={"if-none-match": f'"x", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        await session.say("More")
        changed = await http.get(path, headers={"if-none-match": tag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != tag


async def test_turns_come_in_pages_from_the_end(session: Session, http: httpx.AsyncClient, at: str) -> None:
    for number in range(7):
        await session.say(f"{number}")
        await session.add_message("assistant", "so be it")
    every = [turn.index for turn in (await session.view()).turns]
    found, before = list[int](), ""
    while before is not None:
        page = (await http.get(f"{at}/turns", params={"limit": 3, **({"before": before} if before else {})})).json()
        found = [turn["index"] for turn in page["turns"]] + found
        before = page["before"]
    assert found == every


async def test_the_past_a_fork_and_an_export(
    log: SessionLog, session: Session, http: httpx.AsyncClient, at: str, app: FastAPI
) -> None:
    for number in range(3):
        await session.say(f"{number}")
    for version in range(1, 5):
        assert (await http.get(f"{at}/versions/{version}")).json() == json.loads(
            (await session.at(version)).model_dump_json()
        )
    assert (await http.get(f"{at}/versions/99")).status_code == 422
    fork = (await http.post(f"{at}/fork", json={"version": 2})).json()["session_id"]
    assert [m["content"] for m in (await http.get(f"/sessions/{fork}/messages")).json()["messages"]] == ["0"]
    exported = await http.get(f"{at}/export")
    assert exported.headers["content-type"].startswith("application/x-ndjson")
    assert lines(exported.text) == [json.loads(line) async for line in log.export_session(session.id, SYSTEM)]
    assert (await http.get(f"{at}/export?format=ui")).json()["messages"]
    again = await http.post("/import/exported", content=exported.content, headers={**LINES, **AS_SYSTEM})
    assert again.json()["became"] == "already_there"
    assert (await http.delete(at)).status_code == 204
    assert {(await http.delete(at)).status_code, (await http.get(at)).status_code} == {404}


async def test_a_broken_history_is_repaired_when_it_is_wanted(http: httpx.AsyncClient) -> None:
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
    dry = await http.post("/import", json={"messages": messages, "format": "chat", "dry_run": True})
    assert dry.json()["became"] == "new"
    at = f"/sessions/{(await http.post('/import', json={'messages': messages})).json()['session_id']}"
    found = (await http.post(f"{at}/repair", json={"dry_run": True})).json()
    assert found["repair_id"] is None
    assert found["dry_run"] is True
    done = (await http.post(f"{at}/repair")).json()
    assert done["corrections"] == found["corrections"]
    undone = (await http.post(f"{at}/repair/undo")).json()
    assert undone == {"withdrawn": bool(done["corrections"])}


async def test_the_system_starts_sessions_for_users_and_gives_away_those_of_nobody(
    http: httpx.AsyncClient, log: SessionLog
) -> None:
    session_id = "00000000-0000-4000-8000-000000000007"
    body = {"user_id": "u1", "session_id": session_id}
    assert (await http.post("/sessions", json=body, headers=AS_SYSTEM)).json() == {"session_id": session_id}
    taken = await http.post("/sessions", json={**body, "user_id": "u2"}, headers=AS_SYSTEM)
    assert taken.status_code == 409
    nobodys = (await http.post("/sessions", headers=AS_SYSTEM)).json()["session_id"]
    owner = f"/sessions/{nobodys}/owner"
    assert (await http.get(f"/sessions/{nobodys}")).status_code == 404
    assert (await http.put(owner, json={"user_id": "u1"}, headers=AS_SYSTEM)).status_code == 204
    assert (await http.get(f"/sessions/{nobodys}")).status_code == 200
    assert (await http.put(owner, json={"user_id": "u2"}, headers=AS_SYSTEM)).status_code == 409


async def test_every_text_comes_back_as_it_was_sent(http: httpx.AsyncClient, at: str) -> None:
    text = 'NUL \0, half \ud83d, an emoji \U0001f600, "quotes", \u2028'
    body = json.dumps({"content": text}).encode()
    headers = {"content-type": "application/json"}
    assert (await http.post(f"{at}/messages", content=body, headers=headers)).status_code == 201
    assert (await http.put(f"{at}/title", content=json.dumps({"title": text}), headers=headers)).status_code == 204
    for path in (at, f"{at}/turns", f"{at}/versions/3"):
        found = (await http.get(path)).json()
        assert found["turns"][0]["messages"][0]["content"] == text
    assert (await http.get(f"{at}/messages")).json()["messages"][0]["content"] == text
    assert (await http.get("/sessions")).json()["items"][0]["title"] == text
    deltas = (await http.get(f"{at}/deltas")).json()["items"]
    assert deltas[1]["content"] == text
    assert (await http.get(f"{at}/events")).json()["items"][1]["event"]["content"] == text
    assert (await http.get(f"{at}/prompt")).status_code == 200
    assert (await http.get(f"{at}/export")).status_code == 200
