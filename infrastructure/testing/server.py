"""The fake provider as an HTTP server on loopback."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Condition

from turnlog.infrastructure.testing.answers import Failure
from turnlog.infrastructure.testing.corpus import own_corpus
from turnlog.infrastructure.testing.errors import unknown_url
from turnlog.infrastructure.testing.playback import Playback, failed
from turnlog.infrastructure.testing.playbook import Playbook

HOST = "127.0.0.1"
_CLOSING_SECONDS = 5.0


class Server(ThreadingTCPServer):
    """Listens on loopback and answers each connection in a thread of its own. Raises OSError when it cannot."""

    # Not http.server's own class: it asks the resolver for the host's name, which can take seconds.
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, playbook: Playbook, port: int) -> None:
        self.playbook = playbook
        self.stopping = False
        self._connections: set[socket.socket] = set()
        self._changed = Condition()
        super().__init__((HOST, port), _Handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def opened(self, connection: socket.socket) -> None:
        """A connection is there."""
        with self._changed:
            self._connections.add(connection)
            if self.stopping:
                _hang_up(connection)

    def closed(self, connection: socket.socket) -> None:
        """A connection is gone."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def stop(self) -> None:
        """Stops listening and breaks off what is still being sent."""
        self.shutdown()
        with self._changed:
            self.stopping = True
            for connection in self._connections:
                _hang_up(connection)
            self._changed.wait_for(lambda: not self._connections, timeout=_CLOSING_SECONDS)
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Shows what a handler raised. A client that goes away between two requests is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # its are wider


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.closed(self.connection)

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            return self._play(failed(unknown_url(self.command, self.path).failure))
        models = [
            {"id": stream.name, "object": "model", "created": 0, "owned_by": stream.provider} for stream in own_corpus()
        ]
        body = json.dumps({"object": "list", "data": models}).encode()
        return self._play(Playback(((0.0, body),), is_stream=False, headers={"Content-Type": "application/json"}))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            return self._play(failed(Failure(411, message="A body of known length is needed.")))
        # Read before anything is refused: what is left of it would be taken for the next request.
        data = self.rfile.read(int(length))
        path = self.path.partition("?")[0]
        return self._play(self.server.playbook.play(self.command, path, dict(self.headers), data))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that the base class gives it
        """Keeps quiet: tests and the demo own the terminal."""

    def _play(self, playback: Playback) -> None:
        try:
            if playback.is_stream:
                self._send_stream(playback)
            else:
                self._send_whole(playback)
        except ConnectionError:
            self.close_connection = True
            if not self.server.stopping:
                self.server.playbook.count_disconnect()
        if playback.is_cut:
            self.close_connection = True

    def _send_stream(self, playback: Playback) -> None:
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        self._send_head(playback.status, {**headers, "Transfer-Encoding": "chunked"})
        for delay, event in playback.parts:
            self._wait(delay)
            self._send_chunk(event)
        if not playback.is_cut:
            self._send_chunk(b"")

    def _send_whole(self, playback: Playback) -> None:
        for delay, _ in playback.parts:
            self._wait(delay)
        if playback.is_cut:
            return
        body = b"".join(part for _, part in playback.parts)
        self._send_head(playback.status, {**playback.headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_chunk(self, data: bytes) -> None:
        # Unbuffered, so one call is one flush. An empty chunk ends the response: one without it was broken off.
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _wait(self, seconds: float) -> None:
        """Waits, but no longer than the client stays: a write alone would notice a lost client one chunk too late.

        Raises ConnectionAbortedError.
        """
        self.connection.settimeout(seconds)
        try:
            gone = not self.connection.recv(1, socket.MSG_PEEK)
        except (TimeoutError, BlockingIOError):
            gone = False
        finally:
            self.connection.settimeout(None)
        if gone:
            raise ConnectionAbortedError


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster
