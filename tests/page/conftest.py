"""The page on a log of its own, in a Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from tests.page.looking import TOKEN, Looking, Talks
from tests.support.browsers import SOON, chromium
from tests.support.roles import AS_APPLICATION, as_application
from tests.support.serving import serve
from turnlog import Settings
from turnlog.infrastructure.embedded import Servers


@pytest.fixture(scope="module")
def talks(servers: Servers) -> Iterator[Talks]:
    """A log that is served, to write to."""
    settings = Settings(database_url=servers.database_url, redis_url=servers.redis_url, database_schema="page")
    with (
        as_application(settings) if AS_APPLICATION else nullcontext(),
        serve(settings, "--token", f"system={TOKEN}") as running,
        running.client(TOKEN) as client,
    ):
        yield Talks(client)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(params=["light"])
def looking(browser: Any, talks: Talks, request: pytest.FixtureRequest) -> Iterator[Looking]:
    """A tab of its own, on which nothing goes wrong, and which asks nobody but the routes that are described."""
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(SOON)
    tab = Looking(page, talks)
    yield tab
    context.close()
    assert tab.wrong == []
    assert not tab.strange_requests()
