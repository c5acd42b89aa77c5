"""The provider as an HTTP server on loopback."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Condition, Thread
from typing import Any, Self

from .corpus import Stream, own_corpus
from .errors import RequestRefusedError
from .playbook import Playback, Playbook

_CLOSING_SECONDS = 5.0


class Provider:
    """An OpenAI-compatible provider that answers with recorded streams; a context manager.

    `streams` are the ones it can play (the package's own when None). A request picks one by `model`: the stream's
    name, `NAME#cut=3` to lose the connection after three chunks, or "scripted" for the next name given to `script`.
    Each chunk keeps the pace it was recorded at, else `pace` seconds; `pace=0` plays as fast as possible.
    `strict` refuses messages that a real provider would refuse.
    """

    def __init__(self, streams: Iterable[Stream] | None = None, *, pace: float = 0.015, strict: bool = True) -> None:
        self._playbook = Playbook(own_corpus() if streams is None else streams, pace=pace, strict=strict)
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Listens on a free port of 127.0.0.1. Raises `RuntimeError` when it does already, `OSError` when it cannot."""
        if self._server is not None:
            raise RuntimeError("the provider is already running")
        self._server = _Server(self._playbook)
        Thread(target=self._server.serve_forever, args=(0.02,), name="provider", daemon=True).start()

    def close(self) -> None:
        """Stops listening and breaks off what is still streaming. A second close does nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def url(self) -> str:
        """The base URL for a client, `http://127.0.0.1:PORT/v1`. Raises `RuntimeError` when it is not running."""
        if self._server is None:
            raise RuntimeError("the provider is not running")
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of the completion requests so far, refused ones too, in order."""
        return self._playbook.requests

    @property
    def disconnects(self) -> int:
        """How many clients went away before their stream had ended."""
        return self._playbook.disconnects

    def script(self, names: Sequence[str]) -> None:
        """Appends to what model "scripted" plays next. Raises `ValueError` for a stream that is not there."""
        self._playbook.script(names)


class _Server(ThreadingTCPServer):
    # Not http.server's own class: it asks the resolver for the host's name, which can take seconds.
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, playbook: Playbook) -> None:
        self.playbook = playbook
        self.stopping = False
        self._connections: set[socket.socket] = set()
        self._changed = Condition()
        super().__init__(("127.0.0.1", 0), _Handler)

    def opened(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.add(connection)
            if self.stopping:
                _hang_up(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def stop(self) -> None:
        self.shutdown()
        with self._changed:
            self.stopping = True
            for connection in self._connections:
                _hang_up(connection)
            self._changed.wait_for(lambda: not self._connections, timeout=_CLOSING_SECONDS)
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that goes away between two requests is no news; anything else is a bug and is shown.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # its are wider


class _Handler(BaseHTTPRequestHandler):
    server: _Server
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
            return self._refuse(self._unknown_url())
        models = [
            {"id": stream.name, "object": "model", "created": 0, "owned_by": stream.provider}
            for stream in self.server.playbook.streams.values()
        ]
        return self._send_json(HTTPStatus.OK, {"object": "list", "data": models})

    def do_POST(self) -> None:
        try:
            data = self._read_body()
            if self.path != "/v1/chat/completions":
                raise self._unknown_url()
            playback = self.server.playbook.answer(_json_object(data))
        except RequestRefusedError as refusal:
            return self._refuse(refusal)
        return self._play(playback)

    def _read_body(self) -> bytes:
        # Read before anything is refused: what is left of it would be taken for the next request.
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            raise RequestRefusedError("A body of known length is needed.", status=HTTPStatus.LENGTH_REQUIRED)
        return self.rfile.read(int(length))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that the base class gives it
        """Keeps quiet: tests and the demo own the terminal."""

    def _play(self, playback: Playback) -> None:
        try:
            self._start_stream()
            for delay, event in playback.events:
                if self._gone_within(delay):
                    raise ConnectionAbortedError
                self._send_chunk(event)
        except ConnectionError:
            return self._lost()
        if playback.cut:
            self.close_connection = True
            return None
        return self._send_chunk(b"")

    def _start_stream(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send_chunk(self, data: bytes) -> None:
        # Unbuffered, so one call is one flush. An empty chunk ends the response: one without it was broken off.
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _gone_within(self, seconds: float) -> bool:
        """Waits, but no longer than the client stays: a write alone would notice a lost client one chunk too late."""
        self.connection.settimeout(seconds)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except (TimeoutError, BlockingIOError):
            return False
        finally:
            self.connection.settimeout(None)

    def _lost(self) -> None:
        self.close_connection = True
        if not self.server.stopping:
            self.server.playbook.count_disconnect()

    def _unknown_url(self) -> RequestRefusedError:
        text = f"Unknown request URL: {self.command} {self.path}."
        return RequestRefusedError(text, code="unknown_url", status=HTTPStatus.NOT_FOUND)

    def _refuse(self, refusal: RequestRefusedError) -> None:
        self._send_json(refusal.status, refusal.body())

    def _send_json(self, status: HTTPStatus, body: Mapping[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RequestRefusedError("We could not parse the JSON body of your request.")
    return body


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster
