"""The servers and a provider, where a program of a page, or an example, looks for its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.web_servers import variables
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
    for name, value in variables(settings, provider).items():
        monkeypatch.setenv(name, value)
