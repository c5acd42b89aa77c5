"""The AI SDK's `useChat`: a chat is a session, and its answers come as UI message streams."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Path
from fastapi.responses import Response
from pydantic_core import to_json

from turnlog.domain.errors import (
    InvalidInputError,
    LogClosedError,
    SessionNotFoundError,
    StoreError,
    UnknownPositionError,
)
from turnlog.domain.values import Frozen, JsonObject
from turnlog.infrastructure.answer.answer import Answer
from turnlog.infrastructure.follow.event_streams import EventStreams
from turnlog.infrastructure.follow.stream_forms import SSE_HEARTBEAT
from turnlog.infrastructure.follow.ui_follower import UiChunksFollower
from turnlog.infrastructure.server import answers
from turnlog.infrastructure.server.ai_bodies import ChatRequest, content_of, decision_of, output_text, told_of_calls
from turnlog.infrastructure.server.answers import large_answer, nothing
from turnlog.infrastructure.server.asking import Asked, Asking, Question
from turnlog.infrastructure.server.keys import session_id_for
from turnlog.infrastructure.server.problems import NO_ANSWER, SAID, RefusedError
from turnlog.infrastructure.server.routes import Routes
from turnlog.infrastructure.server.sending import SSE, StreamedResponse
from turnlog.infrastructure.server.writing import decided_by
from turnlog.infrastructure.session import Session
from turnlog.projections.ui_messages import ui_messages

routes = Routes("ai sdk")

ChatId = Annotated[str, Path(description="The chat's id, as `useChat` has it, or that of a session.")]
_DONE = "data: [DONE]\n\n"
_JOINED = 32 * 1024
_BROKEN: JsonObject = {"type": "error", "errorText": "The stream has ended before the answer did: resume it."}
_STREAM: Any = {200: {"description": "A UI message stream.", "content": {SSE: {"schema": {"type": "string"}}}}}
_RESUMED: Any = {**_STREAM, 204: {"description": "Nothing is being answered."}}


class Chat(Frozen):
    """A chat, and its messages as the AI SDK has them (`UIMessage[]`). `session_id` is null before the first one."""

    id: str
    session_id: UUID | None
    messages: list[JsonObject]


@routes.add("POST", "/ai/chat", refuses=(409, 415, 501), responses=_STREAM)
async def chat(asking: Asking, body: ChatRequest) -> Response:
    """Answers the last message of a page, as a UI message stream; a chat that is new begins a session."""
    if asking.desk.answer is None:
        raise RefusedError(NO_ANSWER, "this server asks no model: its router was given no `answer`")
    role = body.last.get("role")
    if role not in ("user", "assistant"):
        raise InvalidInputError("messages", "end with a message that is neither the user's nor the assistant's")
    follower = await (_ask(asking, body) if role == "user" else _go_on(asking, body))
    return _streamed(asking, follower)


@routes.add("GET", "/ai/chat/{chat_id}/stream", responses=_RESUMED)
async def stream(asking: Asking, chat_id: ChatId) -> Response:
    """The answer that is being given, from its beginning: what `useChat` resumes. 204 where there is none."""
    session = await _session_of(asking, chat_id)
    if session is None:
        return nothing()
    follower = await session.ui_chunks().begun()
    if not follower.is_running:
        await follower.aclose()
        return nothing()
    return _streamed(asking, follower)


@routes.add("POST", "/ai/chat/{chat_id}/stop", gives=answers.Stopped)
async def stop(asking: Asking, chat_id: ChatId) -> Response:
    """Stops the answer, in whichever process it is given. `useChat().stop` alone only stops listening."""
    session = await _session_of(asking, chat_id)
    return answers.answer(answers.Stopped(stopped=session is not None and await session.cancel()))


@routes.add("GET", "/ai/chat/{chat_id}", gives=Chat)
async def messages(asking: Asking, chat_id: ChatId) -> Response:
    """The messages of a chat, to begin `useChat` with. A chat that is not there yet has none."""
    session = await _session_of(asking, chat_id)
    if session is None:
        return answers.answer(Chat(id=chat_id, session_id=None, messages=[]))
    turns = (await session.view()).turns
    return await large_answer(Chat(id=chat_id, session_id=session.id, messages=ui_messages(turns)), len(turns))


async def _session_of(asking: Asked, chat_id: str) -> Session | None:
    """The session with this id, or the one that the chat has begun. Nobody else comes to the same one."""
    with suppress(SessionNotFoundError, InvalidInputError):
        return await asking.log.session(chat_id, asking.principal)
    derived = session_id_for(asking.principal, chat_id, "ai-chat")
    assert derived is not None  # noqa: S101 there is an id
    with suppress(SessionNotFoundError):
        return await asking.log.session(derived, asking.principal)
    return None


async def _begun(asking: Asked, chat_id: str) -> Session:
    session = await _session_of(asking, chat_id)
    if session is not None:
        return session
    session_id = session_id_for(asking.principal, chat_id, "ai-chat")
    return await asking.log.start_session(user_id=asking.owner(None), session_id=session_id)


async def _ask(asking: Asked, body: ChatRequest) -> UiChunksFollower:
    """Answers a message of the user."""
    message_id, content = body.last.get("id"), content_of(body.last)
    if not isinstance(message_id, str) or not message_id:
        raise InvalidInputError("messages", "end with a message that has no id")
    session = await _begun(asking, body.id)
    if body.trigger == "regenerate-message" or body.messageId == message_id:
        await _check_unsaid(session, message_id, is_edit=body.trigger == "submit-message")
    await _answered(asking, session, Question(content, message_id, body.model_dump()))
    return await session.ui_chunks(message_id).begun()


async def _check_unsaid(session: Session, message_id: str, *, is_edit: bool) -> None:
    """What was said stays: a message is answered again only where that has failed. Raises RefusedError."""
    for turn in await session.turns(limit=1_000):
        if any(message.message_id == message_id for message in turn.messages):
            if is_edit or turn.status not in ("failed", "abandoned"):
                raise RefusedError(SAID, "what was said stays: fork the session before it, and go on with the fork")
            return


async def _go_on(asking: Asked, body: ChatRequest) -> UiChunksFollower:
    """Takes what a page says of calls, and goes on with their turn if nothing of it is still waited for."""
    session = await _begun(asking, body.id)
    follower = await session.ui_chunks(is_known=True).begun()
    by = decided_by(asking, None)
    turns = await session.turns(limit=1)
    told = list(told_of_calls(body.last, turns[-1])) if turns else []
    for call, step_id, part in told:
        if part["state"] == "output-error":
            await session.add_tool_result(call.id, output_text(part), "error", step_id=step_id)
        elif part["state"] == "output-available":
            await session.add_tool_result(call.id, output_text(part), step_id=step_id)
        else:
            approved, reason = decision_of(part)
            decide = session.approve if approved else session.refuse
            await decide(call.id, by=by, reason=reason, step_id=step_id)
    if not told or not any(step.waiting() for turn in await session.turns(limit=1) for step in turn.steps):
        await _answered(asking, session, Question(None, None, body.model_dump()))
    return follower


async def _answered(asking: Asked, session: Session, question: Question) -> None:
    assert asking.desk.answer is not None  # noqa: S101 it was looked for first
    given = asking.desk.answer(session, question)
    if isinstance(given, Answer):
        await given.begun()
    elif inspect.isawaitable(given):
        await given


def _streamed(asking: Asked, follower: UiChunksFollower) -> Response:
    response = StreamedResponse(_text(asking.desk.streams, follower), SSE)
    response.headers["x-vercel-ai-ui-message-stream"] = "v1"
    return response


async def _text(streams: EventStreams, follower: UiChunksFollower) -> AsyncGenerator[bytes]:
    """The chunks as server-sent events. One that ends before the answer says so."""
    together, is_over = bytearray(), False
    try:
        async with aclosing(streams.heard(cast("Any", follower))) as heard:
            async for chunk in heard:
                together += b"data: " + to_json(chunk) + b"\n\n" if chunk is not None else SSE_HEARTBEAT.encode()
                if not follower.is_ready or len(together) > _JOINED:
                    yield bytes(together)
                    together.clear()
        is_over = not streams.has_ended
    except SessionNotFoundError:
        is_over = True
    except (StoreError, LogClosedError, UnknownPositionError):
        pass
    if not is_over:
        together += b"data: " + to_json(_BROKEN) + b"\n\n"
    yield bytes(together) + _DONE.encode()
