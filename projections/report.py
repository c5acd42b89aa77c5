"""Reports of what a repair or the reaper did, for whoever reviews it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from turnlog.domain.events import Correction
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.turn import Fault


class ReapedStep(Frozen):
    """A step that was open although its writer was gone; or a turn that such a writer had in hand between two steps:
    then `step_id` is None. `turn_id` is that of the turn which ended with it; None where the step had no turn's owner.

    `since` is when the step, or the owner's hold of the turn, began. `host` and `pid` name the writer's process, and
    `expired_at` is when its lease ran out; they are None if the lease is no longer on record."""

    session_id: UUID
    step_id: str | None
    turn_id: str | None = None
    since: datetime
    writer: str
    host: str | None = None
    pid: int | None = None
    expired_at: datetime | None = None


class RepairReport(Frozen):
    """What a repair found and did.

    `before`: the messages as they are stored, one by one, in the Chat Completions shape. `after`: the prompt with the
    corrections applied. `diff` shows the change between the two, one line per message; empty if nothing is corrected.
    `repair_id` is what undoes the repair; None for a dry run, or if there was nothing to repair.
    """

    session_id: UUID
    repair_id: str | None
    dry_run: bool
    faults: tuple[Fault, ...]
    corrections: tuple[Correction, ...]
    before: tuple[JsonObject, ...]
    after: tuple[JsonObject, ...]
    diff: Text
