"""Who asks, for those who have no login of their own: bearer tokens, a header that a proxy sets, or one token for a
laptop.

A token is kept as its SHA-256 only, and never logged. It has to be as random as it is long: `openssl rand -hex 32`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import BaseModel, ConfigDict

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import checked_id
from turnlog.infrastructure.principal import SYSTEM, Principal
from turnlog.infrastructure.server.problems import READ_ONLY, RefusedError

HASHED = "sha256:"
IN_URL = "token"
"""The parameter of the address that holds a laptop's token: an EventSource can send no header."""

TOKEN_HEADER, NO_TOKEN = "x-turnlog-token", "-"
"""Where a client of the proxy has its token, and what stands in the path for none."""
_READS = ("GET", "HEAD")

Network = IPv4Network | IPv6Network


class Token(BaseModel):
    """A token's digest, and whose it is: a user's, or the system's (None)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    user_id: str | None

    @classmethod
    def of(cls, text: str) -> Self:
        """What an operator writes: `user:ID=TOKEN`, `system=TOKEN`, or a token alone, which is the system's. `TOKEN`
        may be `sha256:` and the digest in hexadecimal digits. Raises InvalidInputError, which does not repeat it."""
        who, is_named, token = text.strip().partition("=")
        if who == "system" and is_named:
            return cls(digest=_digest(token), user_id=None)
        if who.startswith("user:") and is_named:
            return cls(digest=_digest(token), user_id=checked_id(who.removeprefix("user:"), "token"))
        return cls(digest=_digest(text.strip()), user_id=None)


def tokens_of(text: str) -> tuple[Token, ...]:
    """Tokens between white space; a line that begins with # is a comment. Raises InvalidInputError."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return tuple(Token.of(word) for line in lines for word in line.split())


def _digest(token: str) -> str:
    if not token.startswith(HASHED):
        if not token:
            raise InvalidInputError("token", "must not be empty")
        return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    digest = token.removeprefix(HASHED).lower()
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise InvalidInputError("token", f"has no digest of 64 hexadecimal digits behind {HASHED}")
    return digest


class Bearers:
    """Knows requests by `Authorization: Bearer TOKEN`. With `in_url` also by the address, for a laptop."""

    def __init__(self, tokens: Iterable[Token], *, in_url: bool = False) -> None:
        self._tokens = [(token.digest, token) for token in tokens]
        self._in_url = in_url

    def __call__(self, request: Request) -> Principal | None:
        """Who asks. None for nobody."""
        given = self._given(request)
        return self.principal(given) if given else None

    def principal(self, given: bytes) -> Principal | None:
        """Whose token this is. None for nobody's."""
        digest = hashlib.sha256(given).hexdigest()
        found: Token | None = None
        for known, token in self._tokens:  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, digest):
                found = token
        if found is None:
            return None
        return SYSTEM if found.user_id is None else found.user_id

    def _given(self, request: Request) -> bytes:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return token.strip().encode("latin-1")
        return request.query_params.get(IN_URL, "").encode("utf-8", "replace") if self._in_url else b""


class ProxyTokens:
    """Knows requests through the proxy, whose `Authorization` is for the provider: by a token in the path, or in the
    header `X-Turnlog-Token`. On a laptop whoever reaches this machine by a name of its own is the system, without one:
    pages of other sites, which a browser may lead here, come by other names."""

    def __init__(self, tokens: Iterable[Token], *, is_laptop: bool = False) -> None:
        self._bearers = Bearers(tokens)
        self._is_laptop = is_laptop

    def __call__(self, request: Request) -> Principal | None:
        """Who asks. None for nobody."""
        in_path = request.path_params.get(IN_URL, NO_TOKEN)
        given = request.headers.get(TOKEN_HEADER, "") if in_path == NO_TOKEN else in_path
        if given:
            return self._bearers.principal(given.encode("utf-8", "replace"))
        return SYSTEM if self._is_laptop and is_loopback(_host(request.headers.get("host", ""))) else None


def _host(given: str) -> str:
    try:
        return urlsplit(f"//{given}").hostname or ""
    except ValueError:
        return ""


def laptop_token() -> tuple[str, Token]:
    """A new token of the system, as it is shown once, and as it is kept."""
    text = secrets.token_urlsafe(24)
    return text, Token.of(text)


class Readers:
    """Knows those whom `known` knows, and lets them read only."""

    def __init__(self, known: Callable[[Request], Principal | None]) -> None:
        self._known = known

    def __call__(self, request: Request) -> Principal | None:
        """Who asks. None for nobody. Raises RefusedError for somebody who wants to write."""
        principal = self._known(request)
        if principal is not None and request.method not in _READS:
            raise RefusedError(READ_ONLY)
        return principal


class TrustedHeader:
    """Knows users by a header that a proxy sets, and believes it of these proxies alone."""

    def __init__(self, name: str, proxies: Sequence[str]) -> None:
        self._name = name.lower().encode("latin-1")
        self._networks = networks(proxies)

    def __call__(self, request: Request) -> Principal | None:
        """Who asks. None for nobody, for whoever is no proxy, and where the header is there more than once."""
        if request.client is None or not self._is_proxy(request.client.host):
            return None
        values = [value for name, value in request.scope["headers"] if name == self._name]
        if len(values) != 1:
            return None
        try:
            return str(values[0].decode("utf-8")).strip() or None
        except UnicodeDecodeError:
            return None

    def _is_proxy(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def networks(texts: Iterable[str]) -> list[Network]:
    """The networks, such as 10.0.0.0/8. Raises InvalidInputError."""
    try:
        return [ip_network(text, strict=False) for text in texts]
    except ValueError as error:
        raise InvalidInputError("trusted_proxies", str(error)) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
