"""URLs: what is shown of them, and what is refused before a driver could repeat it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from turnlog import InvalidInputError, SessionLog, Settings, TurnlogError
from turnlog.infrastructure.urls import SecretUrl, masked, without_secrets

ODD = [
    "s3cr3t",
    *(f"s3cr3t{odd}" for odd in (" with blank", "/x", "?x", "#x", "@x", ":x", "%x", "%40x", "&x=1", "\\x", "'x")),
    *(f"{odd}s3cr3t" for odd in ("12/", "p@", "a/b@")),
]
"""Passwords, not all of which were percent-encoded as they should be."""


def shown_of(settings: Settings) -> Iterator[str]:
    yield from (repr(settings), str(settings), f"{settings}", repr(settings.model_dump()), repr(vars(settings)))
    yield from (repr(settings.database_url), repr([settings.redis_url]), repr(settings.__dict__))


async def all_that_is_said(database_url: str, redis_url: str) -> str:
    """What is shown of the settings, and of every error on the way to a log."""
    said: list[str] = []
    try:
        settings = Settings(database_url=database_url, redis_url=redis_url, store_timeout_seconds=0.05)
        said += shown_of(settings)
        async with SessionLog.open(settings):
            pass
    except (ValidationError, TurnlogError) as error:
        cause: BaseException | None = error
        while cause is not None:
            said.append(f"{cause} {cause!r}")
            cause = cause.__cause__
    assert said
    return "\n".join(said)


@pytest.mark.parametrize("password", ODD)
@pytest.mark.parametrize(
    "redis", ["redis://:{}@127.0.0.1:1/0", "redis://{}@127.0.0.1:1/0", "redis://127.0.0.1:1/0?password={}"]
)
async def test_a_password_is_shown_nowhere(password: str, redis: str) -> None:
    for postgres in ("postgresql://u:{}@127.0.0.1:1/d", "postgresql://u@127.0.0.1:1/d?password={}"):
        said = await all_that_is_said(postgres.format(password), redis.format(password))
        assert "s3cr3t" not in said


async def test_a_password_in_a_connection_string_is_shown_nowhere() -> None:
    for password in ("s3cr3t", "'s3cr3t with blank'", r"s3cr3t\ x", r"'it\'s s3cr3t'"):
        said = await all_that_is_said(f"host=127.0.0.1 port=1 user=u password = {password} dbname=d", "none")
        assert "s3cr3t" not in said
        assert "dbname=d" in said


def test_a_url_is_a_whole_string_all_the_same() -> None:
    settings = Settings(database_url="postgresql://u:s3cr3t@h/d", redis_url="none")
    assert settings.database_url == "postgresql://u:s3cr3t@h/d"
    assert str(settings.database_url).replace("h/d", "h/e") == "postgresql://u:s3cr3t@h/e"
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    copied = settings.model_copy(update={"database_url": "postgresql://u:other@h/d"})
    assert "other" not in repr(copied)


def test_what_a_driver_says_has_no_password_in_it() -> None:
    url = "postgresql://u:a%2Fs3cr3t@h/d?sslpassword=other"
    said = without_secrets("failed: a/s3cr3t, a%2Fs3cr3t and other at h for u", url)
    assert said == "failed: ***, *** and *** at h for u"
    assert without_secrets('role "postgres"', "postgresql://postgres:postgres@h/d") == 'role "postgres"'
    assert repr(SecretUrl(url)) == "'postgresql://u:***@h/d?sslpassword=***'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://token@h:6379/0", "redis://***@h:6379/0"),
        ("postgresql://u:p/w@x@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p w@h/d", "postgresql://u:***@h/d"),
        ("redis://:p#w?@h/0", "redis://:***@h/0"),
        ("postgresql://u@h/d?password=a@b", "postgresql://u@h/d?password=***"),
        ("no URL, and no secret: 1/2 a@b", "no URL, and no secret: 1/2 a@b"),
    ],
)
def test_a_mask_covers_all_that_may_be_password(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql+asyncpg://u:s3cr3t@h/d", "SQLAlchemy: write postgresql:// instead of"),
        ("jdbc:postgresql://h/d", "a URL of JDBC: write postgresql://"),
        ("mysql://u:s3cr3t@h/d", "begins with postgresql://"),
        ("h/d", "begins with postgresql://"),
        ("postgresql://h/d\n", "begins or ends with white space"),
        ("postgresql://u:s3/cr3t@h/d", "percent-encoded: @ is %40"),
        ("postgresql://u:s3cr3t@h/d?schema=x", "`schema`, which is another library's: set TURNLOG_DATABASE_SCHEMA"),
        ("postgresql://h/d?currentSchema=x", "set TURNLOG_DATABASE_SCHEMA instead"),
        ("postgresql://h/d?sslmode=require&connection_limit=5", "turnlog keeps a pool of its own"),
        ("postgresql://h/d?pgbouncer=true", "turnlog sees a pooler by itself"),
        ("postgresql://h/d?statement_cache_size=0", "turnlog sees a pooler by itself"),
        ("postgresql://h/d?prepareThreshold=0", "turnlog sees a pooler by itself"),
        ("postgresql://h/d?charset=latin1", "turnlog speaks UTF-8"),
        ("postgresql://h/d?command_timeout=5", "TURNLOG_STORE_TIMEOUT_SECONDS"),
    ],
)
def test_a_url_that_is_not_libpqs_is_refused_in_one_sentence(url: str, reason: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        Settings.from_env({"DATABASE_URL": url})
    assert reason in str(error.value)
    assert "cr3t" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://h", "begins with redis://"),
        ("redis://:s3/cr3t@h/0", "percent-encoded: @ is %40"),
        (" redis://h", "begins or ends with white space"),
    ],
)
def test_a_url_that_is_not_of_redis_is_refused_in_one_sentence(url: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        Settings.from_env({"REDIS_URL": url})


@pytest.mark.parametrize("option", ["colour=red", "socket_timeout=soon"])
async def test_an_option_that_the_driver_of_redis_does_not_know_is_refused_at_open(
    settings: Settings, option: str
) -> None:
    odd = settings.model_copy(update={"redis_url": f"redis://:s3cr3t@h/0?{option}"})
    with pytest.raises(InvalidInputError, match="redis_url") as error:
        async with SessionLog.open(odd):
            pass
    assert "s3cr3t" not in f"{error.value} {error.value.__cause__!r}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h1:1,h2:2/d?target_session_attrs=read-write",
        "postgresql://u:p%40%2F@[::1]:5432/d",
        "postgresql:///d?host=/tmp/a@b&options=-c%20search_path=x",
        "postgres://postgres@/postgres?host=/x&port=5432",
        "host=/tmp dbname=d schema=x",
    ],
)
def test_what_libpq_takes_is_taken(url: str) -> None:
    assert Settings(database_url=url, redis_url="none").database_url == url
