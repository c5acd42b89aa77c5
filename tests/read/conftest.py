"""A session to read."""

from __future__ import annotations

import pytest

from tests.support.views import longer_turn
from turnlog import Session, SessionLog


@pytest.fixture
async def talk(log: SessionLog) -> Session:
    """A session of four turns, the last one answered, read once after each."""
    session = await log.start_session(user_id="u1")
    for number in range(4):
        await longer_turn(session, number)
    return session
