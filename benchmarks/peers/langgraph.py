"""LangGraph's AsyncPostgresSaver on a pool, with the connection settings of its documentation.

A thread's messages are one channel, and a checkpoint stores the whole channel anew. A caller hands over the list with
`aput`, the leanest way that it has; a graph around it reads and writes more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.messages import convert_to_openai_messages
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.peers.langchain_messages import to_langchain
from benchmarks.systems import CONNECTIONS, POOL_SECONDS, Conversation, Message, System


class _Thread(Conversation):
    def __init__(self, saver: Any, session_id: UUID) -> None:
        super().__init__(session_id)
        self._saver = saver
        self._at: Any = {"configurable": {"thread_id": str(session_id), "checkpoint_ns": ""}}
        self._checkpoint: Any = empty_checkpoint()
        self._step = -1
        self._messages: list[Any] = []
        self._parts: list[str] = []

    async def load(self) -> list[Message]:
        found = await self._saver.aget_tuple({"configurable": {"thread_id": str(self.id)}})
        if found is None:
            return []
        self._at, self._checkpoint, self._step = found.config, found.checkpoint, found.metadata["step"]
        self._messages = list(found.checkpoint["channel_values"]["messages"])
        loaded: list[Message] = convert_to_openai_messages(self._messages)
        return loaded

    async def put(self, messages: Sequence[Message]) -> None:
        first = len(self._messages)
        self._messages += [to_langchain(message, str(first + number)) for number, message in enumerate(messages)]
        await self._save(self._messages)

    async def put_delta(self, text: str) -> None:
        self._parts.append(text)
        await self._save([*self._messages, self._answer()])

    async def end_answer(self) -> None:
        self._messages.append(self._answer())
        self._parts = []

    def _answer(self) -> Any:
        return to_langchain({"role": "assistant", "content": "".join(self._parts)}, str(len(self._messages)))

    async def _save(self, messages: list[Any]) -> None:
        versions = self._checkpoint["channel_versions"]
        version = self._saver.get_next_version(versions.get("messages"), None)
        self._step += 1
        self._checkpoint = {
            **self._checkpoint,
            "id": str(uuid6(clock_seq=self._step)),
            "channel_values": {"messages": messages},
            "channel_versions": {**versions, "messages": version},
        }
        metadata = {"source": "update", "step": self._step, "parents": {}}
        self._at = await self._saver.aput(self._at, self._checkpoint, metadata, {"messages": version})


class Langgraph(System):
    """One saver a process, as an application has it."""

    name = "langgraph"
    per_delta = "all messages of the thread again, as one value, and a checkpoint's row; one lock for all sessions"
    per_message = "the same"

    async def start(self) -> None:
        self._pool = AsyncConnectionPool[Any](
            self.url,
            min_size=CONNECTIONS,
            timeout=POOL_SECONDS,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        )
        await self._pool.open(wait=True)
        self._saver = AsyncPostgresSaver(self._pool)
        await self._saver.setup()

    async def stop(self) -> None:
        await self._pool.close()

    def conversation(self, session_id: UUID) -> Conversation:
        return _Thread(self._saver, session_id)
