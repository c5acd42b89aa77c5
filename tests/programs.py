"""What the processes of tests do; see `processes`."""

from __future__ import annotations

from uuid import UUID

from tests.processes import Line
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.settings import Settings


async def append(line: Line, settings: Settings, session_id: UUID, name: str, count: int) -> None:
    """Says `count` messages and counts each, as soon as it is told to."""
    async with SessionLog.open(settings) as log:
        session = await log.session(session_id, SYSTEM)
        line.say("ready")
        await line.hear()
        for number in range(count):
            await session.say(f"{name}-{number}", message_id=f"{name}-{number}")
            await session.increment("said", name)
    line.say("done")
