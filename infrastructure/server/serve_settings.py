"""What `turnlog serve` is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.server.asking import Authenticate
from turnlog.infrastructure.server.proxy.proxy_settings import ProxySettings, upstreams_of
from turnlog.infrastructure.server.router import MAX_BODY_BYTES
from turnlog.infrastructure.server.tokens import (
    Bearers,
    ProxyTokens,
    Readers,
    Token,
    TrustedHeader,
    is_loopback,
    networks,
    tokens_of,
)

PREFIX = "TURNLOG_SERVE_"
IN_WORKERS = f"{PREFIX}SETTINGS"
"""The variable by which a server's worker processes are told. It has digests of tokens, and no token."""


class ServeSettings(BaseModel):
    """Where it listens, and to whom. Raises pydantic's ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="address on which it listens")
    port: int = Field(8787, ge=0, le=65535, description="port on which it listens; 0 is a free one")
    workers: int = Field(1, ge=1, le=1_000, description="processes; each has a log of its own")
    tokens: tuple[Token, ...] = ()
    trusted_header: str | None = Field(None, description="header in which a proxy names the user")
    trusted_proxies: tuple[str, ...] = Field((), description="networks of the proxies that are believed")
    origins: tuple[str, ...] = Field((), description="origins whose pages may ask (CORS); none by default")
    max_body_bytes: int = Field(MAX_BODY_BYTES, ge=1, le=2**40, description="largest body, or line of one that streams")
    proxy: ProxySettings | None = None
    """The recording proxy; None for none."""
    heartbeat_seconds: float = Field(15.0, gt=0, le=3600, description="longest time without a byte in a stream")
    metrics_folder: Path | None = None
    """Where the processes of a server put their metrics, so that each can tell those of all."""
    is_laptop: bool = False
    """Whether the token may stand in the address."""
    is_read_only: bool = False
    """Whether nothing may be written."""

    @model_validator(mode="after")
    def _is_guarded(self) -> ServeSettings:
        networks(self.trusted_proxies)
        if (self.trusted_header is None) != (not self.trusted_proxies):
            raise ValueError("a trusted header needs the networks of its proxies, and these need the header")
        if self.trusted_header is not None and self.tokens:
            raise ValueError("there are tokens or a trusted header: one says who asks")
        if (self.is_laptop or not self.knows_users) and not is_loopback(self.host):
            raise ValueError(
                f"without tokens or a trusted header it listens on loopback only, and {self.host} is not: "
                f"give --token, --tokens-file or --trusted-header"
            )
        return self

    @property
    def knows_users(self) -> bool:
        """Whether it is said who may ask."""
        return bool(self.tokens) or self.trusted_header is not None

    def authenticate(self) -> Authenticate:
        """What says who asks."""
        known: Bearers | TrustedHeader = Bearers(self.tokens, in_url=self.is_laptop)
        if self.trusted_header is not None:
            known = TrustedHeader(self.trusted_header, self.trusted_proxies)
        return Readers(known) if self.is_read_only else known

    def authenticate_proxied(self) -> Authenticate:
        """What says who asks a provider through the proxy."""
        if self.trusted_header is not None:
            return TrustedHeader(self.trusted_header, self.trusted_proxies)
        return ProxyTokens(self.tokens, is_laptop=self.is_laptop)


def checked_serve_settings(fields: Mapping[str, Any]) -> ServeSettings:
    """The settings. Raises InvalidInputError."""
    try:
        return ServeSettings.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = ".".join(map(str, first["loc"])) or "settings"
        raise InvalidInputError(name, str(first["msg"]).removeprefix("Value error, ")) from None


def given_tokens(
    texts: tuple[str, ...], file: Path | None, environ: Mapping[str, str] = os.environ
) -> tuple[Token, ...]:
    """The tokens of the command line, of a file, and of the environment. Raises InvalidInputError and OSError."""
    found = [Token.of(text) for text in texts]
    named = environ.get(f"{PREFIX}TOKENS_FILE", "")
    path = file if file is not None else Path(named) if named else None
    if path is not None:
        found += tokens_of(path.read_text("utf-8"))
    return (*found, *tokens_of(environ.get(f"{PREFIX}TOKENS", "")))


def given_proxy(
    upstreams: tuple[str, ...], unrecorded: str | None, environ: Mapping[str, str] = os.environ
) -> dict[str, Any] | None:
    """The proxy of the command line and of the environment: `TURNLOG_SERVE_UPSTREAMS` holds upstreams, too, between
    white space. None where no upstream is named. Raises InvalidInputError."""
    found = upstreams_of([*environ.get(f"{PREFIX}UPSTREAMS", "").split(), *upstreams])
    chosen = {
        name: value
        for name in ("unrecorded", "connect_seconds", "read_seconds", "connections")
        if (value := environ.get(f"{PREFIX}UPSTREAM_{name.upper()}"))
    }
    if unrecorded is not None:
        chosen["unrecorded"] = unrecorded
    return {"upstreams": found, **chosen} if found else None
