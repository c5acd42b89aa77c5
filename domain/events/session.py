"""Events about the session as a whole."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from turnlog.domain.events.base import Event
from turnlog.domain.values import Frozen, JsonObject, Text

CorrectionAction = Literal["none", "join", "leave_out", "leave_out_call", "answer", "empty_arguments"]
"""What a repair does. `none`: the view is right already, and the correction only says so."""


class SessionStarted(Event):
    topic = "session-started.v1"

    user_id: str | None
    title: Text | None = None
    metadata: JsonObject = {}


class OwnerAssigned(Event):
    topic = "owner-assigned.v1"

    user_id: str


class SessionTitled(Event):
    topic = "session-titled.v1"

    title: Text


class MetadataSet(Event):
    """`patch` is a JSON Merge Patch (RFC 7386)."""

    topic = "metadata-set.v1"

    patch: JsonObject


class CounterIncremented(Event):
    """`id` tells two equal increments apart."""

    topic = "counter-incremented.v1"

    id: str
    counter: Text
    key: Text
    by: int


class UsageReported(Event):
    """Usage outside a recorded step. `id` tells two equal reports apart."""

    topic = "usage-reported.v1"

    id: str
    model: Text | None = None
    usage: JsonObject


class Correction(Frozen):
    """What a repair does about one fault, of the kind `fault`: at the position of an event, the index of a call in its
    step, and the index of a turn. `text` says what is done and why; `separator` goes between texts that are joined."""

    fault: Text
    position: int
    index: int | None = None
    turn: int
    action: CorrectionAction
    separator: Text = ""
    text: Text


class SessionRepaired(Event):
    """Corrections of what the events up to the position `upto` say. The events stay; the view is corrected."""

    topic = "session-repaired.v1"

    repair_id: str
    upto: int
    corrections: tuple[Correction, ...]


class RepairWithdrawn(Event):
    """The corrections of an earlier repair no longer apply."""

    topic = "repair-withdrawn.v1"

    repair_id: str


class ContextCompacted(Event):
    """From here on a prompt has `summary` instead of what began at or before the position `upto`."""

    topic = "context-compacted.v1"

    summary: Text
    upto: int


class SessionForked(Event):
    """All earlier events of this session are copies of the first `upto` events of the session `source`."""

    topic = "session-forked.v1"

    source: UUID
    upto: int


class SessionDeleted(Event):
    topic = "session-deleted.v1"
