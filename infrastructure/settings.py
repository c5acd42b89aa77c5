"""Settings, from arguments or from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, LiteralString

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.urls import SecretUrl, fault_of_database_url, fault_of_redis_url

_PLAIN_NAMES = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}
_DAY = 24 * 3600
"""Longest wait, in seconds: a longer one is a mistake, and would overflow a driver's timer."""
_SCHEMA = re.compile(r"[^\W\d][\w$]*")
_MAX_SCHEMA_BYTES = 63  # Postgres cuts off the rest of a longer name


class Settings(BaseModel):
    """Where the servers are, and the limits.

    A setting that is not given comes from the variable `TURNLOG_<NAME>`; `database_url` and `redis_url` come from
    DATABASE_URL and REDIS_URL. Empty variables count as unset. A server without a URL, or with None, is an embedded
    one. A URL is a `str` that shows itself without its password. Raises pydantic's ValidationError.
    """

    # A URL holds a password, so errors do not repeat it.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    database_url: str | None = Field(None, description="libpq URL of Postgres 14 or newer")
    redis_url: str | None = Field(None, description="URL of Redis or Valkey; `none` for no cache")
    data_dir: Path | None = Field(None, description="directory in which the embedded servers keep their data")
    database_schema: str = Field(
        "public", min_length=1, max_length=63, description="schema in the database: letters, digits, `_` and `$`"
    )
    cache_prefix: str = Field("turnlog:", description="prefix of every key and channel in Redis")
    cache_ttl_seconds: float = Field(
        12 * 3600, gt=0, le=366 * _DAY, description="seconds that a cached view or prompt stays after its last write"
    )
    prompt_memory_bytes: int = Field(
        32 * 1024 * 1024, ge=0, description="largest size of the chat prompts that a process remembers; 0 for none"
    )
    redis_timeout_seconds: float = Field(1.0, gt=0, le=_DAY, description="seconds to wait for an answer of Redis")
    store_timeout_seconds: float = Field(
        5.0, gt=0, le=_DAY, description="seconds to try to reach Postgres, and to wait for an answer"
    )
    lease_seconds: float = Field(
        30.0,
        gt=0,
        le=_DAY,
        description="seconds that a writer counts as alive after its last sign of life; longer than "
        "`store_timeout_seconds`, or a short outage costs a writer its steps",
    )
    reap_seconds: float = Field(
        30.0, ge=0, le=_DAY, description="seconds between two searches for steps whose writers are gone; 0 for none"
    )
    max_message_bytes: int = Field(16 * 1024 * 1024, gt=0, description="largest size of one text, as UTF-8")
    read_ahead_chunks: int = Field(
        64, ge=0, description="largest number of chunks of a stream that are recorded before they are shown; 0 for none"
    )
    commit_wait_ms: float = Field(
        2.0,
        ge=0,
        le=1000,
        description="milliseconds that a delta waits at most for those of other streams, so that they share a commit; "
        "0 for none. One stream alone never waits",
    )
    max_queued_events: int = Field(
        20_000, gt=0, description="events on their way to Postgres; beyond that appends wait for room"
    )
    max_queued_bytes: int = Field(64 * 1024 * 1024, gt=0, description="the same limit, in bytes")
    telemetry: bool | None = Field(
        None,
        description="spans and metrics by OpenTelemetry (extra `otel`); by default if the application has set up its "
        "SDK before the log is opened",
    )
    telemetry_content: bool = Field(
        False, description="what was said, in the spans, too: messages, arguments and results of tools, texts of errors"
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of the environment, or of these variables instead. Raises InvalidInputError."""
        try:
            return cls.model_validate({}, context=environ)
        except ValidationError as error:
            first = error.errors()[0]
            # Without its cause, which holds what was given, and so the password.
            raise InvalidInputError(variable(str(first["loc"][0])), first["msg"]) from None

    def with_urls(self, database_url: str | None, redis_url: str | None, data_dir: Path) -> Settings:
        """A copy with the URLs of embedded servers, and the directory of their data."""
        urls = {"database_url": _secret(database_url), "redis_url": _secret(redis_url)}
        return self.model_copy(update={**urls, "data_dir": data_dir})

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # A copy may have been given a plain `str`.
        for name, value in super().__repr_args__():
            yield name, _secret(value) if name in _PLAIN_NAMES else value

    @model_validator(mode="before")
    @classmethod
    def _with_environment(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, Mapping):
            return given
        environ = os.environ if info.context is None else info.context
        found = {field: environ.get(variable(field)) for field in cls.model_fields}
        return {**{field: value for field, value in found.items() if value}, **given}

    @field_validator("database_url")
    @classmethod
    def _is_for_postgres(cls, url: str | None) -> str | None:
        return _checked(url, fault_of_database_url)

    @field_validator("redis_url")
    @classmethod
    def _is_for_redis(cls, url: str | None) -> str | None:
        return url if url == "none" else _checked(url, fault_of_redis_url)

    @field_validator("database_schema")
    @classmethod
    def _can_be_a_schema(cls, name: str) -> str:
        if not _SCHEMA.fullmatch(name) or name.startswith("pg_"):
            raise _bad("must be a plain name: letters, digits, _ and $, with no digit in front, and no pg_")
        if len(name.encode("utf-8")) > _MAX_SCHEMA_BYTES:
            raise _bad("is longer than the {limit} bytes that Postgres takes", limit=_MAX_SCHEMA_BYTES)
        return name


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return _PLAIN_NAMES.get(field, f"TURNLOG_{field.upper()}")


def _secret(url: str | None) -> SecretUrl | None:
    return None if url is None else SecretUrl(url)


def _checked(url: str | None, fault_of: Callable[[str], str | None]) -> SecretUrl | None:
    if url is not None and (fault := fault_of(url)) is not None:
        raise _bad("{fault}", fault=fault)
    return _secret(url)


def _bad(reason: LiteralString, **values: Any) -> PydanticCustomError:
    return PydanticCustomError("bad_setting", reason, values)
