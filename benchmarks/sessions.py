"""Sessions under load: what each has sent, and whether the log gives it back. Only what was acknowledged counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.workload import Workload
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.store.statements import EVENTS_TABLE

MODEL = "bench"
_SPOT_CHECKS = 5
_COUNT = SQL("select count(*) from {}").format(Identifier(EVENTS_TABLE))


class LoadedSession:
    """One session through the public API."""

    def __init__(self, number: int, session: Session, workload: Workload) -> None:
        self.number = number
        self.session = session
        self.workload = workload
        self.sent = 0
        """Deltas."""
        self._others = 1  # its start

    @property
    def acknowledged(self) -> int:
        """All its events that are durable."""
        return self.sent + self._others

    async def begin(self, stack: AsyncExitStack) -> Completion:
        """A turn: the user's message, and a step that stays open as long as the stack."""
        await self.session.say("Go on.")
        self._others += 1
        answer = await stack.enter_async_context(self.session.completion(MODEL))
        self._others += 1
        return answer

    def next_deltas(self, count: int) -> list[str]:
        """What to send next. Whoever got it acknowledged counts it in `sent`."""
        return [self.workload.delta(self.number, self.sent + number) for number in range(count)]

    async def send_at_once(self, answer: Completion, count: int) -> None:
        """Sends deltas together, where only what is stored matters."""
        texts = self.next_deltas(count)
        await asyncio.gather(*map(answer.text, texts))
        self.sent += len(texts)

    async def finish(self, answer: Completion) -> None:
        """Ends the step."""
        await answer.finish()
        self._others += 1

    async def is_intact(self) -> bool:
        """Whether the log gives back the text that was sent."""
        view = await self.session.view()
        text = "".join(str(step.message.content) for turn in view.turns for step in turn.steps)
        return text == self.workload.text(self.number, 0, self.sent)


async def start_sessions(log: SessionLog, count: int, workload: Workload, user_id: str = MODEL) -> list[LoadedSession]:
    """New sessions of one user."""
    started = await asyncio.gather(*(log.start_session(user_id=user_id) for _ in range(count)))
    return [LoadedSession(number, session, workload) for number, session in enumerate(started)]


async def all_there(url: str, sessions: Sequence[LoadedSession]) -> bool:
    """Whether the table holds as many events as were acknowledged, and a few sessions read back as sent."""
    every = max(1, len(sessions) // _SPOT_CHECKS)
    intact = [await session.is_intact() for session in sessions[::every]]
    stored = await asyncio.to_thread(_stored_events, url)
    return all(intact) and stored == sum(session.acknowledged for session in sessions)


def _stored_events(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(_COUNT).fetchone()
    return int(row[0]) if row else 0
