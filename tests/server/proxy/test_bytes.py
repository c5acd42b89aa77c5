"""What the client gets is byte for byte what the provider has sent, however it is cut and whatever is between."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.support.proxied import USER, Proxied, proxied, take_down
from tests.support.raw_upstream import RawUpstream
from turnlog import SessionLog
from turnlog.testing import own_corpus

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def event(text: str, end: str = "null") -> bytes:
    """A chunk as a server-sent event."""
    delta = f'{{"content":"{text}"}}' if text else "{}"
    choice = f'{{"index":0,"delta":{delta},"finish_reason":{end}}}'
    return (
        f'data: {{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{choice}]}}\n\n'.encode()
    )


STREAM = b"".join(
    (b": keep-alive\n\n", event("a \u00e9"), b": more\n\n", event("b").replace(b"\n\n", b"\r\n\r\n"), b"retry: 5\n\n",
     event("", '"stop"'), b"data: [DONE]\n\n")
)  # fmt: skip


async def got(proxy: Proxied, path: str = "/v1/chat/completions") -> httpx.Response:
    """The answer, as it came."""
    async with proxy.http.stream("POST", path, json=BODY, headers=USER) as response:
        response._content = b"".join([piece async for piece in response.aiter_raw()])
    return response


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_that_is_cut_anywhere_comes_as_it_is_and_is_recorded(log: SessionLog, size: int) -> None:
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    async with RawUpstream(HEAD, *pieces) as raw, proxied(log, raw.url) as proxy:
        assert (await got(proxy)).content == STREAM
        assert (await proxy.said(await proxy.only_session()))[-1] == ("assistant", "a \u00e9b")


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_a_piece_goes_on_before_the_next_one_has_come(
    log: SessionLog, monkeypatch: pytest.MonkeyPatch, is_recorded: bool
) -> None:
    if not is_recorded:
        take_down(monkeypatch)
    async with (
        RawUpstream(HEAD, event("a"), b": keep-alive\n\n", event("b"), pause=0.3) as raw,
        proxied(log, raw.url, unrecorded="pass") as proxy,
        proxy.http.stream("POST", "/v1/chat/completions", json=BODY, headers=USER) as response,
    ):
        pieces = response.aiter_raw()
        for number, expected in enumerate(raw.parts[1:], 2):
            assert await anext(pieces) == expected
            assert raw.sent == number


async def test_every_recorded_stream_comes_as_it_is(log: SessionLog) -> None:
    async with RawUpstream() as raw, proxied(log, raw.url) as proxy:
        for stream in own_corpus():
            sent = b"".join(b"data: " + chunk + b"\n\n" for chunk in stream.chunks) + b"data: [DONE]\n\n"
            raw.parts = (HEAD, sent)
            response = await got(proxy)
            assert response.content == sent
            session = log.session(response.headers["x-turnlog-session"], "u1")
            step = (await session.view()).turns[-1].steps[-1]
            assert step.status in ("finished", "failed")
            assert proxy.proxy.counts.refused == 0


async def test_an_answer_that_is_compressed_all_the_same_is_not_passed_on_unrecorded(log: SessionLog) -> None:
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    async with RawUpstream(head, b"\x1f\x8bxyz") as raw:
        async with proxied(log, raw.url) as proxy:
            refused = await got(proxy)
            assert (refused.status_code, proxy.proxy.counts.refused) == (422, 1)
        async with proxied(log, raw.url, unrecorded="pass") as proxy:
            passed = await got(proxy)
            assert (passed.content, passed.headers["content-encoding"]) == (b"\x1f\x8bxyz", "gzip")
            assert proxy.proxy.counts.unrecorded == 1


async def test_an_answer_that_is_too_large_is_refused_or_passed_on_without_being_held(log: SessionLog) -> None:
    body = b'{"x": "' + b"y" * 3_000_000 + b'"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with RawUpstream(head, body) as raw:
        async with proxied(log, raw.url) as proxy:
            assert (await got(proxy)).status_code == 422
        async with proxied(log, raw.url, unrecorded="pass") as proxy:
            assert (await got(proxy)).content == body


async def test_a_client_that_reads_slowly_holds_back_its_provider(log: SessionLog) -> None:
    long = [event("x" * 50_000) for _ in range(400)]
    async with (
        RawUpstream(HEAD, *long) as raw,
        proxied(log, raw.url) as proxy,
        proxy.http.stream("POST", "/v1/chat/completions", json=BODY, headers=USER) as response,
    ):
        pieces = response.aiter_raw()
        heard, before = len(await anext(pieces)), -1
        while before < raw.sent:  # until no more is taken from it
            before = raw.sent
            await asyncio.sleep(0.5)
        assert raw.sent < len(long)
        heard += sum([len(piece) async for piece in pieces])
    assert heard == sum(map(len, long))
