"""Tokens, the header of a proxy, and the laptop's token: who is known by them, and what a server refuses to do
without."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from turnlog import SYSTEM, InvalidInputError
from turnlog.infrastructure.server.serve_settings import ServeSettings, checked_serve_settings, given_tokens
from turnlog.infrastructure.server.tokens import Bearers, Token, TrustedHeader, tokens_of


def request(client: tuple[str, int] | None = ("10.0.0.1", 1), query: str = "", **headers: str | bytes) -> Request:
    raw = [
        (name.replace("_", "-").encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in headers.items()
    ]
    return Request({"type": "http", "headers": raw, "client": client, "query_string": query.encode()})


def test_a_token_is_a_users_or_the_systems() -> None:
    digest = hashlib.sha256(b"hidden").hexdigest()
    bearers = Bearers(
        tokens_of(f"user:u1=abc== system=def\n# a comment\nuser:system=ghi bare\nuser:u2=sha256:{digest}")
    )
    known = {"abc==": "u1", "def": SYSTEM, "ghi": "system", "bare": SYSTEM, "hidden": "u2"}
    for token, principal in known.items():
        assert bearers(request(authorization=f"Bearer {token}")) == principal
        assert bearers(request(authorization=f"bearer  {token}")) == principal
    for nobody in (
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic abc==",
        digest,
        f"Bearer sha256:{digest}",
        "Bearer \xff",
    ):
        assert bearers(request(authorization=nobody.encode("latin-1"))) is None
    assert bearers(request(query="token=def")) is None
    assert Bearers(tokens_of("def"), in_url=True)(request(query="token=def")) is SYSTEM


def test_a_token_is_kept_and_shown_as_its_digest_only() -> None:
    settings = ServeSettings(tokens=tokens_of("user:u1=very-secret"))
    assert "very-secret" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize("text", ["system=", "user:=x", "user:u1=", "sha256:abc", "system=sha256:" + "g" * 64])
def test_a_token_that_says_nothing_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        Token.of(text)
    assert "sha256:abc" not in str(raised.value)


def test_tokens_come_from_the_command_line_a_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("user:u2=b\n")
    environment = {"TURNLOG_SERVE_TOKENS": "user:u3=c", "TURNLOG_SERVE_TOKENS_FILE": str(file)}
    found = given_tokens(("user:u1=a",), None, environment)
    assert [token.user_id for token in found] == ["u1", "u2", "u3"]
    assert given_tokens((), None, {}) == ()


def test_a_header_is_believed_of_a_proxy_alone() -> None:
    header = TrustedHeader("X-User", ["10.0.0.0/8", "::1"])
    assert header(request(x_user="u1")) == "u1"
    assert header(request(x_user="ü".encode())) == "ü"
    assert header(request(("::1", 1), x_user="u1")) == "u1"
    for client in (("11.0.0.1", 1), ("no address", 1), None):
        assert header(request(client, x_user="u1")) is None
    for nobody in (b"", b" ", b"\xff"):
        assert header(request(x_user=nobody)) is None
    assert header(request()) is None
    twice = Request({"type": "http", "headers": [(b"x-user", b"u1"), (b"x-user", b"u2")], "client": ("10.0.0.1", 1)})
    assert header(twice) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "example.org"},
        {"host": "0.0.0.0", "is_laptop": True, "tokens": tokens_of("x")},
        {"trusted_header": "X-User"},
        {"trusted_proxies": ["10.0.0.1"]},
        {"trusted_header": "X-User", "trusted_proxies": ["nowhere"]},
        {"trusted_header": "X-User", "trusted_proxies": ["10.0.0.1"], "tokens": tokens_of("x")},
        {"port": 70_000},
    ],
)
def test_without_knowing_who_asks_it_listens_to_this_machine_only(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        checked_serve_settings(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"host": "localhost"},
        {"host": "127.1.2.3"},
        {"host": "::1"},
        {"host": "0.0.0.0", "tokens": tokens_of("x")},
        {"host": "0.0.0.0", "trusted_header": "X-User", "trusted_proxies": ["10.0.0.1"]},
    ],
)
def test_where_it_is_known_or_nobody_else_can_come_it_listens(settings: dict[str, Any]) -> None:
    assert checked_serve_settings(settings)
