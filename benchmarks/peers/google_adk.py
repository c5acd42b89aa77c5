"""Google ADK's DatabaseSessionService on asyncpg, with its own engine settings.

It drops partial events by design. A delta is appended as a whole event, and the reader joins them: its cheapest way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.adk.events.event import Event
from google.adk.sessions.database_session_service import DatabaseSessionService
from google.genai import types

from benchmarks.peers.sqlalchemy_url import sqlalchemy_url
from benchmarks.systems import (
    CONNECTIONS,
    POOL_SECONDS,
    Conversation,
    Message,
    System,
    call_of,
)

_APP, _USER = "bench", "user-1"
_AGENT, _DELTA = "agent", "agent:delta"
_DAY = 86_400


class _Events(Conversation):
    def __init__(self, service: Any, session_id: UUID) -> None:
        super().__init__(session_id)
        self._service = service
        self._session: Any = None

    async def create(self) -> None:
        self._session = await self._service.create_session(app_name=_APP, user_id=_USER, session_id=str(self.id))

    async def load(self) -> list[Message]:
        # `append_event` wants the Session, and that comes with all its events.
        self._session = await self._service.get_session(app_name=_APP, user_id=_USER, session_id=str(self.id))
        return _messages(self._session.events)

    async def put(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await self._service.append_event(self._session, _event(message))

    async def put_delta(self, text: str) -> None:
        await self._service.append_event(self._session, _said("model", _DELTA, types.Part(text=text)))


class GoogleAdk(System):
    """One service a process."""

    name = "google-adk"
    per_delta = "its event: a row, beside a ping, a lock on the session's row, the states and the session's update"
    per_message = "the same"

    async def start(self) -> None:
        url = sqlalchemy_url(self.url).render_as_string(hide_password=False)
        self._service: Any = DatabaseSessionService(
            url, pool_size=CONNECTIONS, max_overflow=0, pool_timeout=POOL_SECONDS
        )
        await self._service.prepare_tables()

    async def stop(self) -> None:
        await self._service.close()

    def conversation(self, session_id: UUID) -> Conversation:
        return _Events(self._service, session_id)

    async def fill(self, session_id: UUID, messages: Sequence[Message]) -> None:
        # Nothing of theirs appends many, and one by one it takes minutes: the rows that `append_event` would write.
        session = await self._service.create_session(app_name=_APP, user_id=_USER, session_id=str(session_id))
        table = self._service._get_schema_classes().StorageEvent  # noqa: SLF001 it has no other way to its table
        began, rows = datetime.now(UTC).timestamp() - _DAY, []
        for number, message in enumerate(messages):
            event = _event(message)
            event.timestamp = began + number / 1e3
            row = table.from_event(session, event)
            rows.append({column.key: getattr(row, column.key) for column in table.__table__.columns})
        async with self._service.db_engine.begin() as connection:
            await connection.execute(table.__table__.insert(), rows)


def _said(role: str, author: str, *parts: Any) -> Any:
    return Event(author=author, invocation_id="inv-1", content=types.Content(role=role, parts=list(parts)))


def _event(message: Message) -> Any:
    if message["role"] == "tool":
        answer = {"result": message["content"]}
        response = types.FunctionResponse(id=message["tool_call_id"], name="search", response=answer)
        return _said("user", _AGENT, types.Part(function_response=response))
    text = types.Part(text=message["content"])
    if message["role"] != "assistant":
        return _said("user", "user", text)
    calls = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
    parts = [types.FunctionCall(id=i, name=f["name"], args=json.loads(f["arguments"])) for i, f in calls]
    return _said("model", _AGENT, text, *(types.Part(function_call=part) for part in parts))


def _messages(events: Iterable[Any]) -> list[Message]:
    messages: list[Message] = []
    last_author = ""
    for event in events:
        message = _message(event)
        if event.author == _DELTA == last_author:
            messages[-1]["content"] += message["content"]
        else:
            messages.append(message)
        last_author = event.author
    return messages


def _message(event: Any) -> Message:
    parts = event.content.parts
    for part in parts:
        if part.function_response:
            answer = part.function_response
            return {"role": "tool", "tool_call_id": answer.id, "content": answer.response["result"]}
    text = "".join(part.text for part in parts if part.text is not None)
    calls = [part.function_call for part in parts if part.function_call]
    message: Message = {"role": "user" if event.author == "user" else "assistant", "content": text}
    if calls:
        message["tool_calls"] = [call_of(call.id, call.name, json.dumps(call.args)) for call in calls]
    return message
