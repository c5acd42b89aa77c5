"""The command line on the test's own database."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner, Result

from tests.support.command_line import Run, Started, on_a_log, where
from turnlog import Settings
from turnlog.infrastructure.cli.app import cli


@pytest.fixture(autouse=True)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own schema, for which there is no option, if it has one, and nothing of the developer's."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    if "settings" in request.fixturenames:
        monkeypatch.setenv("TURNLOG_DATABASE_SCHEMA", request.getfixturevalue("settings").database_schema)


@pytest.fixture
def run(settings: Settings) -> Run:
    """Runs a command on the test's own database; says what came out."""

    def invoke(*args: str, env: dict[str, str] | None = None, stdin: str | None = None) -> Result:
        return CliRunner(env=env).invoke(cli, [*where(settings), *args], input=stdin)

    return invoke


@pytest.fixture
def started(settings: Settings) -> Started:
    """Does some work on a log and gives the id of the session that it returns."""
    return lambda work: on_a_log(settings, work)


@pytest.fixture
def turnlog(settings: Settings) -> list[str]:
    """How a command on the test's own database begins, for a process of its own."""
    return [sys.executable, "-m", "turnlog", *where(settings)]
