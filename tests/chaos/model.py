"""What must be in the log, as those know it who were told: outside of the processes that are attacked."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.chaos.calls import REPEATABLE, STEPS, Call, imported
from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent

History = Sequence[RecordedEvent]


@dataclass(slots=True)
class Known:
    """What is known of a call. Times are numbers in the order of what was told."""

    call: Call
    process: int
    tried_at: int
    tries: int = 0
    last_tried_at: int = 0
    acked_at: int | None = None
    acked_by: int = 0
    """The process that was told first."""
    answer: Any = None
    shown: int = 0
    steps: list[str] = field(default_factory=list)
    refusals: int = 0
    """Tries after which it was certain that nothing was stored."""


class Model:
    """Hears what the processes tell, and compares it with what is stored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._time = 0
        self._calls: dict[tuple[UUID, str], Known] = {}
        self._under_way: dict[tuple[int, str], Known] = {}
        self.by_session: dict[UUID, list[Known]] = defaultdict(list)
        self.touched: set[UUID] = set()
        self.seen: dict[UUID, list[tuple[Any, str, str]]] = defaultdict(list)
        self.effects: Counter[tuple[UUID, str, str]] = Counter()
        """How often a tool has run for a call, by session, name and key."""
        self.wrong: list[str] = []
        self.acknowledged = self.tried = 0
        self.was_rewound = False
        self.incomplete: set[UUID] = set()
        """Sessions of which the log may have lost what had happened."""

    # Hearing

    def hear(self, process: int, message: tuple[Any, ...]) -> None:
        """Takes what a process tells."""
        with self._lock:
            self._time += 1
            what, *rest = message
            getattr(self, f"_hear_{what.replace(' ', '_')}")(process, *rest)

    def _hear_try(self, process: int, call: Call) -> None:
        key = (call.session_id, call.id)
        known = self._calls.get(key)
        if known is None:
            known = self._calls[key] = Known(call, process, self._time)
            self.by_session[call.session_id].append(known)
        known.tries += 1
        known.last_tried_at = self._time
        self.tried += 1
        self.touched.add(call.session_id)
        self._under_way[process, call.id] = known

    def _hear_ack(self, process: int, call_id: str, answer: Any) -> None:
        known = self._under_way[process, call_id]
        if known.acked_at is None:
            known.acked_at, known.acked_by, known.answer = self._time, process, answer
        self.acknowledged += 1

    def _hear_step(self, process: int, call_id: str, step_id: str) -> None:
        self._under_way[process, call_id].steps.append(step_id)

    def _hear_shown(self, process: int, call_id: str) -> None:
        self._under_way[process, call_id].shown += 1

    def _hear_unknown(self, process: int, call_id: str, error: str) -> None:
        pass

    def _hear_no(self, process: int, call_id: str, error: str) -> None:
        known = self._under_way[process, call_id]
        started = self._calls.get((known.call.session_id, f"start-{known.call.session_id}"))
        # What two processes tell has no order.
        knew = started and started.acked_by == process and (started.acked_at or 0) < known.last_tried_at
        if error == "SessionNotFoundError" and knew and not self.was_rewound:
            self.wrong.append(f"not found, though it was started: {known.call}")
        refused = error in ("SessionExistsError", "SessionOwnedError", "InvalidInputError")
        if refused and known.call.kind != "extend" and not self._may_be_refused(known, error):
            self.wrong.append(f"{error} for {known.call}")

    def _may_be_refused(self, known: Known, error: str) -> bool:
        """Whether a call that is made again may be refused, because of what came after it."""
        kinds = {one.call.kind for one in self.by_session[known.call.session_id]}
        was_assigned = error == "SessionOwnedError" or known.call.kind == "start_unowned"
        return known.tries > 1 and error != "InvalidInputError" and (was_assigned or "delete" in kinds)

    def _hear_not_stored(self, process: int, call_id: str) -> None:
        self._under_way[process, call_id].refusals += 1

    def _hear_effect(self, process: int, session_id: UUID, name: str, key: str) -> None:
        self.effects[session_id, name, key] += 1

    def _hear_wrong(self, process: int, what: str) -> None:
        self.wrong.append(what)

    def _hear_slow(self, process: int, what: str) -> None:
        self.wrong.append(f"took {what}")

    def _hear_seen(self, process: int, session_id: UUID, version: Any, view: str, prompt: str) -> None:
        self.seen[session_id].append((version, view, prompt))

    # Between rounds

    def left_open(self, process: int) -> list[Call]:
        """What a process that is gone was not told, and another one may ask again."""
        with self._lock:
            mine = [known for (of, _), known in self._under_way.items() if of == process]
            return [known.call for known in mine if known.acked_at is None and known.call.kind in REPEATABLE]

    def begin(self) -> None:
        """A new round: what it touches is looked at, at its end."""
        with self._lock:
            self.touched.clear()
            self.seen.clear()
            self._under_way.clear()
            self.effects.clear()
            self.was_rewound = False

    def mark(self) -> int:
        """A point in time to which the log may go back."""
        return self._time

    def rewind(self, mark: int) -> None:
        """The log has lost what came after the mark: whatever was acknowledged since may be there or not."""
        with self._lock:
            self.was_rewound = True
            self.incomplete |= set(self.by_session)
            for known in self._calls.values():
                if known.acked_at is not None and known.acked_at > mark:
                    known.acked_at, known.answer, known.shown = None, None, 0
                elif known.tried_at > mark:
                    known.shown = 0
            self.seen.clear()

    def lost(self) -> list[Call]:
        """What is not known to be stored, and may be asked again: what starts sessions comes first."""
        with self._lock:
            calls = [known.call for known in self._calls.values() if known.acked_at is None]
        calls = [call for call in calls if call.kind in REPEATABLE and call.session_id in self.touched]
        return sorted(calls, key=lambda call: not call.kind.startswith("start"))

    def forget(self, session_id: UUID) -> None:
        """Forgets a session that was looked at for the last time."""
        with self._lock:
            for known in self.by_session.pop(session_id, []):
                self._calls.pop((session_id, known.call.id), None)

    def talks(self) -> list[UUID]:
        """The sessions of this round whose turns have owners."""
        return [each for each in self.touched if any(one.call.kind == "talk" for one in self.by_session[each])]

    # Comparing

    def faults_of(self, session_id: UUID, events: History) -> list[str]:
        """What is wrong with a session, given its events."""
        known = self.by_session[session_id]
        found = [f"{what}: {one.call}" for one in known for what in _faults(one, events)]
        found += _strangers(known, events)
        found += _order(known, events)
        return [f"session {session_id}: {what}" for what in found]


