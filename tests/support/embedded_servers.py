"""Embedded servers from outside: another process that opens them, and what is alive of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]
import psycopg
import redis

from tests.support.memory_disk import quick_folder
from turnlog.infrastructure.embedded import Servers
from turnlog.infrastructure.embedded.postgres import Postgres
from turnlog.infrastructure.embedded.valkey import Valkey

ROOT = Path(__file__).parents[2]
OPEN = """
import os, sys
from pathlib import Path
from turnlog.infrastructure.embedded import EmbeddedServers

opening = EmbeddedServers(Path(sys.argv[1]))
servers = opening.start()
print(servers.database_url, servers.redis_url, flush=True)
"""
OPEN_AND_CLOSE = OPEN + "sys.stdin.readline(); opening.close()"
OPEN_AND_FORGET = OPEN + "sys.stdin.readline()"
OPEN_FORK_AND_CLOSE = """
ends, writes = os.pipe()
if os.fork() == 0:
    os.close(writes)
    opening.close()    # not its own opening: does nothing
    os.read(ends, 1)   # outlives the closing
    os._exit(0)
sys.stdin.readline()
opening.close()
"""


class AnotherProcess:
    """A Python process that opens the directory, and stays until it is told to leave or is killed."""

    def __init__(self, data_dir: Path, program: str = OPEN_AND_CLOSE) -> None:
        command = [sys.executable, "-c", program, str(data_dir)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def servers(self) -> Servers:
        assert self._process.stdout is not None
        return Servers(*self._process.stdout.readline().split())

    def leave(self) -> None:
        self._process.communicate("\n", timeout=30)
        assert self._process.returncode == 0

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate(timeout=30)


@contextmanager
def folder_for_servers() -> Iterator[Path]:
    """An empty folder; servers that a failed test left in it are stopped."""
    # Not pytest's tmp_path: its paths are long, and under root each run of pytest locks the others' folders again.
    folder = quick_folder()
    try:
        yield folder
    finally:
        for left_by_a_failed_test in (Postgres(folder / "postgres"), Valkey(folder / "valkey")):
            left_by_a_failed_test.stop()
        shutil.rmtree(folder)


def ask_postgres(servers: Servers, statement: str) -> object:
    assert servers.database_url is not None
    with psycopg.connect(servers.database_url) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row and row[0]


@contextmanager
def valkey_of(servers: Servers) -> Iterator[redis.Redis]:
    assert servers.redis_url is not None
    client = redis.Redis.from_url(servers.redis_url, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def pids(servers: Servers) -> tuple[int, int]:
    """The process ids of Postgres and of Valkey."""
    postgres = ask_postgres(servers, "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)")
    with valkey_of(servers) as client:
        return int(str(postgres)), int(client.info("server")["process_id"])


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def assert_all_gone(*processes: int) -> None:
    # The lock of a process is free a moment before the process is off the list.
    deadline = time.monotonic() + 2
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [pid for pid in processes if is_alive(pid)] == []


def kill(*processes: int) -> None:
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    assert_all_gone(*processes)
