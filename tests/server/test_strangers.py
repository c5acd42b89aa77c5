"""Nobody else's session is found, by any route: every route is asked, by reflection."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from tests.support.served import AS_SYSTEM, Call, app_of, as_user, asked, calls
from turnlog import SYSTEM, Session, SessionLog
from turnlog.domain.errors import SessionNotFoundError
from turnlog.infrastructure.server.problems import PROBLEMS

UNKNOWN = "00000000-0000-4000-8000-000000000001"
OF_THE_SYSTEM = {"/sessions/{session_id}/owner", "/import/exported"}


async def ask(http: httpx.AsyncClient, call: Call, session_id: object, headers: dict[str, str]) -> httpx.Response:
    method, path = call.on(session_id)
    sent = dict(call.body)
    return await http.request(method, path, **{**sent, "headers": {**sent.get("headers", {}), **headers}})


async def test_a_stranger_gets_the_bytes_of_an_unknown_session_from_every_route(
    app: FastAPI, http: httpx.AsyncClient, session: Session
) -> None:
    await session.say("Hello", message_id="m-1")
    version = (await session.view()).version
    asked_for = [call for call in calls(app) if "{session_id}" in call.path]
    assert len(asked_for) > 20
    for call in asked_for:
        found = await ask(http, call, session.id, as_user("stranger"))
        for unknown in (UNKNOWN, "no-uuid"):
            missing = await ask(http, call, unknown, as_user("stranger"))
            assert (found.status_code, found.content) == (missing.status_code, missing.content), call
            assert dict(found.headers) == dict(missing.headers), call
        if call.path in OF_THE_SYSTEM:
            assert found.status_code == 403
        else:
            assert found.json()["type"] == PROBLEMS[SessionNotFoundError].type, call
    assert (await session.view()).version == version


async def test_the_owner_is_found_by_every_route(log: SessionLog, app: FastAPI, http: httpx.AsyncClient) -> None:
    for call in calls(app):
        if "{session_id}" in call.path and call.path not in OF_THE_SYSTEM:
            session = await log.start_session(user_id="u1")
            answered = await ask(http, call, session.id, as_user("u1"))
            assert answered.status_code in (200, 201, 204, 409, 422), (call, answered.text)
            assert answered.status_code != 422 or "compact" in call.path, (call, answered.text)


async def test_nobody_gets_the_same_from_every_route(app: FastAPI, http: httpx.AsyncClient, session: Session) -> None:
    answers = [await ask(http, call, session.id, as_user("")) for call in calls(app)]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


async def test_lists_have_nothing_of_others(log: SessionLog, http: httpx.AsyncClient, session: Session) -> None:
    await session.add_usage({"prompt_tokens": 5})
    stranger = as_user("stranger")
    assert (await http.get("/sessions", headers=stranger)).json() == {"items": [], "total": 0, "next_cursor": None}
    assert (await http.get("/usage", headers=stranger)).json()["rows"] == []
    assert (await http.get("/unfinished-turns", headers=stranger)).json() == {"items": []}
    assert (await http.get("/waiting-tool-calls", headers=stranger)).json() == {"items": []}
    assert len((await http.get("/sessions", headers=AS_SYSTEM)).json()["items"]) == 1


async def test_no_id_that_a_user_chooses_says_whether_it_is_taken(
    log: SessionLog, http: httpx.AsyncClient, session: Session
) -> None:
    stranger = as_user("stranger")
    for session_id in (str(session.id), UNKNOWN):
        answered = await http.post("/sessions", json={"session_id": session_id}, headers=stranger)
        assert answered.status_code == 403
        body = {"messages": [{"role": "user", "content": "Hello"}], "session_id": session_id}
        assert (await http.post("/import", json=body, headers=stranger)).status_code == 404
        headers = {**stranger, "content-type": "application/x-ndjson"}
        assert (await http.post("/import/exported", content="{}", headers=headers)).status_code == 403


async def test_a_user_names_no_other_user(http: httpx.AsyncClient, at: str) -> None:
    assert (await http.post("/sessions", json={"user_id": "u2"})).status_code == 403
    body = {"messages": [{"role": "user", "content": "Hello"}], "user_id": "u2"}
    assert (await http.post("/import", json=body)).status_code == 403
    decision = {"call_id": "c", "by": "u2"}
    assert (await http.post(f"{at}/approve", json=decision)).status_code == 403
    assert (await http.post(f"{at}/refuse", json=decision)).status_code == 403


@pytest.mark.parametrize("said", [None, "", " ", 17, True, b"u1", "x" * 256, "a\0b", ["u1"]])
async def test_what_is_no_principal_is_nobody(log: SessionLog, said: object) -> None:
    async with asked(app_of(log, authenticate=lambda _: said)) as http:
        assert (await http.get("/sessions")).status_code == 401


async def test_an_authentication_that_fails_lets_nobody_in_and_is_logged(
    log: SessionLog, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: object) -> str:
        raise KeyError("u1")

    async with asked(app_of(log, authenticate=broken)) as http:
        assert (await http.get("/sessions")).status_code == 401
    assert "authenticate has failed" in caplog.text


async def test_whoever_asks_may_be_found_out_asynchronously_and_refused_in_the_applications_words(
    log: SessionLog,
) -> None:
    from fastapi import HTTPException, Request

    async def found(request: Request) -> object:
        if request.headers["authorization"] == "Bearer late":
            raise HTTPException(403, "pay first")
        return SYSTEM

    async with asked(app_of(log, authenticate=found)) as http:
        assert (await http.get("/sessions")).status_code == 200
        refused = await http.get("/sessions", headers=as_user("late"))
        assert (refused.status_code, refused.json()["detail"]) == (403, "pay first")
