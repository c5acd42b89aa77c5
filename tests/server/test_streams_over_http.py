"""Streams of a session over a real connection: server-sent events, lines, long polls, and recordings that are sent."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from tests.support.served import app_of, lines, served, sse
from turnlog import Session, SessionLog

SOON = 10.0
SSE = {"accept": "text/event-stream"}
NDJSON = {"accept": "application/x-ndjson"}
SENT = {"content-type": "application/x-ndjson"}


@pytest.fixture
async def client(log: SessionLog) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a real server, whose heartbeats are quick."""
    async with served(app_of(log, heartbeat_seconds=0.2)) as opened, asyncio.timeout(30):
        yield opened


async def answered(session: Session, text: str = "Hello there") -> int:
    """A turn that is over; the position of its last event."""
    await session.say("Hello", message_id="m-1")
    async with session.completion(model="m") as completion:
        for word in text.split():
            await completion.text(word + " ")
        await completion.finish("stop")
    return (await session.view()).version


def chunk(text: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    said = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps(said).encode() + b"\n"


async def test_a_stream_goes_on_from_any_event_by_either_way_of_saying_so(
    client: httpx.AsyncClient, session: Session, at: str
) -> None:
    last = await answered(session)
    for path, kind in ((f"{at}/deltas", "kind"), (f"{at}/events", "topic")):
        every = sse((await client.get(path, headers=SSE)).text)
        assert [int(event["id"].partition("-")[0]) for event in every[:-1]] == list(range(1, last + 1))
        assert every[-1] == {"event": "end", "data": every[-1]["data"]}
        assert json.loads(every[-1]["data"])["status"] == "finished"
        told = lines((await client.get(path, headers=NDJSON)).text)
        assert [one.pop("cursor") for one in told[:-1]] == [event["id"] for event in every[:-1]]
        assert told[:-1] == [json.loads(event["data"]) for event in every[:-1]]
        assert [one[kind] for one in told[:-1]] == [event["event"] for event in every[:-1]]
        for index, event in enumerate(every[:-1], 1):
            by_header = await client.get(f"{path}?after=1", headers={**SSE, "last-event-id": event["id"]})
            by_address = await client.get(path, params={"after": event["id"]}, headers=SSE)
            assert sse(by_header.text) == sse(by_address.text) == every[index:]
    assert (await client.get(f"{at}/deltas?after=99", headers=SSE)).status_code == 410
    assert (await client.get(f"{at}/deltas?after=1-abc", headers=SSE)).json()["last"] == last
    assert (await client.get(f"{at}/deltas?after=x", headers=SSE)).status_code == 422


async def test_pages_of_events_and_deltas_lead_to_each_other(
    client: httpx.AsyncClient, session: Session, at: str
) -> None:
    last = await answered(session)
    for path in (f"{at}/deltas", f"{at}/events"):
        found, cursor = [], ""
        while True:
            page = (await client.get(path, params={"after": cursor, "limit": 2})).json()
            if not page["items"]:
                break
            assert page["items"][-1]["cursor"] == page["cursor"]
            found += page["items"]
            cursor = page["cursor"]
        assert [one["position"] for one in found] == list(range(1, last + 1))
        assert page["cursor"] == cursor


async def test_a_long_poll_waits_for_what_comes_and_not_for_ever(
    client: httpx.AsyncClient, session: Session, at: str
) -> None:
    path = f"{at}/deltas?after=1&wait=20"
    waiting = asyncio.create_task(client.get(path))
    await asyncio.sleep(0.5)  # longer than a heartbeat
    assert not waiting.done()
    await session.say("Hello", message_id="m-1")
    assert [one["message_id"] for one in (await waiting).json()["items"]] == ["m-1"]
    began = time.monotonic()
    page = (await client.get(f"{at}/events?after=2&wait=0.3")).json()
    assert page == {"items": [], "cursor": "2"}
    assert 0.2 < time.monotonic() - began < SOON


async def test_a_stream_has_heartbeats_and_what_comes_from_another_process(
    client: httpx.AsyncClient, other_log: SessionLog, session: Session, at: str
) -> None:
    async with client.stream("GET", f"{at}/deltas?after=1", headers=SSE) as response:
        assert response.headers["cache-control"] == "no-store"
        rows = response.aiter_lines()
        while await anext(rows) != ":":
            pass
        await other_log.session(session.id, "u1").say("Hello", message_id="m-1")
        while not (row := await anext(rows)).startswith("data: {"):
            pass
        assert json.loads(row.removeprefix("data: "))["message_id"] == "m-1"


async def test_a_stream_until_the_session_ends_goes_on_over_turns(
    client: httpx.AsyncClient, log: SessionLog, session: Session, at: str
) -> None:
    await answered(session)
    reading = asyncio.create_task(client.get(f"{at}/deltas?until=session", headers=NDJSON))
    await asyncio.sleep(0.1)
    await answered_again(session)
    await log.delete_session(session.id, "u1")
    told = [one for one in lines((await reading).text) if one["kind"] != "heartbeat"]
    assert [one["kind"] for one in told[-2:]] == ["deleted", "end"]
    assert sum(one["kind"] == "step_ended" for one in told) == 2


async def answered_again(session: Session) -> None:
    await session.say("More", message_id="m-2")
    async with session.completion() as completion:
        await completion.text("Yes")
        await completion.finish("stop")


async def test_a_stream_that_is_left_is_followed_no_more(
    client: httpx.AsyncClient, log: SessionLog, session: Session, at: str
) -> None:
    async with client.stream("GET", f"{at}/deltas", headers=SSE) as response:
        await anext(response.aiter_lines())
        assert log.follow_statistics.followers == 1
    async with asyncio.timeout(SOON):
        while log.follow_statistics.followers:
            await asyncio.sleep(0.02)


async def test_a_client_that_does_not_read_holds_up_nobody_and_is_sent_no_more_than_it_takes(
    client: httpx.AsyncClient, session: Session, at: str
) -> None:
    await session.say("Hello", message_id="m-1")
    async with session.completion() as completion:
        for _ in range(100):
            await completion.text("x" * 100_000)
        await completion.finish("stop")
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port, limit=1_000)
    head = f"GET {at}/deltas HTTP/1.1\r\nHost: log\r\nAuthorization: Bearer u1\r\nAccept: application/x-ndjson\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    await asyncio.sleep(0.5)  # it reads a few thousand bytes, and then no more
    every = lines((await client.get(f"{at}/deltas", headers=NDJSON)).text)
    assert every[-1]["status"] == "finished"
    waiting = [one for one in gc.get_objects() if isinstance(one, asyncio.Transport)]
    assert max(one.get_write_buffer_size() for one in waiting) < 1_000_000
    late = (await reader.read(-1)).decode()
    writer.close()
    assert [json.loads(row) for row in late.splitlines() if row.startswith("{")] == every


