"""`turnlog serve` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from tests.support.served import as_user
from turnlog import Settings

UP_SECONDS = 30
ENDING_SECONDS = 8


class Running(NamedTuple):
    process: subprocess.Popen[str]
    said: dict[str, Any]

    def client(self, token: str) -> httpx.Client:
        return httpx.Client(base_url=self.said["url"], headers=as_user(token), timeout=UP_SECONDS, trust_env=False)

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=ENDING_SECONDS)
        return said


@contextmanager
def serve(settings: Settings, *options: str, command: str = "serve", **variables: str) -> Iterator[Running]:
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "TURNLOG_DATABASE_SCHEMA": settings.database_schema,
        **variables,
    }
    arguments = [sys.executable, "-m", "turnlog", command, "--port", "0", "--json", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            running = Running(process, json.loads(process.stdout.readline()))
            with running.client("") as client:
                wait_until_up(client)
            yield running
        finally:
            process.kill()


def wait_until_up(client: httpx.Client) -> None:
    pause = threading.Event()
    for _ in range(20 * UP_SECONDS):
        try:
            assert client.get("/ready").status_code == 200
        except httpx.TransportError:
            pause.wait(0.05)
        else:
            return
    raise TimeoutError


def wait_until_down(url: str) -> None:
    pause = threading.Event()
    for _ in range(20 * UP_SECONDS):
        try:
            httpx.get(f"{url}/health", trust_env=False)
        except httpx.ConnectError:
            return
        except httpx.TransportError:  # one of them was just ending
            pass
        pause.wait(0.05)
    raise TimeoutError
