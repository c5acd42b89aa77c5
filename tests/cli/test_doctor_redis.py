"""`turnlog doctor` and a Redis that answers and refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

from tests.support.killable_servers import short_lived_folder
from tests.support.strict_valkey import ALLOWED, REFUSALS, saying, strict_valkey
from turnlog import Settings
from turnlog.infrastructure.cli.app import cli
from turnlog.infrastructure.cli.redis_probe import probe_redis
from turnlog.infrastructure.redis_refusals import NEEDED

pytestmark = pytest.mark.servers


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_lived_folder() as path:
        yield path


@pytest.mark.parametrize("what", REFUSALS)
async def test_doctor_names_what_redis_refuses_and_what_to_do(folder: Path, what: str) -> None:
    options, refused, advice = REFUSALS[what]
    with strict_valkey(folder, *options) as url:
        probe = await probe_redis(Settings(redis_url=url))
    (said,) = probe.refused
    code = refused[refused.index("(") :]
    assert probe.error is None
    assert said.what.endswith(code)
    assert refused.removesuffix(code).strip().removeprefix("to ") in said.what
    assert advice in said.advice


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "everything (LOADING)"),
        (b"-BUSY Redis is busy running a script.\r\n", "everything (BUSY)"),
        (b"-NOAUTH Authentication required.\r\n", "everything (NOAUTH)"),
        (b"-ERR max number of clients reached\r\n", "everything (MAXCLIENTS)"),
        (b"-ERR something new\r\n", "to read, write, subscribe, publish (ERR)"),
    ],
)
async def test_doctor_names_what_a_server_answers_to_everything(answer: bytes, what: str) -> None:
    async with saying(answer) as url:
        probe = await probe_redis(Settings(redis_url=url))
    assert probe.error is None
    assert [said.what for said in probe.refused] == [what]


async def test_what_one_kind_of_call_meets_hides_nothing_that_others_meet(folder: Path) -> None:
    options = (*REFUSALS["a full server"][0], *ALLOWED, "-@pubsub")
    with strict_valkey(folder, *options) as url:
        probe = await probe_redis(Settings(redis_url=url))
    assert [said.what for said in probe.refused] == ["to write (OOM)", "to subscribe, publish (NOPERM)"]


def test_doctor_is_content_with_a_user_who_may_only_what_is_needed_and_leaves_nothing(folder: Path) -> None:
    needed = [f"+{command.strip()}" for command in NEEDED.split(",")]
    mine = ("--user", "app", "on", ">pw", "~turnlog:*", "&turnlog:*", "-@all", *needed)
    with strict_valkey(folder, *mine, *ALLOWED) as url:
        arguments = ["--database-url", "postgresql://127.0.0.1:1/x", "--redis-url", url.replace("//", "//app:pw@")]
        found = json.loads(CliRunner().invoke(cli, [*arguments, "doctor", "--json"]).stdout)
        with Redis.from_url(url) as client:
            assert client.keys() == []
    assert found["redis"]["reachable"]
    assert "Redis" not in str(found["problems"])


def test_doctor_fails_where_redis_refuses_and_says_it_once(folder: Path, settings: Settings) -> None:
    with strict_valkey(folder, "--requirepass", "a-secret") as url:
        arguments = ["--database-url", str(settings.database_url), "--redis-url", url, "doctor", "--json"]
        done = CliRunner().invoke(cli, arguments)
    (problem,) = json.loads(done.stdout)["problems"]
    assert (done.exit_code, done.stderr) == (1, "")
    assert problem["what"] == "Redis refuses everything (NOAUTH)."
    assert problem["advice"].startswith("It wants a password: put it into REDIS_URL. Until ")
