"""Settings, from arguments or from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from turnlog.domain.errors import InvalidInputError

_PLAIN_NAMES = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}


class Settings(BaseModel):
    """Where the servers are, and the limits. What is not given comes from `TURNLOG_<NAME>`, `database_url` and
    `redis_url` from DATABASE_URL and REDIS_URL; a server without a URL is an embedded one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str | None = Field(None, description="libpq URL of Postgres 14 or newer")
    redis_url: str | None = Field(None, description="URL of Redis or Valkey; `none` to do without a cache")
    data_dir: Path | None = Field(None, description="where the embedded servers keep their data")
    database_schema: str = Field("public", min_length=1, max_length=63)
    cache_prefix: str = Field("turnlog:", description="in front of every Redis key")
    cache_ttl_seconds: float = Field(12 * 3600, gt=0)
    prompt_memory_bytes: int = Field(
        32 * 1024 * 1024, ge=0, description="of prompts that were read last, in this process; 0: none"
    )
    redis_timeout_seconds: float = Field(1.0, gt=0)
    store_timeout_seconds: float = Field(5.0, gt=0, description="how long to try to reach Postgres")
    lease_seconds: float = Field(30.0, gt=0, description="how long a writer counts as alive without a sign of life")
    reap_seconds: float = Field(30.0, ge=0, description="how often to end steps whose writers are gone; 0: never")
    max_message_bytes: int = Field(16 * 1024 * 1024, gt=0, description="of one text, as UTF-8")
    read_ahead_chunks: int = Field(64, ge=0, description="of a recorded stream, before they are shown")
    max_queued_events: int = Field(20_000, gt=0)
    max_queued_bytes: int = Field(64 * 1024 * 1024, gt=0)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of the environment. Empty variables count as unset. Raises InvalidInputError."""
        environ = os.environ if environ is None else environ
        names = {field: _PLAIN_NAMES.get(field, f"TURNLOG_{field.upper()}") for field in cls.model_fields}
        given = {field: environ[name] for field, name in names.items() if environ.get(name)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidInputError(names[str(first["loc"][0])], first["msg"]) from error
