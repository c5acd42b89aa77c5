"""The servers and a provider, where a program of a page, or an example, looks for its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from turnlog import Settings
from turnlog.testing import FakeProvider


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Iterator[FakeProvider]:
    """What `turnlog provider` is for a reader. The parameter is how many seconds a chunk takes."""
    with FakeProvider(pace=getattr(request, "param", 0)) as running:
        yield running


@pytest.fixture
def environment(settings: Settings, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that a reader's program reads."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url or "")
    monkeypatch.setenv("REDIS_URL", settings.redis_url or "")
    monkeypatch.setenv("TURNLOG_DATABASE_SCHEMA", settings.database_schema)
    monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
