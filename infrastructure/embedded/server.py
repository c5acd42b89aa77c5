"""One server of a data directory: it is started detached, and found again through its socket."""

from __future__ import annotations

import fcntl
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from turnlog.domain.errors import EmbeddedServersError
from turnlog.infrastructure.embedded.lock import Lock
from turnlog.infrastructure.embedded.sockets import fits_a_socket, listener, make_shelter

_log = logging.getLogger(__name__)

_START_SECONDS = 60.0  # recovery after a crash replays up to 1 GB of WAL
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.01


class Server(ABC):
    """A server in a folder of its own. It outlives the process that started it."""

    name: ClassVar[str]
    socket_name: ClassVar[str]
    farewells: ClassVar[tuple[signal.Signals, ...]]
    """The signals that stop it, the gentlest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "server.log"

    @abstractmethod
    def program(self) -> Path:
        """The server's program. Raises EmbeddedServersMissingError."""

    @abstractmethod
    def url(self) -> str:
        """The URL of the server."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server answers now."""

    @abstractmethod
    def _launch(self, alive: Lock) -> None:
        """Starts the server, detached and with the lock `alive`. Need not wait until it answers. No process of an
        earlier run lives."""

    def _account(self) -> pwd.struct_passwd | None:
        """The account as which the server runs; None for our own."""
        return None

    def ensure(self) -> str:
        """The URL of the server, which is started if it does not run. Call it under start.lock. Raises
        EmbeddedServersError."""
        deadline = time.monotonic() + _START_SECONDS
        pause = _POLL_SECONDS
        launched = False
        while not self.answers():
            if alive := self._claim():
                self._launch_once(alive, launched)
                launched = True
            elif time.monotonic() > deadline:  # it may be in recovery after a crash, so it is not stopped
                raise self._failure(f"has not answered for {_START_SECONDS:.0f} seconds")
            time.sleep(pause)
            pause = min(pause * 1.2, 0.5)  # during a recovery Postgres logs every connection
        return self.url()

    def stop(self) -> None:
        """Stops the server if it runs. The last opener calls it, under start.lock."""
        if not self.folder.exists():
            return
        pid = listener(self._socket())
        if any(self._ends_after(farewell, pid) for farewell in self.farewells):
            self._remove_shelter()
        else:
            _log.warning("%s in %s could not be stopped", self.name, self.folder)

    def _claim(self) -> Lock | None:
        """The alive.lock. None while a process of the server holds it."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        try:
            return Lock(self.folder / "alive.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    def _ends_after(self, farewell: signal.Signals, pid: int) -> bool:
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, farewell)
        deadline = time.monotonic() + (_STOP_SECONDS if pid else 1)
        while not self._is_gone():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _is_gone(self) -> bool:
        alive = self._claim()
        if alive:
            alive.release()
        return alive is not None

    def _launch_once(self, alive: Lock, launched: bool) -> None:
        try:
            if launched:
                raise self._failure("ended while it started")
            self._renew_log()
            self._prepare_sockets()
            self._launch(alive)
        finally:
            alive.hand_over()

    def _renew_log(self) -> None:
        with suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)
        self._give(self.log)

    def _run(self, *command: str | Path, alive: Lock) -> None:
        account = self._account()
        try:
            with self.log.open("ab") as log:
                subprocess.run(  # noqa: S603 - programs of the two packages, with arguments made here
                    command,
                    check=True,
                    cwd=self.folder,
                    env=_clean_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[alive.descriptor],
                    timeout=_START_SECONDS,
                    user=account and account.pw_uid,
                    group=account and account.pw_gid,
                    extra_groups=account and [],
                )
        except subprocess.SubprocessError as error:
            raise self._failure("could not be started") from error

    def _failure(self, what: str) -> EmbeddedServersError:
        return EmbeddedServersError(f"{self.name} {what}. The end of its log, {self.log}:\n{_tail(self.log)}")

    def _give(self, path: Path) -> None:
        if account := self._account():
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)

    def _socket(self) -> Path:
        return self._socket_folder() / self.socket_name

    def _socket_folder(self) -> Path:
        if fits_a_socket(self.folder / self.socket_name):
            return self.folder
        with suppress(OSError):
            return self._shelter_link().readlink()
        return self.folder

    def _shelter_link(self) -> Path:
        # It says where the socket is: not all processes have the same temporary directory.
        return self.folder / "sockets"

    def _prepare_sockets(self) -> None:
        """Makes a private folder for the socket, if the path of the server's own folder is too long for one."""
        if fits_a_socket(self.folder / self.socket_name) or self._is_private(self._socket_folder()):
            return
        shelter = make_shelter(self.socket_name)
        self._give(shelter)
        self._shelter_link().unlink(missing_ok=True)
        self._shelter_link().symlink_to(shelter)

    def _is_private(self, shelter: Path) -> bool:
        # Its name is known, so somebody else may have made it after the machine was restarted.
        try:
            found = shelter.lstat()
        except FileNotFoundError:
            return False
        account = self._account()
        owner = account.pw_uid if account else os.geteuid()
        return shelter != self.folder and stat.S_IMODE(found.st_mode) == 0o700 and found.st_uid == owner

    def _remove_shelter(self) -> None:
        if self._shelter_link().is_symlink():
            shutil.rmtree(self._socket_folder(), ignore_errors=True)
            self._shelter_link().unlink()


def _clean_environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    except OSError as error:
        return f"({error})"
