"""Who asks through the proxy, and where requests go: nowhere but to the addresses of the settings."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import Request

from tests.support.proxied import KEY, USER, Proxied, proxied
from tests.support.raw_upstream import RawUpstream
from tests.support.served import asked
from turnlog import SYSTEM, SessionLog, Settings
from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.server.app import turnlog_app
from turnlog.infrastructure.server.proxy.proxy_settings import ProxySettings, upstreams_of
from turnlog.infrastructure.server.proxy.upstreams import Upstreams
from turnlog.infrastructure.server.serve_settings import checked_serve_settings, given_proxy
from turnlog.infrastructure.server.tokens import ProxyTokens, Token
from turnlog.testing import Answer, FakeProvider

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
TOKEN = "a-token-of-u1-0123456789"


def request(path: str = "/v1/models", host: str = "127.0.0.1:8787", **headers: str) -> Request:
    """A request of this host's, through a route of the proxy's."""
    parts = path.split("/")
    params = {"token": parts[2]} if parts[1] == "proxy" else {}
    given = {"host": host, **headers}
    sent = [(name.replace("_", "-").encode(), text.encode()) for name, text in given.items()]
    scope = {"type": "http", "path": path, "headers": sent, "path_params": params, "scheme": "http"}
    return Request({**scope, "query_string": b"", "server": ("127.0.0.1", 8787), "client": ("127.0.0.1", 5)})


def test_a_token_is_in_the_path_or_in_a_header_and_never_in_authorization() -> None:
    known = ProxyTokens([Token.of(f"user:u1={TOKEN}"), Token.of("system=another-token")])
    assert known(request(f"/proxy/{TOKEN}/v1/models")) == "u1"
    assert known(request("/proxy/another-token/v1/models")) is SYSTEM
    assert known(request("/proxy/-/v1/models", x_turnlog_token=TOKEN)) == "u1"
    assert known(request(x_turnlog_token=TOKEN)) == "u1"
    for given in (
        request(),
        request(authorization=f"Bearer {TOKEN}"),
        request("/proxy/-/v1/models"),
        request("/proxy/wrong/v1/models", x_turnlog_token=TOKEN),
        request(x_turnlog_token="wrong"),
    ):
        assert known(given) is None


def test_on_a_laptop_a_page_of_another_site_is_nobody() -> None:
    known = ProxyTokens([Token.of("a-token-of-the-system")], is_laptop=True)
    for host in ("127.0.0.1:8787", "localhost:8787", "[::1]:8787"):
        assert known(request(host=host)) is SYSTEM
    for host in ("evil.example", "evil.example:8787", "127.0.0.1.evil.example", "10.0.0.1", ""):
        assert known(request(host=host)) is None
    assert known(request("/proxy/wrong/v1/models")) is None


async def test_who_asks_is_known_before_a_body_is_read(proxy: Proxied, provider: FakeProvider) -> None:
    large = {"x": "y" * 2**21}  # more than it takes
    refused = await proxy.http.post("/v1/chat/completions", json=large)
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
    said = await proxy.http.post("/v1/messages", json=large)
    assert (said.status_code, said.json()["type"]) == (401, "error")
    assert provider.requests == []
    assert await proxy.sessions() == []


async def test_a_body_that_is_too_large_or_no_json_is_refused_in_the_providers_shape(
    proxy: Proxied, provider: FakeProvider
) -> None:
    large = await proxy.http.post("/v1/chat/completions", json={"x": "y" * 2**20}, headers=USER)
    assert (large.status_code, large.json()["error"]["code"]) == (413, "body-too-large")
    form = await proxy.http.post("/v1/chat/completions", content=b"{}", headers={**USER, "content-type": "text/plain"})
    assert form.status_code == 415
    assert provider.requests == []


@pytest.mark.parametrize(
    "path", ["../secret", "a/../../b", "./a", "a/..", "..", "%2e%2e/secret", "a%2f..%2fb", "a\\..\\b", "a%5c..%5cb"]
)
async def test_no_path_leads_out_of_an_upstream(proxy: Proxied, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
    writer.write(f"GET /v1/{path} HTTP/1.1\r\nHost: log\r\nX-User: u1\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 404 ")
    assert '"type": "not_found_error"' in answer


@pytest.mark.parametrize(
    "path",
    ["/evil.example/x", "//evil.example", "http://evil.example/", "@evil.example/", ":80@evil.example", "a?b#c", "é"],
)
async def test_no_path_leads_to_another_address(path: str) -> None:
    upstreams = Upstreams(ProxySettings(upstreams={"openai": "https://api.example:444/base/v1"}))
    url = upstreams.url("openai", path, b"q=1")
    assert url is not None
    assert (url.scheme, url.host, url.port, url.query) == ("https", "api.example", 444, b"q=1")
    assert url.raw_path.startswith(b"/base/v1/")
    await upstreams.close()


async def test_redirects_are_passed_on_and_not_followed(log: SessionLog) -> None:
    answer = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    async with RawUpstream(answer) as raw, proxied(log, raw.url) as proxy:
        for path, method in (("/v1/chat/completions", "POST"), ("/v1/models", "GET")):
            got = await proxy.http.request(method, path, json=BODY, headers=USER, follow_redirects=False)
            assert (got.status_code, got.headers["location"]) == (307, "http://127.0.0.1:9/")
    assert len(raw.requests) == 2


async def test_headers_go_both_ways_but_for_those_that_are_between_two(log: SessionLog) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nx-request-id: req_1\r\n"
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: keep-alive, x-hop\r\nx-hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"\r\n{}"
    )
    sent = {
        **USER, "authorization": f"Bearer {KEY}", "openai-organization": "org", "x-turnlog-token": TOKEN,
        "cookie": "session=1", "x-forwarded-for": "10.0.0.1", "accept-encoding": "gzip",
        "connection": "x-mine", "x-mine": "1",
    }  # fmt: skip
    async with RawUpstream(answer) as raw, proxied(log, raw.url) as proxy:
        got = await proxy.http.get("/v1/models?limit=2", headers=sent)
    assert got.content == b"{}"
    assert (got.headers["x-request-id"], got.headers.get_list("set-cookie")) == ("req_1", ["a=1", "b=2"])
    assert not {"x-hop", "keep-alive"} & set(got.headers)
    line, *lines = raw.requests[0].decode().split("\r\n\r\n")[0].split("\r\n")
    assert line == "GET /v1/models?limit=2 HTTP/1.1"
    headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
    assert (headers["authorization"], headers["openai-organization"]) == (f"Bearer {KEY}", "org")
    assert headers["accept-encoding"] == "identity"
    assert not {"x-turnlog-token", "cookie", "x-forwarded-for", "x-mine"} & set(headers)


async def test_what_is_not_recorded_is_passed_on(proxy: Proxied) -> None:
    models = await proxy.http.get("/v1/models", headers=USER)
    assert models.status_code == 200
    assert models.json()["object"] == "list"
    assert (await proxy.http.post("/v1/embeddings", json={}, headers=USER)).status_code == 404  # it has none
    assert proxy.proxy.counts.passed == 2
    assert await proxy.sessions() == []


async def test_turnlog_serve_records_for_whoever_has_a_token(settings: Settings) -> None:
    async with FakeProvider([Answer("one"), Answer("two")]) as provider:
        given = given_proxy((f"openai={provider.base_url}", f"own={provider.base_url}"), None, {})
        serve = checked_serve_settings({"tokens": [Token.of(f"user:u1={TOKEN}")], "proxy": given})
        app = turnlog_app(settings, serve)
        async with app.router.lifespan_context(app), asked(app) as http:
            for path in (f"/proxy/{TOKEN}/v1/chat/completions", f"/proxy/{TOKEN}/own/v1/chat/completions"):
                assert (await http.post(path, json=BODY)).status_code == 200
            unknown = await http.post(f"/proxy/{TOKEN}/other/v1/chat/completions", json=BODY)
            assert unknown.status_code == 404
            listed = await http.get("/sessions", headers={"authorization": f"Bearer {TOKEN}"})
            assert listed.json()["total"] == 2


def test_an_upstream_is_a_name_and_an_address() -> None:
    assert given_proxy((), None, {}) is None
    from_environment = given_proxy((), None, {"TURNLOG_SERVE_UPSTREAMS": "a=https://a.example b=https://b.example"})
    assert from_environment == {"upstreams": {"a": "https://a.example", "b": "https://b.example"}}
    with pytest.raises(InvalidInputError, match="NAME=URL"):
        upstreams_of(["https://a.example"])
    wrong: list[dict[str, Any]] = [
        {"openai": "ftp://a.example"}, {"openai": "https://user:pass@a.example"}, {"openai": "https://a.example/?q"},
        {"Open AI": "https://a.example"}, {"": "https://a.example"},
    ]  # fmt: skip
    for upstreams in wrong:
        with pytest.raises(InvalidInputError):
            checked_serve_settings({"proxy": {"upstreams": upstreams}})