def _faults(known: Known, events: History) -> list[str]:
    """What is wrong with one call."""
    call, acked = known.call, known.acked_at is not None
    if call.kind in STEPS:
        return [what for step_id in known.steps for what in _faults_of_step(known, step_id, events)]
    if call.kind == "import":
        return _faults_of_import(known, events)
    count, most = len(_places(call, events)), known.tries
    if call.kind in REPEATABLE:
        most = 0 if known.refusals == known.tries else 1
    least = int(acked and known.answer is not False and call.kind in (*REPEATABLE, "title", "metadata", "extend"))
    if call.kind in ("start", "start_unowned") and events:
        least = 1
        owner = call.user if call.kind == "start" else None
        if (found := getattr(events[0].event, "user_id", "?")) != owner:
            return [f"the owner is {found}"]
    return [] if least <= count <= most else [f"is stored {count} times, acknowledged: {acked}"]


def _places(call: Call, events: History) -> list[int]:
    """The positions of what a call has stored."""
    return [recorded.position for recorded in events if _is_of(call, recorded.event)]


def _is_of(call: Call, event: Any) -> bool:
    match event:
        case e.SessionStarted():
            return call.kind in ("start", "start_unowned")
        case e.MessageAdded():
            return (
                call.kind in ("say", "advise", "quote", "talk")
                and event.message_id == call.id
                and call.text in str(event.content)
            )
        case e.CounterIncremented() | e.UsageReported():
            return call.kind in ("increment", "report") and event.id == call.id
        case e.SessionTitled():
            return call.kind == "title" and event.title == call.text
        case e.MetadataSet():
            return call.kind == "metadata" and event.patch.get("last") == call.text
        case e.MessageImported():
            return call.kind == "extend" and call.text in str(event.message)
        case e.OwnerAssigned():
            return call.kind == "assign" and event.user_id == call.user
        case e.ContextCompacted():
            return call.kind == "compact" and event.summary == call.text
        case e.SessionDeleted():
            return call.kind == "delete"
        case e.ToolResultAdded():
            return call.kind == "result" and event.step_id == call.step_id and event.status == "final"
        case _:
            return False


