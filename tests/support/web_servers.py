"""A web application in a process of its own, as a reader of the pages starts it, and what a browser asks of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from tests.support.pages import ROOT
from turnlog import Settings
from turnlog.testing import FakeProvider

UP_SECONDS = 30.0


class Sent(NamedTuple):
    """A server-sent event."""

    id: str
    kind: str
    data: dict[str, Any]


def until(events: Iterator[Sent], wanted: str) -> list[Sent]:
    """The events up to one of this kind, or of this topic."""
    heard = [next(events)]
    while wanted not in (heard[-1].kind, str(heard[-1].data.get("topic")).partition(".")[0].replace("-", "_")):
        heard.append(next(events))
    return heard


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def variables(settings: Settings, provider: FakeProvider) -> dict[str, str]:
    """The environment in which a reader's program finds the servers and the provider."""
    return {
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "TURNLOG_DATABASE_SCHEMA": settings.database_schema,
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": "none",
        "NO_PROXY": "127.0.0.1",
    }


class WebServer:
    """The application while the block runs. It can be stopped, killed, and started again on the same port, which is
    where the command says `{port}`, or in the environment."""

    def __init__(self, command: list[str], given: Mapping[str, str], folder: Path = ROOT) -> None:
        port = free_port()
        self._command = [part.replace("{port}", str(port)) for part in command]
        self._environment = {**os.environ, **given, "PORT": str(port), "UVICORN_PORT": str(port)}
        self._folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=UP_SECONDS, trust_env=False)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if self._process is not None and kind is None:
                assert "Traceback" not in self.stop()
        finally:
            self.kill()
            self.client.close()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, env=self._environment, stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + UP_SECONDS
        while True:
            try:
                self.client.get("/")
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self, number: signal.Signals = signal.SIGINT) -> str:
        """Ends it as Ctrl-C does; what it has said. Raises TimeoutExpired if it does not end in ten seconds."""
        assert self._process is not None
        self._process.send_signal(number)
        _, said = self._process.communicate(timeout=10)
        self._process = None
        return said

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def post(self, path: str, body: Any = None) -> httpx.Response:
        """A request with a JSON body."""
        return self.client.post(path, json={} if body is None else body)

    def events(self, path: str, last_event_id: str = "") -> Iterator[Sent]:
        """The events of a stream as they come, until it ends or its server is gone."""
        headers = {"last-event-id": last_event_id} if last_event_id else {}
        with self.client.stream("GET", path, headers=headers) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            yield from _parsed(response, last_event_id)


def _parsed(response: httpx.Response, position: str) -> Iterator[Sent]:
    kind = ""
    lines = response.iter_lines()
    while True:
        try:
            line = next(lines)
        except (StopIteration, httpx.TransportError):
            return
        field, _, value = line.partition(": ")
        if field == "id":
            position = value
        elif field == "event":
            kind = value
        elif field == "data":
            yield Sent(position, kind, json.loads(value))
