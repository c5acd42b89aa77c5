"""The servers under attack: a Postgres and a Valkey of their own, on a small disk in memory if that can be mounted."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg.conninfo import make_conninfo
from redis import Redis

from tests.chaos.proxy import Proxy
from turnlog.infrastructure.embedded.lock import Lock
from turnlog.infrastructure.embedded.postgres import Postgres
from turnlog.infrastructure.embedded.valkey import Valkey

DATABASE = "chaos"
ROLE = "app"
MAX_CONNECTIONS = 40
_SETUP = (
    f"alter system set max_connections = {MAX_CONNECTIONS}",
    "alter system set wal_level = replica",
    "alter system set max_wal_size = '128MB'",
    "alter system set wal_recycle = off",
    "alter system set restart_after_crash = on",
)


class Servers:
    """Both servers, each behind a proxy. The faults use the methods; `heal` undoes whatever they have done."""

    def __init__(self, disk_megabytes: int = 1024) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="t-"))
        self.disk_megabytes = disk_megabytes
        self.has_disk = _mounted(self.folder, disk_megabytes)
        self.postgres, self.valkey = Postgres(self.folder / "postgres"), Valkey(self.folder / "valkey")
        self.postgres.ensure()
        self.valkey.ensure()
        self._set_up()
        self.to_postgres = Proxy(self.postgres._socket())
        self.to_redis = Proxy(self.valkey._socket())
        self._held: list[psycopg.Connection[Any]] = []
        self._standbys = 0

    def _set_up(self) -> None:
        with self.admin("postgres") as admin:
            for statement in _SETUP:
                admin.execute(statement.encode())
            admin.execute(f"create role {ROLE} login".encode())
            admin.execute(f"create database {DATABASE} owner {ROLE}".encode())
        self.restart(signal.SIGINT)

    @property
    def database_url(self) -> str:
        """For the processes under attack: through the proxy."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.to_postgres.port}/{DATABASE}"

    @property
    def redis_url(self) -> str:
        """The same."""
        return f"redis://127.0.0.1:{self.to_redis.port}/0"

    @property
    def direct_database_url(self) -> str:
        """For those who look on: past the proxy."""
        return make_conninfo(self.postgres.url(), dbname=DATABASE)

    @property
    def direct_redis_url(self) -> str:
        """The same."""
        return self.valkey.url()

    def admin(self, database: str = DATABASE) -> psycopg.Connection[Any]:
        """A connection as superuser, past the proxy."""
        url = make_conninfo(self.postgres.url(), dbname=database, connect_timeout=5)
        return psycopg.connect(url, autocommit=True)

    def execute(self, statement: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """What a statement of the superuser gives."""
        with self.admin(database) as admin:
            cursor = admin.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def hold(self, *statements: str) -> None:
        """Holds a transaction that has done this, until `heal`."""
        connection = psycopg.connect(self.direct_database_url)
        self._held.append(connection)
        for statement in statements:
            connection.execute(statement.encode())

    def release(self) -> None:
        """Lets go of what is held."""
        for connection in self._held:
            connection.close()
        self._held.clear()

    def take_connections(self) -> int:
        """Takes all connections that Postgres has left, until `heal`. Returns their number."""
        before = len(self._held)
        with suppress(psycopg.OperationalError):
            while len(self._held) - before < MAX_CONNECTIONS:
                self._held.append(psycopg.connect(self.direct_database_url))
        return len(self._held) - before

    def redis(self) -> Redis:
        """A client past the proxy."""
        return Redis.from_url(self.direct_redis_url, socket_timeout=5)

    # Processes

    def postmaster(self) -> psutil.Process:
        """The first process of Postgres."""
        pid_file = self.postgres.cluster / "postmaster.pid"
        return psutil.Process(int(pid_file.read_text().splitlines()[0]))

    def postgres_processes(self) -> list[psutil.Process]:
        """All processes of Postgres, the first one first."""
        first = self.postmaster()
        return [first, *first.children(recursive=True)]

    def redis_process(self) -> psutil.Process:
        """The process of Valkey."""
        with self.redis() as client:
            info: Any = client.info("server")
        return psutil.Process(int(info["process_id"]))

    def restart(self, farewell: signal.Signals) -> None:
        """Sends Postgres this signal, waits until it is gone, and starts it again."""
        processes = self.postgres_processes()
        send(processes if farewell == signal.SIGKILL else processes[:1], farewell)
        until(lambda: not any(map(_lives, processes)))
        self.start_again()

    def start_again(self) -> None:
        """Starts what does not run. Blocks for the time of a crash recovery."""
        self.postgres.ensure()
        self.valkey.ensure()

    def back_up(self) -> Postgres:
        """A standby of what Postgres has now. It does not run yet."""
        self._standbys += 1
        standby = Postgres(self.folder / f"standby-{self._standbys}")
        standby.folder.mkdir(mode=0o700)
        program = standby.program().with_name("pg_basebackup")
        source = make_conninfo(self.postgres.url(), dbname="")
        alive = Lock(standby.folder / "alive.lock", fcntl.LOCK_EX)
        standby._admit(standby.program())
        standby._renew_log()
        try:
            standby._run(program, "-D", "data", "-d", source, "-R", "-X", "stream", "-c", "fast", alive=alive)
        finally:
            alive.release()
        return standby

    def promote(self, standby: Postgres) -> None:
        """Postgres is gone with all that it had, and the standby takes its place."""
        processes = self.postgres_processes()
        send(processes, signal.SIGKILL)
        until(lambda: not any(map(_lives, processes)))
        shutil.rmtree(self.postgres.folder)
        self.postgres = standby
        standby.ensure()
        self.execute("select pg_promote()", "postgres")
        self.to_postgres.target = standby._socket()

    # The disk

    def fill_disk(self) -> None:
        """Leaves no room on the disk."""
        for spare in (16, 256, 1024, 4096):  # more may be written meanwhile than was there
            with suppress(subprocess.CalledProcessError):
                used = shutil.disk_usage(self.folder).used
                _remount(self.folder, f"{used // 1024 + spare}k")
                return

    def free_disk(self) -> None:
        """Gives the room back."""
        _remount(self.folder, f"{self.disk_megabytes}m")

    def heal(self) -> None:
        """Everything runs again, and nothing is in the way."""
        if self.has_disk:
            self.free_disk()
        self.release()
        self.to_postgres.heal()
        self.to_redis.heal()
        self.start_again()

    def close(self) -> None:
        """Stops everything and removes the folder."""
        self.heal()
        self.to_postgres.stop()
        self.to_redis.stop()
        self.postgres.stop()
        self.valkey.stop()
        if self.has_disk:
            subprocess.run(["umount", "-l", self.folder], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Sends a signal to those that still live."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def until(condition: Any, seconds: float = 10.0) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _mounted(folder: Path, megabytes: int) -> bool:
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _remount(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True, capture_output=True)