async def test_each_chunk_is_acknowledged_when_it_is_durable_while_more_is_being_sent(
    client: httpx.AsyncClient, session: Session, at: str
) -> None:
    """Over a bare connection: few clients send and read at the same time."""
    host, port = client.base_url.host, client.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST {at}/record HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer u1\r\n"
    writer.write(f"{head}Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode())

    def send(data: bytes) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    async with asyncio.timeout(SOON):
        for number in range(1, 4):
            send(chunk(f"{number} "))
            while f'{{"chunk": {number}}}'.encode() not in await reader.readline():
                pass
            view = await session.view()
            assert view.turns[-1].steps[-1].message.content == "".join(f"{n} " for n in range(1, number + 1))
        send(chunk("", "stop"))
        writer.write(b"0\r\n\r\n")
        while b'"status": "finished"' not in await reader.readline():
            pass
    writer.close()


async def test_a_recording_whose_sender_goes_away_has_failed_and_keeps_what_came(
    client: httpx.AsyncClient, session: Session, at: str
) -> None:
    sent = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield chunk("Hello")
        sent.set()
        await asyncio.sleep(SOON)

    sending = asyncio.create_task(client.post(f"{at}/record", content=pieces(), headers=SENT))
    await sent.wait()
    async with asyncio.timeout(SOON):
        while not (await session.view()).turns:
            await asyncio.sleep(0.02)
        busy = await client.post(f"{at}/record", content=chunk("No"), headers=SENT)
        assert (busy.status_code, busy.json()["type"]) == (409, "urn:turnlog:problem:turn-in-progress")
        sending.cancel()
        while (step := (await session.view()).turns[-1].steps[-1]).status == "open":
            await asyncio.sleep(0.02)
    assert (step.status, step.message.content) == ("failed", "Hello")
    assert "went away" in (step.note or "")


async def test_a_providers_own_events_are_recorded_as_they_came(
    client: httpx.AsyncClient, session: Session, at: str
) -> None:
    text = b"".join(b"event: x\ndata: " + one + b"\n" for one in (chunk("Hi"), chunk("", "stop"))) + b"data: [DONE]\n\n"
    recorded = await client.post(f"{at}/record", content=text, headers={"content-type": "text/event-stream"})
    assert lines(recorded.text)[-1]["status"] == "finished"
    assert (await session.view()).messages[-1]["content"] == "Hi"


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"nonsense\n", 422, "invalid-input"),
        (b"[1]\n", 422, "invalid-input"),
        (b'{"type": "no-such-thing"}\n', 422, "invalid-input"),
        (b"x" * 100, 422, "limit-exceeded"),
        (chunk("Hi") + b"nonsense\n", 200, "invalid-input"),
    ],
)
async def test_a_body_that_is_no_stream_is_refused_or_fails_its_step(
    log: SessionLog, at: str, body: bytes, status: int, problem: str
) -> None:
    from tests.support.served import asked

    async with asked(app_of(log, max_body_bytes=90 if body[:1] == b"x" else 10_000)) as http:
        answered = await http.post(f"{at}/record", content=body, headers=SENT)
    assert answered.status_code == status
    said = answered.json() if status != 200 else lines(answered.text)[-1]["problem"]
    assert said["type"] == f"urn:turnlog:problem:{problem}"


async def test_bytes_that_are_no_lines_are_not_recorded(client: httpx.AsyncClient, session: Session, at: str) -> None:
    refused = await client.post(f"{at}/record", content=chunk("Hi"), headers={"content-type": "application/json"})
    assert refused.status_code == 415
    assert (await session.view()).turns == ()


async def test_the_router_works_below_a_prefix_of_an_application(log: SessionLog, session: Session) -> None:
    from tests.support.served import who
    from turnlog import turnlog_router

    app = FastAPI()
    app.state.log = log
    app.include_router(turnlog_router(lambda request: request.app.state.log, authenticate=who), prefix="/log")
    async with served(app) as client:
        assert (await client.get(f"/log/sessions/{session.id}")).status_code == 200
        assert (await client.get("/log/sessions/x")).json()["status"] == 404
