"""The recording proxy, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.proxied import Proxied, proxied
from turnlog import SessionLog
from turnlog.testing import FakeProvider


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    """A provider whose script is empty."""
    async with FakeProvider([], strict=False) as made:
        yield made


@pytest.fixture
async def proxy(log: SessionLog, provider: FakeProvider) -> AsyncIterator[Proxied]:
    """A proxy in front of the provider."""
    async with proxied(log, provider.base_url) as made:
        yield made
