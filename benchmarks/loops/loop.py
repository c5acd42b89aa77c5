"""What every measured loop does: answer a question in a conversation, and keep what its makers keep."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from uuid import UUID

from openai import AsyncOpenAI

from benchmarks.server import Ground
from benchmarks.systems import Contestant

PATIENCE_SECONDS = 600.0
"""Of the client, also for a connection: to wait for a slow machine is what is measured, not an error."""


class Loop(Contestant):
    """A way of answering, with one client of a provider and a database of its own."""

    saves_deltas = False

    def __init__(self, ground: Ground, base_url: str) -> None:
        self.ground = ground
        self.url = ground.database(f"answer, {self.name}")
        self.client = AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=PATIENCE_SECONDS)

    async def start(self) -> None:
        """Makes the tables where there are none, and opens all connections."""

    async def stop(self) -> None:
        """Closes them."""
        await self.client.close()

    async def create(self, conversations: Sequence[UUID]) -> None:
        """What must be there before the first question."""

    @abstractmethod
    async def answer(self, conversation: UUID, question: str, model: str) -> str:
        """Answers as a new request does, and returns the text of all answers as it was shown, piece by piece."""

    @abstractmethod
    async def last_answer(self, conversation: UUID) -> str:
        """The text of the last answer, as it is kept. Never timed."""
