"""The keys under which the store remembers what was accepted, by the event that leaves them and by the command that
asks for them. They are digests, because ids may hold any text."""

from __future__ import annotations

import hashlib
from typing import assert_never

from turnlog.domain.commands import AddMessage, AddToolResult, ImportMessage, IncrementCounter, ReportUsage
from turnlog.domain.events import (
    CompletionStarted,
    CounterIncremented,
    MessageAdded,
    MessageImported,
    SessionEvent,
    ToolResultAdded,
    UsageReported,
)
from turnlog.domain.evolve import result_fingerprint

KeyedCommand = AddMessage | ImportMessage | AddToolResult | IncrementCounter | ReportUsage
"""The commands with an id of the client's, under which they are accepted once."""


def keys_of(event: SessionEvent) -> tuple[tuple[bytes, str], ...]:
    """The keys that an event leaves. With each goes what was accepted: the fingerprint of a result, else nothing."""
    match event:
        case MessageAdded() | MessageImported():
            return ((_message(event.message_id), ""),)
        case CompletionStarted():
            return ((_message(event.step_id), ""),)
        case ToolResultAdded() if event.status != "pending":
            digest = result_fingerprint(event)
            return (_result(event.call_id, None), digest), (_result(event.call_id, event.step_id), digest)
        case CounterIncremented():
            return ((_digest("increment", event.id), ""),)
        case UsageReported():
            return ((_digest("usage", event.id), ""),)
        case _:
            return ()


def key_of(command: KeyedCommand) -> bytes:
    """The key that is there if the command was accepted before."""
    match command:
        case AddMessage() | ImportMessage():
            return _message(command.message_id)
        case AddToolResult():
            return _result(command.call_id, command.step_id)
        case IncrementCounter():
            return _digest("increment", command.id)
        case ReportUsage():
            return _digest("usage", command.id)
        case _:
            assert_never(command)


def _message(message_id: str) -> bytes:
    return _digest("message", message_id)


def _result(call_id: str, step_id: str | None) -> bytes:
    """Of the final result of a call: of this step's call, or of the latest call of the id."""
    return _digest("result", call_id) if step_id is None else _digest(f"result of {step_id}", call_id)


def _digest(kind: str, value: str) -> bytes:
    return hashlib.blake2b(f"{kind}:{value}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
