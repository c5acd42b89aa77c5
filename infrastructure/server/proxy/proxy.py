"""The proxy: what its routes share, and the exchanges that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.server.proxy.answer import Answer
from turnlog.infrastructure.server.proxy.asked import AskedOfProvider
from turnlog.infrastructure.server.proxy.counts import ProxyCounts
from turnlog.infrastructure.server.proxy.exchange import Exchange, pass_on
from turnlog.infrastructure.server.proxy.placing import Placing
from turnlog.infrastructure.server.proxy.proxy_settings import ProxySettings
from turnlog.infrastructure.server.proxy.upstreams import Forwarded, Upstreams
from turnlog.infrastructure.tasks import cancel_and_wait, spawned


class Proxy:
    """Open while the application runs. `limit` is the largest request and the largest answer, in bytes; of a stream,
    its longest line. `withheld` are headers that stay here."""

    def __init__(self, settings: ProxySettings, limit: int, withheld: Iterable[str] = ()) -> None:
        self.settings = settings
        self.limit = limit
        self.upstreams = Upstreams(settings, withheld)
        self.counts = ProxyCounts()
        self._running = set[asyncio.Task[None]]()

    def exchange(self, log: SessionLog, asked: AskedOfProvider, forwarded: Forwarded) -> Answer:
        """Sends a request on, and records it and its answer, also when its client goes away."""
        answer = Answer(self.upstreams, forwarded, self.limit)
        exchange = Exchange(answer, asked, Placing(log, asked), self.counts)
        self._run(spawned(exchange.run(self.settings.unrecorded), "an exchange"))
        return answer

    def pass_on(self, forwarded: Forwarded) -> Answer:
        """Sends a request on that is not recorded."""
        answer = Answer(self.upstreams, forwarded, self.limit, is_read=False)
        self._run(spawned(pass_on(answer), "passing on an answer"))
        return answer

    async def close(self) -> None:
        """Ends what is under way, and the connections to the providers."""
        for task in list(self._running):
            await cancel_and_wait(task)
        await self.upstreams.close()

    def _run(self, task: asyncio.Task[None]) -> None:
        self.counts.running += 1
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.counts.running -= 1
        self._running.discard(task)
