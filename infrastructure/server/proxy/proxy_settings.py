"""What the recording proxy is told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from turnlog.domain.errors import InvalidInputError

Unrecorded = Literal["refuse", "pass"]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


def _checked_url(url: str) -> str:
    if not _URL.fullmatch(url):
        raise ValueError("must be http:// or https://, without user, query and fragment")
    return url.rstrip("/")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must be of letters, digits, _ and -, in lower case")
    return name


class ProxySettings(BaseModel):
    """To which providers it forwards, and how. An upstream is the address in front of `/chat/completions`, `/responses`
    and `/messages`. Requests of Anthropic's API go to the one called `anthropic`, all others to `openai`, unless their
    path names another one. Raises pydantic's ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstreams: dict[Annotated[str, AfterValidator(_checked_name)], Annotated[str, AfterValidator(_checked_url)]] = {}
    unrecorded: Unrecorded = Field(
        "refuse", description="what becomes of a request that cannot be recorded: `refuse`, or `pass` with a warning"
    )
    connect_seconds: float = Field(10.0, gt=0, le=3600, description="longest time to connect to an upstream")
    read_seconds: float = Field(600.0, gt=0, le=86_400, description="longest time without a byte from an upstream")
    connections: int = Field(1_000, ge=1, le=100_000, description="connections to upstreams, at most")


def upstreams_of(texts: Iterable[str]) -> dict[str, str]:
    """Upstreams as they are written: NAME=URL. Raises InvalidInputError."""
    found = dict[str, str]()
    for text in texts:
        name, is_named, url = text.partition("=")
        if not is_named:
            raise InvalidInputError("upstream", "must be NAME=URL")
        found[name.strip()] = url.strip()
    return found
