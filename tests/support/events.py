"""Events of a session in a word each, and what is folded from them."""

from __future__ import annotations

from typing import Any

from tests.support.histories import AT, folded, recorded
from turnlog.domain import events as e
from turnlog.projections.view import SessionView

START = e.SessionStarted(at=AT, user_id="u1")


def view_of(*events: e.SessionEvent) -> SessionView:
    """The view of a session with these events."""
    return folded(recorded([START, *events])).view()


def user(text: str) -> e.MessageAdded:
    return e.MessageAdded(at=AT, message_id=text, role="user", content=text)


def begun(step: str) -> e.CompletionStarted:
    return e.CompletionStarted(at=AT, step_id=step)


def text(step: str, said: str) -> e.TextDelta:
    return e.TextDelta(at=AT, step_id=step, text=said)


def call(step: str, call_id: str = "c1", name: str = "find", arguments: str = "{}", index: int = 0) -> list[Any]:
    delta = e.ToolCallArgumentsDelta(at=AT, step_id=step, index=index, arguments=arguments)
    return [e.ToolCallStarted(at=AT, step_id=step, index=index, id=call_id, name=name), *([delta] if arguments else [])]


def result(step: str, content: str, index: int = 0, call_id: str = "c1", status: str = "final") -> e.ToolResultAdded:
    return e.ToolResultAdded(at=AT, step_id=step, index=index, call_id=call_id, status=status, content=content)  # type: ignore[arg-type]


def finished(step: str) -> e.CompletionFinished:
    return e.CompletionFinished(at=AT, step_id=step, finish_reason="stop")


def failed(step: str) -> e.CompletionFailed:
    return e.CompletionFailed(at=AT, step_id=step, error="boom")


def interrupted(step: str) -> e.CompletionInterrupted:
    return e.CompletionInterrupted(at=AT, step_id=step, reason="stop")


def abandoned(step: str) -> e.CompletionAbandoned:
    return e.CompletionAbandoned(at=AT, step_id=step, reason="gone")
