"""The child process of the third part: it answers the session's turn with tools. The first one is killed meanwhile."""

from __future__ import annotations

import asyncio

from turnlog.infrastructure.answer.tools import Tool
from turnlog.infrastructure.demo.child import Job, read_job
from turnlog.infrastructure.demo.client import open_client
from turnlog.infrastructure.demo.script import load_script
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM

SLOW_TOOL = "get_weather"
"""The tool that does not end in time."""


def tools(hangs: bool) -> list[Tool]:
    """The tools of the turn."""
    known = load_script().tools

    async def get_weather(city: str) -> str:  # noqa: ARG001 the model is asked for it
        """The weather of a city now."""
        await asyncio.sleep(3600 if hangs else 0.5)
        return known["get_weather"].final

    def get_time(zone: str) -> str:  # noqa: ARG001 the model is asked for it
        """The local time of a time zone."""
        return known["get_time"].final

    return [Tool(get_weather, idempotent=True), Tool(get_time)]


async def run(job: Job) -> None:
    """Answers, or goes on with what somebody else has begun."""
    async with open_client(job.base_url) as client, SessionLog.open(job.settings) as log:
        await log.session(job.session_id, SYSTEM).answer(client, model=job.model, tools=tools(job.hangs))


if __name__ == "__main__":
    asyncio.run(run(read_job()))
