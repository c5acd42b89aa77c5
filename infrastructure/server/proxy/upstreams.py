"""The providers that requests are forwarded to: only those of the settings, each at its address and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from turnlog.infrastructure.server.proxy.proxy_settings import ProxySettings

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade")
)  # fmt: skip
"""Headers that are for the next hop alone (RFC 9110, 7.6.1)."""
_OURS = frozenset((b"accept-encoding", b"content-length", b"cookie", b"expect", b"forwarded", b"host"))
"""What is said anew, and what is between the client and this server: a cookie is one of the application around it."""
_OUR_PREFIXES = (b"x-turnlog-", b"x-forwarded-")
_SECRETS = frozenset((b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"))
_SHORTEST_SECRET = 8
_PLAIN = "/:@!$&'()*+,;="
"""What stands in a path as it is (RFC 3986, 3.3)."""


class Forwarded(NamedTuple):
    """A request as it is sent on."""

    method: str
    url: httpx.URL
    headers: Headers
    body: bytes

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys in it: nothing that is stored or logged may have them."""
        values = [value.decode("latin-1") for name, value in self.headers if name.lower() in _SECRETS]
        words = {word for value in values for word in (value, value.rpartition(" ")[2])}
        return tuple(sorted((word for word in words if len(word) >= _SHORTEST_SECRET), key=len, reverse=True))


class Upstreams:
    """A pool of connections to the providers of the settings. `withheld` are further headers that are not sent on."""

    def __init__(self, settings: ProxySettings, withheld: Iterable[str] = ()) -> None:
        self._addresses = {name: httpx.URL(url) for name, url in settings.upstreams.items()}
        self._withheld = _OURS | {name.lower().encode("latin-1") for name in withheld}
        self._timeout = httpx.Timeout(
            settings.read_seconds, connect=settings.connect_seconds, pool=settings.connect_seconds
        ).as_dict()
        limits = httpx.Limits(max_connections=settings.connections, max_keepalive_connections=settings.connections)
        self._client = httpx.AsyncClient(limits=limits, follow_redirects=False)

    async def close(self) -> None:
        """Ends all connections."""
        await self._client.aclose()

    def has(self, name: str) -> bool:
        """Whether there is such an upstream."""
        return name in self._addresses

    def url(self, name: str, path: str, query: bytes) -> httpx.URL | None:
        """The address below the upstream's own; None for a path that leads out of it."""
        if any(segment in (".", "..") or "\\" in segment for segment in path.split("/")):
            return None
        base = self._addresses[name]
        below = base.raw_path.rstrip(b"/") + b"/" + quote(path, safe=_PLAIN).encode()
        try:
            return base.copy_with(raw_path=below + b"?" + query if query else below)
        except httpx.InvalidURL:
            return None

    async def send(self, asked: Forwarded) -> httpx.Response:
        """The provider's answer, of which nothing but the head has been read. Raises what httpx raises."""
        request = httpx.Request(
            asked.method, asked.url, headers=asked.headers, content=asked.body, extensions={"timeout": self._timeout}
        )
        return await self._client.send(request, stream=True)

    def headers(self, given: Iterable[tuple[bytes, bytes]]) -> Headers:
        """The client's headers, as they are sent on. An answer that is compressed could not be read."""
        kept = [
            (name, value)
            for name, value in passed_on(given)
            if name.lower() not in self._withheld and not name.lower().startswith(_OUR_PREFIXES)
        ]
        return [*kept, (b"Accept-Encoding", b"identity")]


def passed_on(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers without those that are for this hop alone."""
    given = list(headers)
    named = {one.strip().lower() for name, value in given if name.lower() == b"connection" for one in value.split(b",")}
    return [(name, value) for name, value in given if name.lower() not in _HOP_BY_HOP | named]


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text, in which no key stands any more."""
    for secret in secrets:
        text = text.replace(secret, "(the key)")
    return text


def said_by_body(data: bytes, secrets: Iterable[str]) -> Any:
    """The body of a refusal as the failure of a step: JSON where it is some, without keys."""
    text = without_secrets(data.decode("utf-8", "replace"), secrets)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
