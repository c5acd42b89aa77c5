"""Servers of a test's own, which it can kill, freeze and start again."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
from redis import Redis

from tests.support.memory_disk import quick_folder
from turnlog import Settings
from turnlog.infrastructure.embedded import EmbeddedServers


@contextmanager
def short_lived_folder() -> Iterator[Path]:
    """An empty folder with a path short enough for a socket in it, as those of pytest's tmp_path are not."""
    folder = quick_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class KillableServers:
    """A pair that the test can kill, freeze and start again."""

    def __init__(self, folder: Path) -> None:
        self._embedded = EmbeddedServers(folder)
        self.servers = self._embedded.start()
        self.settings = Settings(
            database_url=self.servers.database_url,
            redis_url=self.servers.redis_url,
            store_timeout_seconds=1,
            redis_timeout_seconds=0.3,
        )

    def kill_postgres(self) -> None:
        _signal(self._postgres(), signal.SIGKILL)

    def kill_redis(self) -> None:
        _signal(self._redis(), signal.SIGKILL)

    def start_again(self) -> None:
        """Starts what was killed. Blocks for the time of a crash recovery."""
        self._embedded.start()

    @contextmanager
    def frozen_postgres(self) -> Iterator[None]:
        """Keeps every connection open and answers none."""
        with _frozen(self._postgres()):
            yield

    @contextmanager
    def frozen_redis(self) -> Iterator[None]:
        with _frozen(self._redis()):
            yield

    def close(self) -> None:
        self._embedded.close()

    def _postgres(self) -> list[psutil.Process]:
        assert self.servers.database_url is not None
        with psycopg.connect(self.servers.database_url) as connection:
            row = connection.execute("select pg_backend_pid()").fetchone()
            assert row is not None
            postmaster = psutil.Process(row[0]).parent()
            return [postmaster, *postmaster.children(recursive=True)]

    def _redis(self) -> list[psutil.Process]:
        assert self.servers.redis_url is not None
        with Redis.from_url(self.servers.redis_url) as client:
            info: Any = client.info("server")
        return [psutil.Process(int(info["process_id"]))]


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


@contextmanager
def _frozen(processes: list[psutil.Process]) -> Iterator[None]:
    _signal(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(processes, signal.SIGCONT)
