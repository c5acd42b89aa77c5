"""What becomes of a request when its client, its provider or the log fails. No gap is silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import openai
import psycopg
import pytest

from tests.support.database import rows
from tests.support.proxied import KEY, USER, Proxied, all_of, proxied, take_down, texts
from turnlog import SessionLog, Settings, StoreUnavailableError
from turnlog.infrastructure.server.proxy import exchange
from turnlog.testing import Answer, Failure, FakeProvider

ASK = [{"role": "user", "content": "Tell me"}]
BODY = {"model": "m", "messages": ASK, "stream": True}


async def until(is_so: Callable[[], Any], seconds: float = 10) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.02)


async def test_an_answer_is_recorded_to_its_end_though_its_client_has_gone(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(Answer([f"word{number} " for number in range(20)], delay=0.02))
    async with proxy.http.stream("POST", "/v1/chat/completions", json=BODY, headers=USER) as response:
        await anext(response.aiter_raw())
    assert proxy.proxy.counts.running == 1
    await until(lambda: not proxy.proxy.counts.running)
    session = await proxy.only_session()
    assert (await proxy.said(session))[-1] == ("assistant", "".join(f"word{number} " for number in range(20)))
    assert (await session.view()).turns[-1].status == "finished"
    assert provider.disconnects == 0


async def test_a_shutdown_ends_what_is_under_way_as_interrupted(settings: Settings, provider: FakeProvider) -> None:
    provider.add(Answer([f"word{number} " for number in range(500)], delay=0.02))
    async with SessionLog.open(settings) as log, proxied(log, provider.base_url) as proxy:
        async with proxy.http.stream("POST", "/v1/chat/completions", json=BODY, headers=USER) as response:
            await anext(response.aiter_raw())
        session_id = (await proxy.only_session()).id
    assert proxy.proxy.counts.running == 0
    async with SessionLog.open(settings) as again:
        (step,) = (await again.session(session_id, "u1").view()).turns[-1].steps
        assert (step.status, step.note) == ("interrupted", "the log was closed")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(429, headers={"retry-after": "7"}), openai.RateLimitError),
        (Failure(500), openai.InternalServerError),
        (
            Failure(404, body={"error": {"message": "no such model", "type": "x", "code": "model_not_found"}}),
            openai.NotFoundError,
        ),
    ],
)
async def test_what_the_provider_refuses_is_passed_on_and_in_the_log(
    proxy: Proxied, provider: FakeProvider, failure: Failure, expected: type[openai.APIStatusError]
) -> None:
    provider.add(failure)
    async with proxy.openai() as client:
        with pytest.raises(expected) as refused:
            await client.chat.completions.create(model="m", messages=ASK, stream=True)
    assert refused.value.response.content == failure.payload()
    for name, value in failure.headers.items():
        assert refused.value.response.headers[name] == value
    (step,) = (await (await proxy.only_session()).view()).turns[-1].steps
    assert step.status == "failed"
    assert step.failure is not None
    assert step.failure["status"] == failure.status
    assert step.failure["message"] in failure.payload().decode()


async def test_an_answer_that_breaks_off_breaks_off_for_its_client_and_has_failed(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(Answer(["one ", "two ", "three"], fails_after=2))
    heard = b""
    async with proxy.http.stream("POST", "/v1/chat/completions", json=BODY, headers=USER) as response:
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 what came before is wanted
            async for piece in response.aiter_raw():
                heard += piece
    assert b"one " in heard
    assert b"[DONE]" not in heard
    session = await proxy.only_session()
    (step,) = (await session.view()).turns[-1].steps
    assert (step.status, step.message.content) == ("failed", "one two ")


async def test_an_error_inside_a_stream_is_passed_on_and_has_failed_the_step(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(Answer(["one ", "two"], fails_after=1, fails_with=Failure(500, message="overloaded")))
    async with proxy.openai() as client:
        with pytest.raises(openai.APIError, match="overloaded"):
            await all_of(await client.chat.completions.create(model="m", messages=ASK, stream=True))
    (step,) = (await (await proxy.only_session()).view()).turns[-1].steps
    assert step.status == "failed"


async def test_a_provider_that_cannot_be_reached_is_said_and_in_the_log(log: SessionLog) -> None:
    async with proxied(log, "http://127.0.0.1:9/v1") as proxy:
        async with proxy.openai() as client:
            with pytest.raises(openai.InternalServerError, match="could not be reached") as refused:
                await client.chat.completions.create(model="m", messages=ASK)
        assert refused.value.status_code == 502
        (step,) = (await (await proxy.only_session()).view()).turns[-1].steps
        assert step.status == "failed"
        assert "127.0.0.1" not in refused.value.message


async def test_while_the_log_is_down_requests_are_refused_in_the_providers_own_shape(
    proxy: Proxied, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_down(monkeypatch)
    async with proxy.openai() as client, proxy.anthropic() as other:
        with pytest.raises(openai.InternalServerError, match="turnlog: The store did not answer") as refused:
            await client.chat.completions.create(model="m", messages=ASK)
        assert (refused.value.status_code, refused.value.code) == (503, "store-unavailable")
        with pytest.raises(anthropic.InternalServerError, match="turnlog: The store did not answer") as said:
            await other.messages.create(model="m", max_tokens=9, messages=ASK)
        assert said.value.body["type"] == "error"
    assert provider.requests == []
    assert proxy.proxy.counts.refused == 2


async def test_where_it_is_set_requests_pass_unrecorded_with_a_warning_and_a_count(
    log: SessionLog, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take_down(monkeypatch)
    provider.add(Answer(["It ", "is"]), Answer("whole"), Failure(429))
    async with proxied(log, provider.base_url, unrecorded="pass") as proxy, proxy.openai() as client:
        with caplog.at_level(logging.WARNING, "turnlog"):
            stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
            assert texts(await all_of(stream)) == "It is"
            whole = await client.chat.completions.create(model="m", messages=ASK)
            assert whole.choices[0].message.content == "whole"
            with pytest.raises(openai.RateLimitError):
                await client.chat.completions.create(model="m", messages=ASK)
        assert proxy.proxy.counts.unrecorded == 3
        assert await proxy.sessions() == []
    assert [record.message for record in caplog.records] == [
        "a request through the proxy goes on unrecorded: StoreUnavailableError: Postgres: it is away"
    ] * 3


async def test_a_fault_of_the_proxy_is_logged_and_its_client_is_told(
    proxy: Proxied, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(exchange.Exchange, "_recorded", fail)
    async with proxy.openai() as client:
        with caplog.at_level(logging.WARNING, "turnlog"), pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="m", messages=ASK)
    assert [record.message for record in caplog.records] == ["a request through the proxy has failed"]


async def test_an_answer_whose_place_was_not_kept_is_recorded_and_given(
    proxy: Proxied, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailableError("Postgres: it is away")

    monkeypatch.setattr(exchange, "keep", fail)
    provider.add(Answer("whole"))
    async with proxy.openai() as client:
        with caplog.at_level(logging.WARNING, "turnlog"):
            whole = await client.chat.completions.create(model="m", messages=ASK)
    assert whole.choices[0].message.content == "whole"
    (session,) = await proxy.sessions()
    assert [record.message for record in caplog.records] == [
        f"the end of session {session.id} was not kept: Postgres: it is away"
    ]


@pytest.mark.parametrize("unrecorded", ["refuse", "pass"])
async def test_where_the_log_fails_in_the_middle_the_stream_ends_with_an_error_or_goes_on(
    log: SessionLog, provider: FakeProvider, settings: Settings, unrecorded: str
) -> None:
    answer = Answer([f"word{number} " for number in range(60)], delay=0.01)
    provider.add(answer)
    async with proxied(log, provider.base_url, unrecorded=unrecorded) as proxy:
        async with proxy.openai() as client:
            stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
            heard = [await anext(stream) for _ in range(5)]
            with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
                admin.execute(f"alter table {settings.database_schema}.turnlog_events rename to away".encode())
            try:
                if unrecorded == "pass":
                    heard += await all_of(stream)
                    assert texts(heard) == "".join(answer.text)
                else:
                    with pytest.raises(openai.APIError, match="does not record this answer"):
                        heard += await all_of(stream)
            finally:
                with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
                    admin.execute(f"alter table {settings.database_schema}.away rename to turnlog_events".encode())
        counts = proxy.proxy.counts
        assert (counts.unrecorded, counts.refused) == ((1, 0) if unrecorded == "pass" else (0, 1))


async def test_a_request_that_cannot_be_read_is_refused_or_passed_on_for_the_provider_to_judge(
    log: SessionLog, provider: FakeProvider
) -> None:
    async with proxied(log, provider.base_url) as proxy:
        refused = await proxy.http.post("/v1/chat/completions", json={"messages": "none"}, headers=USER)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid-input")
        assert proxy.proxy.counts.refused == 1
    async with proxied(log, provider.base_url, unrecorded="pass") as proxy:
        judged = await proxy.http.post("/v1/chat/completions", json={"messages": "none"}, headers=USER)
        assert judged.status_code == 400
        assert proxy.proxy.counts.unrecorded == 1


async def test_the_key_is_in_no_row_no_log_line_and_no_error(
    proxy: Proxied, provider: FakeProvider, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    leaking = {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "auth", "code": "invalid_api_key"}}
    provider.add(Answer("fine"), Failure(401, body=leaking))
    with caplog.at_level(logging.DEBUG):
        async with proxy.openai() as client:
            await client.chat.completions.create(model="m", messages=ASK)
            with pytest.raises(openai.AuthenticationError, match=KEY):  # to its client the answer is as it came
                await client.chat.completions.create(model="m", messages=ASK)
    assert [request.headers["authorization"] for request in provider.requests] == [f"Bearer {KEY}"] * 2
    await proxy.log.list_sessions("u1")
    tables = rows(settings, "select table_name from information_schema.tables where table_schema = current_schema()")
    assert len(tables) > 5
    for (table,) in tables:
        for (row,) in rows(settings, f"select t::text from {table} t"):
            assert KEY not in row
            assert KEY.encode().hex() not in row
    assert KEY not in caplog.text
    session = (await proxy.sessions())[-1]
    assert "Incorrect API key provided: (the key)" in str((await session.view()).turns[-1].steps[-1].failure)
