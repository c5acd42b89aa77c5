"""Running the application under uvicorn: in this process, or in several."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

try:
    import uvicorn
except ModuleNotFoundError as error:
    raise ImportError('uvicorn is not installed: pip install "turnlog[server]"', name=error.name) from error

from turnlog.infrastructure.server.app import turnlog_app
from turnlog.infrastructure.server.serve_settings import IN_WORKERS, ServeSettings
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.telemetry import exposition_for

SHUTDOWN_SECONDS = 10
"""Longest time that requests have to come to their end when the server is told to. Streams end at once."""

_WORKER = "turnlog.infrastructure.server.app:app_of_worker"

# What is in an address is logged nowhere: a laptop's token may be. And who asks is what `authenticate` says, and not
# what a header says of where a request comes from.
_OPTIONS: dict[str, Any] = {
    "access_log": False,
    "log_level": "warning",
    "proxy_headers": False,
    "server_header": False,
    "lifespan": "on",
    "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
}


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, answers: Callable[[], object]) -> None:
        super().__init__(config)
        self._answers = answers

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the log, and takes requests from here on."""
        await super().startup(sockets=sockets)
        if self.started:
            self._answers()


def run(
    settings: Settings,
    serve: ServeSettings,
    environ: Mapping[str, str],
    bound: Callable[[str], object] = print,
    answers: Callable[[], object] = int,
) -> None:
    """Listens until a signal ends it. `bound` is told the address once it is known that it can be had; `answers` is
    called when the only process takes requests. `environ` is what the workers see beside the environment: the settings
    of the log. Raises OSError for an address that cannot be had."""
    with _bound(serve) as listening:
        host, port = listening.getsockname()[:2]
        bound(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        if serve.workers == 1:
            app = turnlog_app(settings, serve, exposition_for(settings, None))
            _Server(uvicorn.Config(app, **_OPTIONS), answers).run([listening])
            return
    with _metrics_folder() as folder:
        serve = serve.model_copy(update={"metrics_folder": folder})
        os.environ.update({**environ, IN_WORKERS: serve.model_dump_json()})
        uvicorn.run(_WORKER, factory=True, host=serve.host, port=port, workers=serve.workers, **_OPTIONS)


@contextmanager
def _metrics_folder() -> Iterator[str | None]:
    """A folder for the metrics of the workers: in memory, where a read-only container can be written to. None where
    nothing can be written: each worker then tells of itself alone."""
    memory = Path("/dev/shm")  # noqa: S108 the folder has a name of its own, and no rights for others
    try:
        folder = TemporaryDirectory(prefix="turnlog-metrics-", dir=memory if os.access(memory, os.W_OK) else None)
    except OSError:
        yield None
        return
    with folder:
        yield folder.name


def _bound(serve: ServeSettings) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in serve.host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((serve.host, serve.port))
    except BaseException:
        listening.close()
        raise
    return listening
