"""Processes of the demo's own, which are given a job and can be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress

from pydantic import BaseModel

from turnlog.infrastructure.settings import Settings


class Job(BaseModel):
    """What a process is to do: in which session, and whom to ask."""

    settings: Settings
    session_id: str
    model: str
    base_url: str | None
    hangs: bool = False
    """Whether the tool that is slow does not end by itself."""


async def started(module: str, job: Job) -> Process:
    """A process that runs this module, and reads the job from its stdin."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None  # noqa: S101 for the type checker
    process.stdin.write(job.model_dump_json().encode() + b"\n")
    await process.stdin.drain()
    process.stdin.close()
    return process


def read_job() -> Job:
    """In the process: its job."""
    return Job.model_validate_json(sys.stdin.readline())


def kill(process: Process) -> None:
    """SIGKILL, unless it has ended."""
    # Not process.kill(): it polls the process first, and can take the exit code away from asyncio.
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


async def ended_by(process: Process) -> str:
    """Waits for its end: the name of the signal that ended it."""
    code = await process.wait()
    return signal.Signals(-code).name if code < 0 else f"none: it ended with {code}"
