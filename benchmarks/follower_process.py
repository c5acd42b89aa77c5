"""One process of `fan_out`, which follows."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress

from benchmarks.children import order, say
from turnlog.domain.events import TextDelta
from turnlog.infrastructure.follow.following import Following
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.settings import Settings

_PATIENCE_SECONDS = 30.0
_BEGIN_SECONDS = 1.5
"""Until all of them wait for what comes."""


class _Followers:
    """Of some sessions, each of which is to bring so many deltas."""

    def __init__(self, log: SessionLog, ids: list[str]) -> None:
        self.waits = list[float]()
        self.deltas = -1
        self._enough = asyncio.Event()
        self._positions = [list[int]() for _ in ids]
        self._tasks = [
            asyncio.create_task(self._follow(log.session(session_id, SYSTEM).follow(), positions))
            for session_id, positions in zip(ids, self._positions, strict=True)
        ]

    async def _follow(self, following: Following, positions: list[int]) -> None:
        async for recorded in following:
            if isinstance(recorded.event, TextDelta):
                positions.append(recorded.position)
                self.waits.append(time.time() - recorded.event.at.timestamp())
                self._look()

    def _look(self) -> None:
        if len(self.waits) == self.deltas * len(self._positions):
            self._enough.set()

    async def all_there(self, deltas: int) -> bool:
        """Waits for all deltas. Whether each has come, once and in order."""
        self.deltas = deltas
        self._look()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._enough.wait()
        return all(seen and seen == list(range(seen[0], seen[0] + deltas)) for seen in self._positions)

    async def leave(self) -> None:
        """They follow no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def serve(settings: Settings) -> None:
    """Follows what it is told to, says when all deltas have come and what that took, and begins anew."""
    async with SessionLog.open(settings) as log:
        say({"ready": True})
        while told := await order():
            followers = _Followers(log, told["follow"])
            await asyncio.sleep(_BEGIN_SECONDS)
            began = time.process_time()
            say({"follows": log.follow_statistics.followers})
            is_whole = await followers.all_there((await order() or {})["deltas"])
            cpu = time.process_time() - began
            say({"cpu": cpu, "is_whole": is_whole, "waits": [round(wait, 6) for wait in followers.waits]})
            await order()
            await followers.leave()
            say({"ended": True})


if __name__ == "__main__":
    asyncio.run(serve(Settings(**json.loads(sys.argv[1]))))
