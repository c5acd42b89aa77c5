"""The Dockerfile and docker-compose.yml, as far as they can be checked without Docker: they name what is there, and
give away nothing."""

from __future__ import annotations

import re
import shlex
import tomllib

import yaml
from click.testing import CliRunner

from tests.support.pages import ROOT
from turnlog.infrastructure.cli.app import cli

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]


def test_the_image_is_made_from_what_is_there_and_has_the_extra() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    kept = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE))
    assert set(names) == kept
    assert all((ROOT / name).exists() for name in names)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"'\.\[(\w+)\]'", DOCKERFILE)) <= set(extras)


def test_the_image_runs_a_command_that_there_is_as_a_user_without_rights() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)
    command = yaml.safe_load(entry)
    assert command[:2] == ["turnlog", "serve"]
    helped = CliRunner().invoke(cli, ["serve", "--help"]).output
    assert all(option in helped for option in command if option.startswith("--"))
    (user,) = re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
    assert int(user) > 0
    assert f"--uid {user}" in DOCKERFILE
    assert DOCKERFILE.index(f"USER {user}") < DOCKERFILE.index("ENTRYPOINT")
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)
    assert command[command.index("--port") + 1] == port
    assert f"127.0.0.1:{port}/ready" in DOCKERFILE


def test_the_services_wait_for_each_other_and_say_how_they_are() -> None:
    assert set(SERVICES) == {"postgres", "valkey", "turnlog"}
    served = SERVICES["turnlog"]
    assert {name: one["condition"] for name, one in served["depends_on"].items()} == {
        "postgres": "service_healthy",
        "valkey": "service_healthy",
    }
    assert all("healthcheck" in SERVICES[name] for name in served["depends_on"])
    assert "HEALTHCHECK" in DOCKERFILE
    assert (served["read_only"], served["cap_drop"]) == (True, ["ALL"])
    for name, key in (("postgres", "DATABASE_URL"), ("valkey", "REDIS_URL")):
        assert f"@{name}:" in served["environment"][key]
    assert "PASSWORD:?" in served["environment"]["DATABASE_URL"]
    assert shlex.split(served["environment"]["TURNLOG_SERVE_TOKENS"])[0].startswith("${TURNLOG_SERVE_TOKENS:?set")
