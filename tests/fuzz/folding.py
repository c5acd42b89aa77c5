"""What the fuzzers share: commands and events folded in memory, and what must hold of the outcome."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID
from zlib import crc32

from tests.support.rules import check_prompts, types_in
from turnlog.domain import commands as c
from turnlog.domain import events as e
from turnlog.domain.decide import decide
from turnlog.domain.errors import PromptTooLongError, TurnlogError
from turnlog.domain.evolve import evolve
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import Active, SessionState, initial_state
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.projections.deltas import delta_of
from turnlog.projections.offsets import Offsets
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import APIS, build_prompt
from turnlog.projections.repair import corrections_of
from turnlog.projections.view import SessionView

ID = UUID(int=7)
AT = datetime(2026, 3, 1, tzinfo=UTC)
LIMIT = 1 << 20
MAPPER = EventMapper()


class Conversation:
    """A session in memory: commands are decided as in a process, and their events kept."""

    def __init__(self) -> None:
        self.state: SessionState = initial_state(ID)
        self.events: list[RecordedEvent] = []
        self.do(c.StartSession(AT, "u1"))

    @property
    def open_step(self) -> str | None:
        """The step that is being written."""
        return next(iter(self.state.open_steps), None) if isinstance(self.state, Active) else None

    def do(self, *commands: c.Command) -> bool:
        """Decides these together; nothing happens if one is refused. Whether all were accepted."""
        state, events = self.state, list[e.SessionEvent]()
        try:
            for command in commands:
                for event in decide(state, command):
                    events.append(event)
                    state = evolve(state, event)
        except TurnlogError:
            return False
        self.state = state
        self.events += (RecordedEvent(ID, at, at, event) for at, event in enumerate(events, len(self.events) + 1))
        return True

    def check(self) -> None:
        """Asserts what must hold of every session."""
        check_history(self.events)


def check_history(events: Sequence[RecordedEvent], *, as_written: bool = True) -> None:
    """Asserts that these events are read back as they were written, if turnlog has written them, and that views,
    prompts, deltas and repairs of them are valid."""
    stored = [(recorded.event.topic, recorded.event.to_json()) for recorded in events]
    read = [RecordedEvent(ID, at, at, MAPPER.event(*row)) for at, row in enumerate(stored, 1)]
    if as_written:
        assert [recorded.event for recorded in read] == [recorded.event for recorded in events]
    projector = Projector(ID).apply_all(read)
    known = {kind for _, body in stored for kind in types_in(json.loads(body))}
    check_prompts(projector.view(), known)
    # What takes longest is for one input in four: so there are more of them. The events say which.
    if crc32(b"".join(body for _, body in stored)) % 4 == 0:
        check_view(projector)
        check_resumed(projector)
        check_deltas(read)
        check_repair(projector, known)


def check_view(projector: Projector) -> None:
    """Asserts that the view goes through JSON, and that every API has a prompt of it that is cut to a window."""
    view = projector.view()
    assert SessionView.model_validate_json(view.model_dump_json()) == view
    for api in APIS:
        with suppress(PromptTooLongError):
            build_prompt(view.turns, api, view.compaction, max_tokens=60)


def check_resumed(projector: Projector) -> None:
    """Asserts that what is kept of a projection gives the same one."""
    head = type(projector.head()).from_json(projector.head().to_json())
    pages = [type(page).from_json(page.to_short_json()) for page in projector.pages_from(0)]
    assert Projector.resume(head, pages).view() == projector.view()


def check_deltas(events: Iterable[RecordedEvent]) -> None:
    """Asserts that every event becomes a delta that goes through JSON."""
    offsets = Offsets()
    for recorded in events:
        if not offsets.know(recorded.event):
            offsets.learn(recorded.event.step_id, [])  # type: ignore[union-attr]  # know() is about steps
        delta_of(recorded, offsets.take(recorded)).model_dump_json()


def check_repair(projector: Projector, known: Collection[str]) -> None:
    """Asserts that a repair of all faults gives valid prompts, too."""
    corrections = tuple(one for turn in projector.raw_turns() for one in corrections_of(turn))
    if corrections:
        event = e.SessionRepaired(at=AT, repair_id="r", upto=projector.version, corrections=corrections)
        projector.apply(RecordedEvent(ID, projector.version + 1, 0, event))
        check_prompts(projector.view(), known)
