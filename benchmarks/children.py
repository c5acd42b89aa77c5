"""Other processes of a benchmark, which take orders as lines of JSON on stdin and answer in the same way on stdout."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks import CHECKOUT
from turnlog.domain.errors import TurnlogError

_LONGEST_LINE = 64 * 1024 * 1024


class Child:
    """Another process, and the lines to and from it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, order: dict[str, Any]) -> dict[str, Any]:
        """Gives an order and waits for the answer."""
        assert self._process.stdin is not None  # noqa: S101 for the type checker
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """Its next line. Raises TurnlogError where it has ended."""
        assert self._process.stdout is not None  # noqa: S101 for the type checker
        line = await self._process.stdout.readline()
        if not line:
            raise TurnlogError("a process of the benchmark has ended early")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def child(module: str, *arguments: str) -> AsyncIterator[Child]:
    """A process that runs this module. It ends when its stdin does."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=pipe, stdout=pipe, cwd=CHECKOUT, limit=_LONGEST_LINE
    )
    try:
        yield Child(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def order() -> dict[str, Any] | None:
    """In the child: the next order; None when there is none any more."""
    line = await asyncio.to_thread(sys.stdin.readline)
    return json.loads(line) if line else None


def say(answer: dict[str, Any]) -> None:
    """In the child: an answer."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