def _faults_of_step(known: Known, step_id: str, events: History) -> list[str]:
    own = [recorded.event for recorded in events if getattr(recorded.event, "step_id", None) == step_id]
    begun = sum(isinstance(event, e.CompletionStarted) for event in own)
    ends = [event for event in own if isinstance(event, e.CompletionEnded)]
    text = "".join(event.text for event in own if isinstance(event, e.TextDelta))
    whole, shown = "".join(known.call.words), "".join(known.call.words[: known.shown])
    acked = known.acked_at is not None and known.answer == step_id
    found = []
    if begun > 1 or len(ends) > 1 or (own and not begun):
        found.append(f"step {step_id} began {begun} times and ended {len(ends)} times")
    if acked and ends and known.call.kind == "background":
        acked = isinstance(ends[0], e.CompletionFinished)  # it was told that the step has ended, and not how
    if acked and not (ends and isinstance(ends[0], e.CompletionFinished)):
        found.append(f"step {step_id} has not finished: {ends}")
    if known.call.kind == "ask":
        return found
    if not whole.startswith(text) or (acked and text != whole):
        found.append(f"step {step_id} says {text!r}")
    if step_id == known.steps[-1] and not text.startswith(shown):
        found.append(f"step {step_id} has shown {shown!r} and stored {text!r}")
    return found


def _faults_of_import(known: Known, events: History) -> list[str]:
    stored = [recorded.event for recorded in events if isinstance(recorded.event, e.MessageImported)]
    expected = imported(known.call)
    whole = [event.message for event in stored] == expected
    ids = [event.message_id for event in stored] == [f"imported-{at}" for at in range(1, len(expected) + 1)]
    if (whole and ids) or (not stored and not events and known.acked_at is None):
        return []
    return [f"{len(stored)} messages are imported, acknowledged: {known.acked_at is not None}"]


def _strangers(known: Sequence[Known], events: History) -> list[str]:
    """What is stored that nobody has asked for, and positions that are not 1, 2, 3."""
    ids = {one.call.id for one in known}
    steps = {step_id for one in known for step_id in one.steps} | _unseen_steps(known, events)
    found = []
    if [recorded.position for recorded in events] != list(range(1, len(events) + 1)):
        found.append(f"positions {[recorded.position for recorded in events]}")
    if (given := [recorded.log_position for recorded in events]) != sorted(set(given)):
        found.append(f"log positions {given}")
    for event in (recorded.event for recorded in events):
        match event:
            case e.MessageAdded() if event.message_id not in ids:
                found.append(f"nobody has said {event.message_id}")
            case e.CounterIncremented() | e.UsageReported() if event.id not in ids:
                found.append(f"nobody has reported {event.id}")
            case e.CompletionStarted() if event.step_id not in steps and not event.turn_id:
                found.append(f"nobody has begun {event.step_id}")
            case _:
                pass
    return found


def _unseen_steps(known: Sequence[Known], events: History) -> set[str]:
    """Steps that were begun in the background by a call that was not told so."""
    texts = [one.call.text for one in known if one.call.kind == "background"]
    said: dict[str, str] = {}
    for event in (recorded.event for recorded in events):
        if isinstance(event, e.CompletionStarted | e.TextDelta):
            said[event.step_id] = said.get(event.step_id, "") + getattr(event, "text", "")
    return {step_id for step_id, text in said.items() if any(text.startswith(one) or not text for one in texts)}


def _order(known: Sequence[Known], events: History) -> list[str]:
    """What was asked after another call was acknowledged to the same process stands after it."""
    placed = [
        (one, places[0])
        for one in known
        if not one.call.is_twin and (places := _places(one.call, events)) and one.acked_at
    ]
    return [
        f"{later.call.id} at {there} came before {one.call.id} at {here}"
        for one, here in placed
        for later, there in placed
        if one.acked_by == later.process and (one.acked_at or 0) < later.tried_at and there < here
    ]
