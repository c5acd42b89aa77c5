"""Odd requests to every route, by its description: none is answered with a 500, and none hangs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.support.served import AS_SYSTEM, Call, calls
from turnlog import SessionLog

HOSTILE: dict[str, Any] = {
    "null": None,
    "a negative number": -1,
    "a large number": 2**64,
    "a number of 400 digits": 10**400,
    "the empty text": "",
    "NUL": "a\0b",
    "half a character": "\ud83d",
    "a long text": "k" * 100_000,
    "a list": ["a"],
    "a deep list": json.loads("[" * 200 + "]" * 200),
    "an empty object": {},
    "half a character as a key": {"\ud83d": 1},
}
TEXTS = ("", " ", "x", "-1", "1", "9" * 400, "nan", "\xe9", "%00", "a\0b", "k" * 9_000)
SOON = 10.0


def bodies(body: Any, known: str) -> Iterator[bytes]:
    """The body with each of its fields replaced by what is hostile, with one too many, and replaced as a whole."""
    for value in HOSTILE.values():
        yield json.dumps(value).encode()
        for field in body:
            yield json.dumps({**body, field: value}).encode()
    for field in body:
        yield json.dumps({name: one for name, one in body.items() if name != field}).encode()
    yield json.dumps({**body, known: 1}).encode()
    yield from (b"", b"{", b"\xff", b"null", b"[]")


async def check(http: httpx.AsyncClient, method: str, path: str, **sent: Any) -> None:
    async with asyncio.timeout(SOON):
        answered = await http.request(method, path, **sent)
    is_told = (path, answered.status_code) == ("/ai/chat", 501)  # nobody answers chats here, and it says so
    assert answered.status_code < 500 or is_told, (method, path, sent, answered.text)
    if answered.status_code >= 400:
        assert answered.headers["content-type"] == "application/problem+json"
        assert answered.json()["status"] == answered.status_code
    elif answered.headers.get("content-type", "").startswith("application/json"):
        json.loads(answered.content)


def of_json(app: FastAPI) -> list[Call]:
    return [call for call in calls(app) if "json" in call.body]


async def test_no_body_is_answered_with_a_500(log: SessionLog, app: FastAPI, http: httpx.AsyncClient) -> None:
    for call in of_json(app):
        session = await log.start_session(user_id="u1")
        method, path = call.on(session.id)
        for body in bodies(call.body["json"], "more"):
            headers = {"content-type": "application/json"}
            await check(http, method, path, content=body, headers=headers)


async def test_no_parameter_is_answered_with_a_500(log: SessionLog, app: FastAPI, http: httpx.AsyncClient) -> None:
    schema = app.openapi()
    session = await log.start_session(user_id="u1")
    await session.say("Hello")
    for call in calls(app):
        if call.method == "DELETE":
            continue
        for parameter in schema["paths"][call.path][call.method.lower()].get("parameters", []):
            for text in TEXTS:
                await _with(http, call, session.id, parameter, text)


async def _with(http: httpx.AsyncClient, call: Call, session_id: object, parameter: Any, text: str) -> None:
    method, path = call.on(session_id)
    sent: dict[str, Any] = {**call.body, "headers": dict(call.body.get("headers", {}))}
    name = parameter["name"]
    if parameter["in"] == "path":
        path = call.path.replace("{" + name + "}", httpx.QueryParams({"": text or "x"}).__str__()[1:])
        path = path.format(session_id=session_id, version=1)
    elif parameter["in"] == "query":
        sent["params"] = {name: "0.1" if name == "wait" else text}
    else:
        sent["headers"][name] = text.replace("\0", "").encode("latin-1")
    await check(http, method, path, **sent)


@pytest.mark.parametrize("principal", ["u1", "the-system"])
@pytest.mark.parametrize("path", ["/import", "/import/exported", "/sessions/{}/record"])
async def test_no_lines_and_no_history_are_answered_with_a_500(
    http: httpx.AsyncClient, at: str, path: str, principal: str
) -> None:
    headers = AS_SYSTEM if principal == "the-system" else {}
    for text in (*TEXTS, *(json.dumps(value) for value in HOSTILE.values())):
        line = {"content": text.encode(), "headers": {"content-type": "application/x-ndjson", **headers}}
        whole = {"json": {"messages": HOSTILE.get(text, text)}, "headers": headers}
        sent = whole if path == "/import" else line
        await check(http, "POST", path.format(at.rpartition("/")[2]), **sent)
    if path == "/import":
        for value in HOSTILE.values():
            for messages in (value, [value], [{"role": "user", "content": value}], {"mapping": value}):
                body = json.dumps({"messages": messages}).encode()
                await check(http, "POST", path, content=body, headers={"content-type": "application/json", **headers})
