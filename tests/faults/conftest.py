"""Logs on servers that go down."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.killable_servers import KillableServers
from turnlog import SessionLog


@pytest.fixture
async def fragile_log(killable: KillableServers) -> AsyncIterator[SessionLog]:
    """A log on servers that will go down."""
    killable.start_again()
    async with SessionLog.open(killable.settings) as opened:
        yield opened
        killable.start_again()
