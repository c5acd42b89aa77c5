"""What is written to a session: messages, results, decisions, and what is set or counted."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body
from fastapi.responses import Response

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.server import answers, bodies
from turnlog.infrastructure.server.answers import answer, nothing
from turnlog.infrastructure.server.asking import Asked, Asking, Key, Mine
from turnlog.infrastructure.server.routes import Routes

routes = Routes("writing")

SYSTEMS_NAME = "system"
"""Who has decided, where the system does and names nobody."""


@routes.add(
    "POST",
    "/sessions/{session_id}/messages",
    gives=answers.AddedMessage,
    status=201,
    key="it is the `message_id`, where the body has none",
)
async def add_message(session: Mine, body: bodies.NewMessage, key: Key = None) -> Response:
    """Adds a message. The status is 200 where the session had it already."""
    message_id = body.message_id if body.message_id is not None else key
    if body.role == "user" and body.on_busy is not None:
        _check_plain(body)
        added = await session.say(body.content, message_id, on_busy=body.on_busy)  # type: ignore[arg-type]  # checked there
    elif body.on_busy is not None:
        raise InvalidInputError("on_busy", "is for messages of the user")
    else:
        added = await session.add_message(
            body.role,
            body.content,
            message_id=message_id,
            name=body.name,
            refusal=body.refusal,
            tool_calls=body.tool_calls,
            function_call=body.function_call,
        )
    return answer(answers.AddedMessage(message_id=str(added), is_new=added.is_new), 201 if added.is_new else 200)


def _check_plain(body: bodies.NewMessage) -> None:
    for field in ("name", "refusal", "tool_calls", "function_call"):
        if getattr(body, field) is not None:
            raise InvalidInputError(field, "cannot be given together with on_busy")


@routes.add("POST", "/sessions/{session_id}/tool-results", status=204, refuses=(409,))
async def add_tool_result(session: Mine, body: bodies.NewResult) -> Response:
    """Answers a tool call. The same result again changes nothing."""
    await session.add_tool_result(body.call_id, body.content, body.status, step_id=body.step_id)
    return nothing()


@routes.add("POST", "/sessions/{session_id}/approve", status=204, refuses=(403, 409))
async def approve(asking: Asking, session: Mine, body: bodies.Approval) -> Response:
    """Allows a call that waits for a decision. The same decision again changes nothing."""
    by = decided_by(asking, body.by)
    await session.approve(body.call_id, by=by, reason=body.reason, step_id=body.step_id, for_turn=body.for_turn)
    return nothing()


@routes.add("POST", "/sessions/{session_id}/refuse", status=204, refuses=(403, 409))
async def refuse(asking: Asking, session: Mine, body: bodies.Refusal) -> Response:
    """Refuses a call that waits for a decision. The same decision again changes nothing."""
    await session.refuse(body.call_id, by=decided_by(asking, body.by), reason=body.reason, step_id=body.step_id)
    return nothing()


def decided_by(asking: Asked, named: str | None) -> str:
    """Who decides: the user who asks, or whom the system names."""
    if asking.principal is SYSTEM:
        return named if named is not None else SYSTEMS_NAME
    asking.check_system(named)
    return asking.principal


@routes.add("POST", "/sessions/{session_id}/cancel", gives=answers.Stopped)
async def cancel(session: Mine, body: bodies.Cancellation | None = None) -> Response:
    """Stops the turn, in whichever process it is answered. A retry should name the turn."""
    wanted = body or bodies.Cancellation()
    return answer(answers.Stopped(stopped=await session.cancel(wanted.reason, turn_id=wanted.turn_id)))


@routes.add("PUT", "/sessions/{session_id}/title", status=204)
async def set_title(session: Mine, body: bodies.NewTitle) -> Response:
    """Sets the title."""
    await session.set_title(body.title, body.only_if_empty)
    return nothing()


@routes.add("PATCH", "/sessions/{session_id}/metadata", status=204)
async def set_metadata(
    session: Mine, body: Annotated[JsonObject, Body(examples=[{"topic": "weather", "draft": None}])]
) -> Response:
    """Merges a JSON Merge Patch (RFC 7386) into the metadata: null removes a key."""
    await session.set_metadata(body)
    return nothing()


@routes.add("POST", "/sessions/{session_id}/counters", status=204, key="it is the `id`, where the body has none")
async def increment(session: Mine, body: bodies.Increment, key: Key = None) -> Response:
    """Adds to a counter."""
    await session.increment(body.counter, body.key, body.by, id=body.id if body.id is not None else key)
    return nothing()


@routes.add("POST", "/sessions/{session_id}/usage", status=204, key="it is the `id`, where the body has none")
async def add_usage(session: Mine, body: bodies.NewUsage, key: Key = None) -> Response:
    """Reports usage outside of recorded steps."""
    await session.add_usage(body.usage, model=body.model, id=body.id if body.id is not None else key)
    return nothing()


@routes.add("POST", "/sessions/{session_id}/compact", status=204)
async def compact(session: Mine, body: bodies.NewCompaction) -> Response:
    """Has prompts begin with a summary. The same again changes nothing."""
    await session.compact(body.summary, body.upto)
    return nothing()
