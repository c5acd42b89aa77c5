"""What must hold of turns with an owner: one owner at a time, each message answered once, and every turn ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from turnlog.domain import events as e
from turnlog.domain.evolve import evolve
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import Active, initial_state
from turnlog.projections.projector import Projector
from turnlog.projections.turn import Turn

OVER = ("finished", "stopped", "failed")
"""How a turn may be once nobody has anything to do any more. The last two have their reason in the log."""


def faults_of_turns(session_id: UUID, events: Sequence[RecordedEvent], paid: int | None) -> list[str]:
    """What is wrong with the turns of a session in which all has come to its end. `paid`: how many requests the
    provider has answered; None where it is not known how many the log has lost."""
    steps = sum(isinstance(recorded.event, e.CompletionStarted) for recorded in events)
    found = [*_of_the_log(session_id, events), *_of_the_view(session_id, events)]
    if paid and paid > steps:
        found.append(f"{paid} requests were paid for, and the log has {steps}")
    return [*found, *_trace(events)] if found else []


def _trace(events: Sequence[RecordedEvent]) -> Iterator[str]:
    """The events, without those of texts: what is found here is not always found again."""
    for recorded in events:
        if not isinstance(recorded.event, e.FRAGMENTS):
            fields = recorded.event.model_dump(exclude={"at", "topic"}, exclude_defaults=True)
            said = {name: str(value)[:60] for name, value in fields.items()}
            yield f"  {recorded.position} {recorded.event.at:%S.%f} {type(recorded.event).__name__} {said}"


def _of_the_log(session_id: UUID, events: Sequence[RecordedEvent]) -> Iterator[str]:
    """Looks at each event with the state before it."""
    state = initial_state(session_id)
    owed: dict[str, set[int]] = {}
    """The calls of each step, and from them those without a result."""
    made: dict[str, bool] = {}
    turn_of: dict[str, str] = {}
    for recorded in events:
        event, at = recorded.event, recorded.position
        if isinstance(state, Active):
            match event:
                case e.TurnStarted() if state.open_steps:
                    yield f"{at}: a turn begins while a step is open"
                case e.CompletionStarted(turn_id=turn_id) if turn_id:
                    yield from (f"{at}: {what}" for what in _of_a_request(state, event, owed, made, turn_of))
                    turn_of[event.step_id] = turn_id
                case e.ToolCallStarted(step_id=step_id, index=index):
                    owed.setdefault(step_id, set()).add(index)
                    made[step_id] = True
                case e.ToolResultAdded(step_id=step_id, index=index):
                    owed.get(step_id, set()).discard(index)
                case e.ToolStarted(run=run) if state.in_hand is None or state.in_hand.run != run:
                    yield f"{at}: a tool begins in a run that nobody has in hand"
                case e.TurnEnded(run=run, status="finished" | "failed" | "waiting"):
                    if state.in_hand is None or state.in_hand.run != run:
                        yield f"{at}: a run ends that nobody has in hand"
        state = evolve(state, event)
    if isinstance(state, Active) and (state.in_hand or state.open_steps or state.queue):
        yield f"something is left: {(state.in_hand, state.open_steps, state.queue)}"


def _of_a_request(
    state: Active,
    event: e.CompletionStarted,
    owed: dict[str, set[int]],
    made: dict[str, bool],
    turn_of: dict[str, str],
) -> Iterator[str]:
    turn, latest = state.in_hand, state.latest
    if turn is None or turn.turn_id != event.turn_id:
        yield f"a request of turn {event.turn_id!r}, which nobody has in hand"
    elif state.open_steps:
        yield "two requests at the same time"
    elif latest is not None and not state.news and turn_of.get(latest.step_id) == event.turn_id and latest.finished:
        if owed.get(latest.step_id):
            yield "the model is asked while calls have no result"
        if latest.step_id not in made:
            yield "a message is answered twice"


def _of_the_view(session_id: UUID, events: Sequence[RecordedEvent]) -> Iterator[str]:
    view = Projector(session_id).apply_all(events).view()
    for turn in view.turns:
        if turn.messages or turn.steps:
            if turn.status not in OVER:
                yield f"turn {turn.turn_id} is {turn.status}"
            if turn.status != "finished" and turn.runs and not turn.runs[-1].reason:
                yield f"turn {turn.turn_id} is {turn.status}, and nothing says why"
            for message in turn.messages:
                if message.role == "user" and not _is_answered(turn, message.position):
                    yield f"message {message.message_id} of a turn that is {turn.status} is not answered"
    if view.faults:
        yield f"faults: {view.faults}"


def _is_answered(turn: Turn, position: int) -> bool:
    """Whether a finished response came after it, or the log says why not."""
    if any(step.status == "finished" and step.position > position for step in turn.steps):
        return True
    ended = turn.runs[-1].ended_position if turn.runs else None
    return turn.status in ("stopped", "failed") and (ended is None or ended > position)
