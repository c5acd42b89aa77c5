"""What an answer needs of its session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from turnlog.domain.state import Active
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.append.step_io import StepPlace
from turnlog.infrastructure.append.stream_recorder import StreamRecorder
from turnlog.infrastructure.append.turn_owner import TurnOwner
from turnlog.infrastructure.follow.following import Following
from turnlog.infrastructure.follow.live import Deltas
from turnlog.infrastructure.process import Home
from turnlog.infrastructure.read.latest import LatestTurns
from turnlog.infrastructure.read.views import Views
from turnlog.projections.projector import Projector
from turnlog.projections.turn import Turn


@dataclass(frozen=True, slots=True, eq=False)
class SessionIO:
    """One session. `session` is what tools are given; `check` raises unless the caller may use it; `max_bytes` is the
    largest size of one text; `prompt` gives one of the turns that `known_turns` gave, which ends with what broke off
    if it is given True. `latest` is for one task."""

    session: Any
    home: Home
    aggregate: Aggregate
    views: Views
    latest: LatestTurns
    lease_seconds: float
    max_bytes: int
    check: Callable[[], Awaitable[None]]
    owner: Callable[[], TurnOwner]
    recorder: Callable[[Any, str, StepPlace], StreamRecorder[Any]]
    prompt: Callable[[Projector, bool], Awaitable[Any]]
    follow: Callable[[int], Following]
    deltas: Callable[[int], Deltas]

    @property
    def state(self) -> Active | None:
        """What the next decision starts from, as far as this process knows; None for a session that is gone."""
        state = self.aggregate.state
        return state if isinstance(state, Active) else None

    async def last_turns(self) -> Projector:
        """The turns that are not closed, and the one before them; of a long turn the last segments."""
        await self.aggregate.flush()
        return await self.latest.now()

    async def known_turns(self) -> Projector:
        """The same, as far as this process knows: what others append meanwhile, the next append here will meet."""
        await self.aggregate.flush()
        return await self.latest.at(self.aggregate.stored_version, self.aggregate.stored_commit_id)

    async def all_turns(self) -> Projector:
        """All turns."""
        await self.aggregate.flush()
        return await self.views.load(self.aggregate.session_id)


def turn_of_message(turns: tuple[Turn, ...], message_id: str) -> Turn | None:
    """The turn with this message, the latest of several."""
    return next((turn for turn in reversed(turns) if _has(turn, message_id)), None)


def _has(turn: Turn, message_id: str) -> bool:
    return any(message.message_id == message_id for message in turn.messages)
