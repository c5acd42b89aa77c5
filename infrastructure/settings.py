"""Settings, from arguments or from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, LiteralString

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from turnlog.domain.errors import InvalidInputError

_PLAIN_NAMES = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}
_DAY = 24 * 3600
"""The longest of waits: what is longer is a slip, and overflows somewhere below."""
_DRIVER = re.compile(r"postgres(?:ql)?\+\w+://")
_SCHEMA = re.compile(r"[^\W\d][\w$]*")
_MAX_SCHEMA_BYTES = 63  # Postgres would cut the rest off


class Settings(BaseModel):
    """Where the servers are, and the limits. What is not given comes from `TURNLOG_<NAME>`, `database_url` and
    `redis_url` from DATABASE_URL and REDIS_URL; empty variables count as unset. A server without a URL is an embedded
    one, and so is one whose URL is given as None. Raises pydantic's ValidationError."""

    # A URL holds a password: it is not repeated in an error.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    database_url: str | None = Field(None, description="a libpq URL of Postgres 14 or newer")
    redis_url: str | None = Field(None, description="a URL of Redis or Valkey; `none` to do without a cache")
    data_dir: Path | None = Field(None, description="where the embedded servers keep their data")
    database_schema: str = Field(
        "public",
        min_length=1,
        max_length=_MAX_SCHEMA_BYTES,
        description="the schema in the database: letters, digits, `_` and `$`",
    )
    cache_prefix: str = Field("turnlog:", description="in front of every Redis key")
    cache_ttl_seconds: float = Field(
        12 * 3600, gt=0, le=366 * _DAY, description="how long a view stays cached after it was last written"
    )
    prompt_memory_bytes: int = Field(
        32 * 1024 * 1024,
        ge=0,
        description="of chat prompts that this process read last, so that Redis need not be asked; `0`: none",
    )
    redis_timeout_seconds: float = Field(1.0, gt=0, le=_DAY, description="how long to wait for Redis")
    store_timeout_seconds: float = Field(
        5.0, gt=0, le=_DAY, description="how long to try to reach Postgres, and to wait for an answer"
    )
    lease_seconds: float = Field(
        30.0,
        gt=0,
        le=_DAY,
        description="how long a writer counts as alive after it was last heard of; make it longer than "
        "`store_timeout_seconds`, so that a short outage of Postgres does not cost a writer its steps",
    )
    reap_seconds: float = Field(
        30.0, ge=0, le=_DAY, description="how often an open log ends steps whose writers are gone; `0`: never"
    )
    max_message_bytes: int = Field(16 * 1024 * 1024, gt=0, description="of one text, as UTF-8")
    read_ahead_chunks: int = Field(
        64, ge=0, description="chunks of a recorded stream that are read before they are shown, at most; `0`: none"
    )
    max_queued_events: int = Field(
        20_000, gt=0, description="events on their way to Postgres; above that, appends wait for room"
    )
    max_queued_bytes: int = Field(64 * 1024 * 1024, gt=0, description="the same, in bytes")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of the environment, or of what is given in its place. Raises InvalidInputError."""
        try:
            return cls.model_validate({}, context=environ)
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidInputError(variable(str(first["loc"][0])), first["msg"]) from error

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
    def _without_driver(cls, url: str | None) -> str | None:
        if url is not None and (match := _DRIVER.match(url)):
            raise _bad("is a URL of SQLAlchemy: write postgresql:// instead of {found}", found=match[0])
        return url

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


def _bad(reason: LiteralString, **values: Any) -> PydanticCustomError:
    return PydanticCustomError("bad_setting", reason, values)
