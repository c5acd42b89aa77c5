"""The OpenAI Agents SDK's SQLAlchemySession, on asyncpg.

It has no update. A delta is added as an item of its own, and the reader joins the items: its cheapest way, though not
one that the SDK could go on from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from agents.extensions.memory import SQLAlchemySession
from agents.models.chatcmpl_converter import Converter
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.peers.sqlalchemy_url import sqlalchemy_url
from benchmarks.systems import CONNECTIONS, POOL_SECONDS, Conversation, Message, System

Item = dict[str, Any]

_DELTA = "msg_delta"


class _Items(Conversation):
    def __init__(self, engine: Any, session_id: UUID) -> None:
        super().__init__(session_id)
        self._session: Any = SQLAlchemySession(str(session_id), engine=engine)

    async def load(self) -> list[Message]:
        items = await self._session.get_items()
        loaded: list[Message] = Converter.items_to_messages(_joined(items))
        return loaded

    async def put(self, messages: Sequence[Message]) -> None:
        await self._session.add_items([item for message in messages for item in _items(message)])

    async def put_delta(self, text: str) -> None:
        await self._session.add_items([_said(text, _DELTA)])


class OpenaiAgents(System):
    """One engine a process."""

    name = "openai-agents"
    per_delta = "its item: a row, beside a lock on the session's row and its update"
    per_message = "the same; the items of a model's turn in one transaction"

    async def start(self) -> None:
        url = sqlalchemy_url(self.url)
        self._engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0, pool_timeout=POOL_SECONDS)
        await SQLAlchemySession("tables", engine=self._engine, create_tables=True).get_items()

    async def stop(self) -> None:
        await self._engine.dispose()

    def conversation(self, session_id: UUID) -> Conversation:
        return _Items(self._engine, session_id)


def _items(message: Message) -> list[Item]:
    if message["role"] == "tool":
        return [{"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}]
    if message["role"] != "assistant":
        return [{"role": message["role"], "content": message["content"]}]
    return [_said(message["content"]), *(_called(call) for call in message.get("tool_calls", ()))]


def _said(text: str, item_id: str = "msg_0") -> Item:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": item_id, "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def _called(call: dict[str, Any]) -> Item:
    return {"id": "fc_0", "type": "function_call", "call_id": call["id"], "status": "completed", **call["function"]}


def _joined(items: Iterable[Item]) -> list[Item]:
    joined: list[Item] = []
    for item in items:
        if joined and item.get("id") == _DELTA == joined[-1].get("id"):
            joined[-1]["content"][0]["text"] += item["content"][0]["text"]
        else:
            joined.append(item)
    return joined
