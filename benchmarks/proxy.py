"""`proxy`: what the recording proxy adds to a reverse proxy that records nothing.

Both forward the same requests to the same upstream, by the same server library and the same client. The upstream sends
prepared chunks: as fast as they are taken, or at the pace of a model to many clients at once. Each request begins a
conversation. Upstream and clients share a process, which is part of every time; processor time is that of the proxy's
process, without Postgres.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Say, interleaved
from benchmarks.measuring import percentile
from benchmarks.served import Served, served
from benchmarks.server import Ground
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.settings import Settings

_OURS, _BARE = "turnlog", "a bare reverse proxy"
_FIRST, _CPU = "time to the first byte, p50, ms", "CPU a chunk, us"
_ALONE, _MANY = "one request after the other", "many at the pace of a model"
_END = b"data: [DONE]\n\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """Requests, and the answers to them."""

    requests: int = option(100, "Requests one after the other.")
    streams: int = option(40, "Answers that stream at the same time.")
    chunks: int = option(200, "Chunks of an answer.")
    pace: int = option(40, "Chunks a second of each of many answers.")
    repeat: int = option(3, "Runs of each case.")


async def measure(options: ProxyOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    run = _Run(options, ground)
    entries = [
        Entry(case, system, partial(work, is_ours=system == _OURS))
        for case, work in ((_ALONE, run.alone), (_MANY, run.many))
        for system in (_OURS, _BARE)
    ]
    samples = await interleaved(entries, options.repeat, say)
    wanted = ((_ALONE, _FIRST), (_ALONE, _CPU), (_MANY, _FIRST), (_MANY, _CPU))
    return Report(
        benchmark="proxy",
        title="What goes through the recording proxy",
        options=asdict(options),
        samples=samples,
        verified=run.all_right,
        checked="every client got the upstream's bytes, and every answer is in the log, finished",
        machine=machine_of(ground),
        ratios=[
            samples.ratio(
                f"{case}: {quantity}, against {_BARE}", Key(case, _OURS, quantity), Key(case, _BARE, quantity)
            )
            for case, quantity in wanted
        ],
        notes=[f"{options.streams} answers at {options.pace} chunks a second each, of {options.chunks} chunks"],
    )


class _Run:
    def __init__(self, options: ProxyOptions, ground: Ground) -> None:
        self.all_right = True
        self._options = options
        self._events = [*map(_event, range(options.chunks)), _END]
        self._settings = Settings.from_env(
            {"DATABASE_URL": ground.database("turnlog"), "REDIS_URL": ground.redis_url or "none"}
        )

    async def alone(self, *, is_ours: bool) -> Numbers:
        """One request after the other, at full speed."""
        async with self._proxied(0, is_ours=is_ours) as proxy:
            await self._ask(proxy, -1)  # connections are open from here on
            before = proxy.cpu()
            waits = [await self._ask(proxy, number) for number in range(self._options.requests)]
            return self._numbers(waits, proxy.cpu() - before)

    async def many(self, *, is_ours: bool) -> Numbers:
        """Many at once, at the pace of a model."""
        async with self._proxied(self._options.pace, is_ours=is_ours) as proxy:
            await self._ask(proxy, -1)
            before = proxy.cpu()
            waits = await asyncio.gather(*(self._ask(proxy, number) for number in range(self._options.streams)))
            return self._numbers(list(waits), proxy.cpu() - before)

    def _numbers(self, waits: list[float], spent: float) -> Numbers:
        chunks = len(waits) * self._options.chunks
        return {_FIRST: percentile(sorted(wait * 1e3 for wait in waits), 50), _CPU: spent / chunks * 1e6}

    @asynccontextmanager
    async def _proxied(self, pace: float, *, is_ours: bool) -> AsyncIterator[Served]:
        upstream = await asyncio.start_server(partial(self._answer, pace=pace), "127.0.0.1", 0)
        address = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}/v1"
        async with SessionLog.open(self._settings) as log:
            known = await self._finished(log) if is_ours else 0
            settings = log.settings.model_dump(mode="json") if is_ours else None
            async with served("benchmarks.proxy_process", {"settings": settings, "upstream": address}) as proxy:
                yield proxy
            asked = (self._options.streams if pace else self._options.requests) + 1
            if is_ours:
                self.all_right &= await self._finished(log) == known + asked
        upstream.close()

    async def _finished(self, log: SessionLog) -> int:
        """Sessions whose answer has finished."""
        page = await log.list_sessions(SYSTEM, 1, status="finished", with_total=True)
        return page.total or 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: float) -> None:
        while head := await _head(reader):
            await reader.readexactly(_length(head))
            writer.write(_HEAD)
            began = time.perf_counter()
            for number, event in enumerate(self._events):
                if pace:
                    await asyncio.sleep(max(0.0, began + number / pace - time.perf_counter()))
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await writer.drain()
                if not pace:
                    await asyncio.sleep(0)  # each in a packet of its own, as providers send them
            writer.write(b"0\r\n\r\n")
        writer.close()

    async def _ask(self, proxy: Served, number: int) -> float:
        """Asks for an answer; the seconds until its first byte."""
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=2**20)
        asked = {"model": "m", "messages": [{"role": "user", "content": f"Question {number}"}], "stream": True}
        body = json.dumps(asked).encode()
        head = "Host: bench\r\nAuthorization: Bearer none\r\nContent-Type: application/json\r\nConnection: close\r\n"
        began = time.perf_counter()
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        heard = await reader.readuntil(b"data: ")
        waited = time.perf_counter() - began
        heard += await reader.read(-1)
        writer.close()
        self.all_right &= all(event.strip() in heard for event in self._events)
        return waited


def _event(number: int) -> bytes:
    delta = {"content": f"word{number} "}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def _length(head: bytes) -> int:
    found = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(found.partition(b":")[2])


PROXY = Benchmark(
    name="proxy",
    help="What the recording proxy adds to a bare reverse proxy of the same libraries.",
    options=ProxyOptions,
    quick={"requests": 3, "streams": 3, "chunks": 10, "pace": 50, "repeat": 1},
    measure=measure,
)
