"""Processes that serve over HTTP on one port, as benchmarks start and measure them."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]
import uvicorn
from fastapi import FastAPI

from benchmarks import CHECKOUT


@dataclass(frozen=True, slots=True)
class Served:
    """Processes that listen on this port."""

    port: int
    processes: Sequence[psutil.Process]

    def cpu(self) -> float:
        """Seconds that the processes have used."""
        return float(sum(times.user + times.system for times in (one.cpu_times() for one in self.processes)))

    def memory(self) -> float:
        """Bytes that they hold."""
        return float(sum(process.memory_info().rss for process in self.processes))


@asynccontextmanager
async def served(module: str, job: Mapping[str, Any], processes: int = 1) -> AsyncIterator[Served]:
    """Processes of this module, which calls `serve`, while the block runs. The job is told to them as JSON."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2_048)
        command = (sys.executable, "-m", module, json.dumps({**job, "socket": listening.fileno()}))
        pipe = asyncio.subprocess.PIPE
        running = [
            await asyncio.create_subprocess_exec(*command, stdout=pipe, cwd=CHECKOUT, pass_fds=[listening.fileno()])
            for _ in range(processes)
        ]
        try:
            for each in running:
                assert each.stdout is not None  # noqa: S101 it is a pipe
                await each.stdout.readline()
            yield Served(listening.getsockname()[1], [psutil.Process(each.pid) for each in running])
        finally:
            for each in running:
                each.terminate()
            await asyncio.gather(*(each.wait() for each in running))


def serve(application: Callable[[dict[str, Any]], FastAPI]) -> None:
    """Serves what a job wants on the socket that it was given, until it is told to end."""
    job = json.loads(sys.argv[1])
    config = uvicorn.Config(application(job), log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run([socket.socket(fileno=job["socket"])])


def ready() -> None:
    """Says that it serves: whoever started it waits for this."""
    print("ready", flush=True)  # noqa: T201 it is said through a pipe
