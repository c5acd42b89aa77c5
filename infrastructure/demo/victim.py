"""The child process of the second part: a handler that records an answer, shows its deltas, and is killed.

It reads its job from stdin as a line of JSON, and writes each delta to stdout as a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from turnlog.domain.step_appends import AppendReasoning, AppendText
from turnlog.infrastructure.demo.child import Job, read_job
from turnlog.infrastructure.demo.client import Answerer, open_client
from turnlog.infrastructure.demo.meter import Meter
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM


async def run(job: Job) -> None:
    """Answers the session's last message, and shows each delta once it is durable."""
    async with open_client(job.base_url) as client, SessionLog.open(job.settings) as log:
        session = log.session(job.session_id, SYSTEM)
        stream = await Answerer(client, job.model, job.base_url, lambda _: None).ask(await session.prompt())
        async for delta in Meter(log).watch(session, stream):
            if isinstance(delta, AppendText | AppendReasoning):
                sys.stdout.write(f"{json.dumps(delta.text)}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(read_job()))
