"""Logs whose leases run out soon."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.writers import BRIEF
from turnlog import SessionLog, Settings


@pytest.fixture
async def brief_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """A log whose lease runs out soon."""
    async with SessionLog.open(settings.model_copy(update={"lease_seconds": BRIEF, "reap_seconds": 0})) as opened:
        yield opened
