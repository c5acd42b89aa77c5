"""Settings: what is given, what comes from the environment, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from turnlog import InvalidInputError, SessionLog, Settings

URL = "postgresql://u:secret@h/d"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a process that has set some of it."""
    for field in Settings.model_fields:
        monkeypatch.delenv(f"TURNLOG_{field.upper()}", raising=False)
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("REDIS_URL", "none")
    monkeypatch.setenv("TURNLOG_LEASE_SECONDS", "40")
    monkeypatch.setenv("TURNLOG_DATA_DIR", "")


def test_what_is_not_given_comes_from_the_environment() -> None:
    settings = Settings(reap_seconds=0)
    assert (settings.database_url, settings.redis_url, settings.lease_seconds) == (URL, "none", 40)
    assert (settings.reap_seconds, settings.data_dir) == (0, None)


def test_what_is_given_stands_and_none_is_an_embedded_server() -> None:
    settings = Settings(database_url=None, redis_url="redis://h", lease_seconds=50)
    assert (settings.database_url, settings.redis_url, settings.lease_seconds) == (None, "redis://h", 50)


def test_a_copy_does_not_read_the_environment_again(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(database_url=None)
    monkeypatch.setenv("TURNLOG_LEASE_SECONDS", "50")
    for copy in (settings.model_copy(update={"reap_seconds": 1}), Settings(**settings.model_dump())):
        assert (copy.database_url, copy.lease_seconds) == (None, 40)


def test_settings_of_a_mapping_take_nothing_from_the_environment() -> None:
    settings = Settings.from_env({"TURNLOG_DATA_DIR": "/d"})
    assert (settings.database_url, settings.lease_seconds, settings.data_dir) == (None, 30, Path("/d"))


async def test_a_log_is_opened_on_the_servers_of_the_environment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", settings.database_url or "")
    monkeypatch.setenv("TURNLOG_DATABASE_SCHEMA", settings.database_schema)
    async with SessionLog.open(Settings(reap_seconds=0)) as log:
        assert log.settings.database_url == settings.database_url
        assert log.settings.data_dir is None


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("TURNLOG_STORE_TIMEOUT_SECONDS", "1e300", "less than or equal to 86400"),
        ("TURNLOG_STORE_TIMEOUT_SECONDS", "inf", "finite number"),
        ("TURNLOG_REAP_SECONDS", "nan", "finite number"),
        ("TURNLOG_CACHE_TTL_SECONDS", "1e12", "less than or equal to"),
        ("TURNLOG_DATABASE_SCHEMA", 'a"b', "must be a plain name"),
        ("TURNLOG_DATABASE_SCHEMA", "a b", "must be a plain name"),
        ("TURNLOG_DATABASE_SCHEMA", "pg_mine", "must be a plain name"),
        ("TURNLOG_DATABASE_SCHEMA", "é" * 40, "longer than the 63 bytes"),
        ("DATABASE_URL", "postgresql+psycopg://u:secret@h/d", "write postgresql:// instead of postgresql.psycopg://"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_and_names_its_variable(variable: str, value: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason) as error:
        Settings.from_env({variable: value})
    assert error.value.field == variable
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "given",
    [{"lease_seconds": 0}, {"database_url": "postgres+psycopg2://u:secret@h/d"}],
)
def test_a_bad_setting_in_code_is_refused_without_the_password(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        Settings(**given)
    assert "secret" not in str(error.value)


def test_settings_that_another_process_handed_on_are_taken_as_they_are() -> None:
    brief = Settings(database_url=None).model_copy(update={"lease_seconds": 1})
    assert Settings.model_validate_json(brief.model_dump_json()) == brief
