"""Poolers in front of the real Postgres: pgbouncer where it is installed, and one that only makes up its keys."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_KEY = b"K\x00\x00\x00\x0c"
"""The head of the message with the key for cancelling: the number of the server process, and a secret."""


@contextmanager
def pgbouncer(url: str, mode: str) -> Iterator[str]:
    """A URL that leads through pgbouncer, without prepared statements and with this pool mode."""
    assert PGBOUNCER is not None
    to = conninfo_to_dict(url)
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    folder.chmod(0o777)
    (folder / "ini").write_text(f"""
        [databases]
        * = host={to["host"]} port={to["port"]} user={to["user"]}
        [pgbouncer]
        listen_port = 6432
        unix_socket_dir = {folder}
        auth_type = any
        pool_mode = {mode}
        default_pool_size = 20
        ignore_startup_parameters = options
        logfile = {folder}/log
        """)
    account = pwd.getpwuid(Path(str(to["host"])).stat().st_uid).pw_name
    command = [PGBOUNCER, "-q", "-u", account, str(folder / "ini")]
    with subprocess.Popen(command) as running:
        try:
            while not (folder / ".s.PGSQL.6432").exists():
                assert running.poll() is None, (folder / "log").read_text()
                time.sleep(0.01)
            yield make_conninfo(**{**to, "host": str(folder), "port": 6432})
        finally:
            running.kill()
            running.wait()
            shutil.rmtree(folder, ignore_errors=True)


class KeyMaker:
    """A way to the database that makes up the keys for cancelling, as poolers do. `sent` is all that went through."""

    def __init__(self, url: str) -> None:
        self._to = conninfo_to_dict(url)
        self._folder = tempfile.TemporaryDirectory(prefix="t-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(Path(self._folder.name) / ".s.PGSQL.5432"))
        self._listener.listen()
        self.url = make_conninfo(**{**self._to, "host": self._folder.name, "port": 5432})
        self.sent = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no connection any more."""
        self._listener.close()
        self._folder.cleanup()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(Path(str(self._to["host"])) / f".s.PGSQL.{self._to['port']}"))
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client, server:
            while data := client.recv(65536):
                self.sent += data
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        is_known = False
        with suppress(OSError):
            while data := server.recv(65536):
                if not is_known and (at := data.find(_KEY)) >= 0:
                    is_known, at = True, at + len(_KEY)
                    data = data[:at] + b"\x7f\x00\x00\x01" + data[at + 4 :]
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
