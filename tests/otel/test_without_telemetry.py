"""A log that tells nobody: nothing of OpenTelemetry is imported, and nothing is done for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.telemetry import Telemetry, set_up
from turnlog import InvalidInputError, SessionLog, Settings
from turnlog.infrastructure.observer import SILENT
from turnlog.infrastructure.otel.otel_observer import _quiet

PROGRAM = """
import asyncio, builtins, sys
{before}
imports, importers = builtins.__import__, set()

def watched(name, globals=None, *rest):
    if name.partition(".")[0] in ("opentelemetry", "prometheus_client"):
        importers.add((globals or {{}}).get("__name__"))
    return imports(name, globals, *rest)

builtins.__import__ = watched
from turnlog import SessionLog, Settings

async def main():
    async with SessionLog.open(Settings.from_env()) as log:
        session = await log.start_session("u1")
        async with session.completion("m") as completion:
            await completion.text("Hi")
            await completion.finish()
        await session.prompt()
        await session.view()

asyncio.run(main())
print(*(name for name in importers if name.startswith("turnlog")))
print(*(name for name in sys.modules if name.startswith("turnlog.infrastructure.otel")))
"""
# Others of an application may well import it: redis does where it is installed.
AS_IF_ABSENT = "sys.modules['opentelemetry'] = sys.modules['prometheus_client'] = None"


@pytest.mark.parametrize("before", ["", AS_IF_ABSENT, "import opentelemetry.sdk.trace, opentelemetry.sdk.metrics"])
def test_nothing_of_opentelemetry_is_imported(settings: Settings, before: str) -> None:
    env = os.environ | {
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "TURNLOG_DATABASE_SCHEMA": settings.database_schema,
    }
    program = PROGRAM.format(before=before)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


async def test_without_telemetry_commits_are_told_to_followers_alone(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        parts = log._parts
        assert parts.observer is SILENT
        assert parts.group_commit.on_stored == parts.watcher.stored


async def test_it_can_be_turned_off(settings: Settings, telemetry: Telemetry) -> None:
    async with SessionLog.open(settings.model_copy(update={"telemetry": False})) as log:
        await log.start_session("u1")
    assert telemetry.spans() == []
    assert telemetry.names() == set()


async def test_it_can_be_turned_on_before_the_providers_are_set_up(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"telemetry": True})) as log:
        with set_up() as telemetry:
            await log.start_session("u1")
            assert len(telemetry.spans("turnlog.commit")) == 1
            assert telemetry.value("turnlog.events") == 1


async def test_what_is_wanted_and_not_installed_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("turnlog.infrastructure.otel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InvalidInputError, match=r"turnlog\[otel\]"):
        async with SessionLog.open(settings.model_copy(update={"telemetry": True})):
            pass


def test_what_fails_in_telemetry_is_logged_and_hinders_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told = list[str]()

    @_quiet
    def tell(what: str) -> None:
        told.append(what)
        raise ZeroDivisionError

    tell("one")
    assert told == ["one"]
    assert [record.message for record in caplog.records] == ["telemetry has failed"]
