"""A repair: replays the log, names and corrects what is wrong by one event, and makes the kept view anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from turnlog.domain.commands import RepairSession
from turnlog.domain.errors import SessionNotFoundError
from turnlog.domain.events import Correction
from turnlog.domain.values import fingerprint
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.tasks import off_loop
from turnlog.projections.messages import as_recorded
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import build_prompt
from turnlog.projections.prompt_diff import prompt_diff
from turnlog.projections.repair import corrected, corrections_for
from turnlog.projections.report import RepairReport
from turnlog.projections.stored_state import StoredState
from turnlog.projections.view import Repair, Turn

if TYPE_CHECKING:
    from turnlog.infrastructure.append.aggregate import Aggregate
    from turnlog.infrastructure.log_parts import LogParts


async def repair(parts: LogParts, aggregate: Aggregate, dry_run: bool) -> RepairReport:
    """Repairs the session, or on a dry run says what a repair would do. Raises SessionNotFoundError and StoreError.

    Holds all turns in memory, but only one page of the events.
    """
    await aggregate.flush()
    if dry_run:
        projector = Projector(aggregate.session_id)
        await parts.store.events.fold(projector)
    else:
        parts.prompts.forget(aggregate.session_id)
        projector = await parts.views.fold_anew(aggregate.session_id)
    if not projector.exists:
        raise SessionNotFoundError(aggregate.session_id)
    is_large = projector.is_large
    found = await off_loop(is_large, _found, projector)
    if found.command.corrections and not dry_run:
        aggregate.begin_at(StoredState(projector.state, projector.version, projector.commit_id))
        await aggregate.execute(found.command)
    return await off_loop(is_large, _report, projector, found, dry_run)


class _Found(NamedTuple):
    """The turns as they were recorded, the views of them, and what corrects them."""

    turns: Sequence[Turn]
    views: Sequence[Turn]
    command: RepairSession


def _found(projector: Projector) -> _Found:
    turns = projector.raw_turns()
    views = [corrected(turn) for turn in turns]
    corrections = tuple(c for turn, view in zip(turns, views, strict=True) for c in corrections_for(turn, view.faults))
    # A repair that two processes find at once has one id, so it is stored once.
    corrected_faults = [(c.fault, c.position, c.index) for c in corrections]
    repair_id = fingerprint(str(projector.session_id), projector.version, corrected_faults)
    return _Found(turns, views, RepairSession(now(), repair_id, projector.version, corrections))


def _report(projector: Projector, found: _Found, dry_run: bool) -> RepairReport:
    command, before = found.command, as_recorded(found.turns)
    by_turn = defaultdict[int, list[Correction]](list)
    for correction in command.corrections:
        by_turn[correction.turn].append(correction)
    mended = [
        _with(turn, view, command.repair_id, by_turn.get(turn.index))
        for turn, view in zip(found.turns, found.views, strict=True)
    ]
    after = build_prompt(mended, compaction=projector.compaction)
    return RepairReport(
        session_id=projector.session_id,
        repair_id=command.repair_id if command.corrections and not dry_run else None,
        dry_run=dry_run,
        faults=tuple(fault for view in found.views for fault in view.faults),
        corrections=command.corrections,
        before=tuple(before),
        after=tuple(after),
        diff=prompt_diff(before, after) if command.corrections else "",
    )


def _with(turn: Turn, view: Turn, repair_id: str, corrections: Sequence[Correction] | None) -> Turn:
    """The view of the turn as the repair leaves it."""
    if not corrections:
        return view
    repair = Repair(repair_id=repair_id, corrections=tuple(corrections))
    return corrected(turn.model_copy(update={"repairs": (*turn.repairs, repair)}))
