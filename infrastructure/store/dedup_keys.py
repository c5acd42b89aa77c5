"""The keys under which the store remembers what was accepted, by the event that leaves them and by the command that
brings them. They are digests, because ids may hold any text."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, assert_never

from turnlog.domain.commands import AddMessage, ImportMessage, IncrementCounter, ReportUsage
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

KeyedCommand = AddMessage | ImportMessage | IncrementCounter | ReportUsage
"""The commands with an id of the client's, under which they are accepted once."""


class Key(NamedTuple):
    """A key, and what was accepted under it: the fingerprint of a result, else nothing. `once`: nothing may be accepted
    under it again. Of results it is the state that knows whether a call still waits for one, and a later response may
    use a call's id again."""

    key: bytes
    value: str = ""
    once: bool = True


def keys_of(event: SessionEvent) -> tuple[Key, ...]:
    """The keys that an event leaves."""
    match event:
        case MessageAdded() | MessageImported():
            return (Key(_message(event.message_id)),)
        case CompletionStarted():
            return (Key(_message(event.step_id), once=False),)  # it was made here, and is no client's
        case ToolResultAdded() if event.status != "pending":
            digest = result_fingerprint(event)
            return tuple(
                Key(result_key(event.call_id, step_id), digest, once=False) for step_id in (None, event.step_id)
            )
        case CounterIncremented():
            return (Key(_digest("increment", event.id)),)
        case UsageReported():
            return (Key(_digest("usage", event.id)),)
        case _:
            return ()


def key_of(command: KeyedCommand) -> bytes:
    """The key that is there if the command was accepted before."""
    match command:
        case AddMessage() | ImportMessage():
            return _message(command.message_id)
        case IncrementCounter():
            return _digest("increment", command.id)
        case ReportUsage():
            return _digest("usage", command.id)
        case _:
            assert_never(command)


def _message(message_id: str) -> bytes:
    return _digest("message", message_id)


def result_key(call_id: str, step_id: str | None) -> bytes:
    """The key of the final result of a call: of this step's call, or of the latest call of the id."""
    return _digest("result", call_id) if step_id is None else _digest(f"result of {step_id}", call_id)


def _digest(kind: str, value: str) -> bytes:
    return hashlib.blake2b(f"{kind}:{value}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
