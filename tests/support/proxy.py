"""A socket in front of the real Postgres that can be cut: before an append arrives, or before its answer does."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

Cut = Literal["nothing", "commit", "answer"]


class Proxy:
    """`url` leads through the proxy. `cut_next` names what of the next commit gets lost; the connection goes too."""

    def __init__(self, url: str) -> None:
        self._to = conninfo_to_dict(url)
        self._folder = tempfile.TemporaryDirectory(prefix="tl-proxy-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(Path(self._folder.name) / ".s.PGSQL.5432"))
        self._listener.listen()
        self.url = make_conninfo(**{**self._to, "host": self._folder.name, "port": 5432})
        self.cut_next: Cut = "nothing"
        self.cuts = 0
        self.refuses = False
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._listener.close()
        self.cut_all()
        self._folder.cleanup()

    def cut_all(self) -> None:
        """Cuts every connection."""
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refuses:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(Path(str(self._to["host"])) / f".s.PGSQL.{self._to.get('port', 5432)}"))
                self._open |= {client, server}
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if b"\0turnlog_append\0" in data and self.cut_next != "nothing":
                    self._cut_commit(client, server, data)
                    return
                server.sendall(data)
        self._drop(client, server)

    def _cut_commit(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        cut, self.cut_next = self.cut_next, "nothing"
        self.cuts += 1
        client.shutdown(socket.SHUT_RDWR)
        if cut == "answer":
            server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            while server.recv(65536):
                pass
        self._drop(client, server)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        self._drop(client, server)

    def _drop(self, *ends: socket.socket) -> None:
        for end in ends:
            self._open.discard(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
