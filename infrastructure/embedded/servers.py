"""The servers of a data directory, and the openings that share them."""

from __future__ import annotations

import atexit
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from turnlog.domain.errors import EmbeddedServersError
from turnlog.infrastructure.embedded.lock import Lock
from turnlog.infrastructure.embedded.postgres import Postgres
from turnlog.infrastructure.embedded.programs import missing
from turnlog.infrastructure.embedded.valkey import Valkey


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers' URLs, one for libpq and one for redis-py. None for a server that was not asked for."""

    database_url: str | None
    redis_url: str | None


def default_data_dir() -> Path:
    """The data directory: TURNLOG_DATA_DIR, else the platform's directory for a user's data (XDG on Linux).

    Raises EmbeddedServersMissingError if the platform's directory is needed and platformdirs is not installed.
    """
    if chosen := os.environ.get("TURNLOG_DATA_DIR"):
        return Path(chosen)
    try:
        from platformdirs import user_data_path  # noqa: PLC0415 in the extra `embedded`
    except ImportError as error:
        raise missing("platformdirs") from error
    return user_data_path("turnlog", appauthor=False)


class EmbeddedServers:
    """One opening of a data directory. The last opening to close, in any process, stops the servers.

    A process that is killed counts as gone. If its opening was the last one, the servers stay up for the next one. A
    forked child has no opening until it calls `start` itself.

    Under root, Postgres runs as the account `embedded_postgres`, which is made if there is none. It gets permission to
    pass through the folders above the data directory and above the installed package (o+x, not o+r).
    """

    def __init__(self, data_dir: Path, *, postgres: bool = True, redis: bool = True) -> None:
        """Touches nothing yet. `postgres` and `redis` say which servers `start` starts."""
        self._data_dir = data_dir.expanduser().absolute()
        self._postgres = Postgres(self._data_dir / "postgres")
        self._valkey = Valkey(self._data_dir / "valkey")
        self._wants_postgres = postgres
        self._wants_redis = redis
        self._users: Lock | None = None

    def start(self) -> Servers:
        """Starts the servers that do not run, and returns their URLs. Blocks for about one second, or two in an empty
        directory. May be called again, to start a server that has died meanwhile.

        Raises EmbeddedServersMissingError if the extra `embedded` is not installed, and EmbeddedServersError, with the
        end of the server's log, if a server does not start.
        """
        self._check_installed()
        with _as_our_error(self._data_dir), self._alone():
            is_new = self._join()
            try:
                return self._ensure_all()
            except BaseException:
                if is_new:
                    self._leave()
                raise

    def close(self) -> None:
        """Ends this opening, and stops the servers if it is the last one. Does nothing if it is not open."""
        if self._is_open():
            with _as_our_error(self._data_dir), self._alone():
                self._leave()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_installed(self) -> None:
        if self._wants_postgres:
            self._postgres.program()
        if self._wants_redis:
            self._valkey.program()

    def _ensure_all(self) -> Servers:
        return Servers(
            database_url=self._postgres.ensure() if self._wants_postgres else None,
            redis_url=self._valkey.ensure() if self._wants_redis else None,
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = Lock(self._data_dir / "start.lock", fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.release()

    def _is_open(self) -> bool:
        return self._users is not None and self._users.is_held()

    def _join(self) -> bool:
        if self._is_open():
            return False
        self._users = Lock(self._data_dir / "users.lock", fcntl.LOCK_SH)
        atexit.register(self.close)  # so that no servers stay when a program ends without closing
        return True

    def _leave(self) -> None:
        users, self._users = self._users, None
        atexit.unregister(self.close)
        if users is None or not users.is_held():  # another thread has closed it
            return
        try:
            if users.is_mine_alone():
                self._postgres.stop()
                self._valkey.stop()
        finally:
            users.release()


@contextmanager
def _as_our_error(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedServersError(f"no servers in the data directory {data_dir}: {error}") from error
