"""What is kept of an exchange, so that the next request of its conversation finds its session."""

from __future__ import annotations

from turnlog.domain.recorded import Cursor
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.server.proxy.asked import AskedOfProvider
from turnlog.infrastructure.server.proxy.trail import Said, said_by
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.store.prefixes import Prefix
from turnlog.projections.view import Step

_LATEST_TURNS = 3
"""Turns in which the step is looked for: others may have said something meanwhile."""


async def keep(log: SessionLog, asked: AskedOfProvider, session: Session, step_id: str) -> None:
    """Keeps the beginning that was asked, and if it was answered the one behind that. Raises StoreError."""
    turns = await session.turns(limit=_LATEST_TURNS)
    step = next((step for turn in reversed(turns) for step in turn.steps if step.step_id == step_id), None)
    if step is None:
        return
    question = Prefix(asked.asked, session.id, step.position - 1, asked.trail.system)
    if step.status != "finished":
        await log.prefixes.keep([question])
        return
    end = Cursor.of(await session.cursor()).position
    answered = Prefix(asked.answered(_said(step)), session.id, end, asked.trail.system)
    found = [question._replace(next=answered.fingerprint), answered]
    if asked.api.format == "responses" and step.response_id:
        found.append(answered._replace(fingerprint=asked.after(step.response_id)))
    await log.prefixes.keep(found)


def _said(step: Step) -> Said:
    message, function = step.message, step.message.function_call
    called = None if function is None else (function.name, function.arguments)
    return said_by(message.content, message.refusal, message.tool_calls, called)
