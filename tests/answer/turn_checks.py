"""What must hold of a session once everything has come to its end."""

from __future__ import annotations

from collections.abc import Iterator

from tests.answer.turn_model import Talk, World
from tests.support.rules import check_prompts, check_prompts_of
from turnlog import SYSTEM, RecordedEvent, Session, SessionView
from turnlog.domain import events as e
from turnlog.domain.evolve import evolve
from turnlog.domain.state import Active, initial_state
from turnlog.domain.turns import turn_status
from turnlog.projections.projector import Projector
from turnlog.projections.turn import Step, Turn
from turnlog.projections.turn_watch import TurnWatch

IDEMPOTENT = "look_up"


async def faults(world: World) -> list[str]:
    """What is wrong with the world, in words."""
    found = [*world.wrong, *world.script.wrong]
    healer = world.participants["healer"]
    for talk in world.talks:
        wrong = [*await healer.call(lambda t=talk: _faults_of(world, t))]  # type: ignore[misc]
        if wrong:
            found += [f"{talk.model}: {one}" for one in wrong]
            found += ["  " + line for line in talk.trace]
    for (name, key), count in world.script.effects.items():
        if count > (1 + sum(one.times_held for one in world.participants.values()) + 2 if name == IDEMPOTENT else 1):
            found.append(f"tool {name} has run {count} times for the call {key}")
    return found


async def _faults_of(world: World, talk: Talk) -> list[str]:
    session = world.participants["healer"].log.session(talk.session_id, SYSTEM)
    events = [event async for event in session.events()]
    view = Projector(session.id).apply_all(events).view()
    found = [*_of_the_log(events, talk, world), *_of_the_view(view, talk), *_of_the_watch(session, events)]
    steps = sum(isinstance(event.event, e.CompletionStarted) for event in events)
    if world.script.requests[talk.model] > steps:
        found.append(f"{world.script.requests[talk.model]} requests, of which the log has {steps}")
    lost = steps - sum(isinstance(event.event, e.CompletionFinished) for event in events)
    if lost > world.script.troubles[talk.model] + _starved(events):
        found.append(f"{lost} requests came to nothing, after {world.script.troubles[talk.model]} troubles")
    if await session.view() != view:
        found.append("the kept view is not the fold of the events")
    await check_prompts_of(session)
    check_prompts(view)
    if found:
        talk.trace += [shown(event) for event in events if not isinstance(event.event, e.FRAGMENTS)]
    return found


def shown(recorded: RecordedEvent) -> str:
    """An event in one line."""
    fields = recorded.event.model_dump(exclude={"at", "topic"}, exclude_defaults=True)
    fields = {name: str(value)[:60] for name, value in fields.items()}
    return f"{recorded.position} {recorded.event.at:%S.%f} {type(recorded.event).__name__} {fields}"


def _starved(events: list[RecordedEvent]) -> int:
    """Steps and turns that were given up because a lease ran out on this machine, and not in the model."""
    ends = (event.event for event in events if isinstance(event.event, e.CompletionAbandoned | e.TurnEnded))
    return sum(end.reason == "the writer's lease ran out" for end in ends)


def _of_the_log(events: list[RecordedEvent], talk: Talk, world: World) -> Iterator[str]:
    """Goes through the events, and looks at each with the state before it."""
    state = initial_state(talk.session_id)
    alive = {one.writer_id for one in world.participants.values() if not one.times_held}
    calls: dict[str, set[int]] = {}
    results: dict[str, set[int]] = {}
    turn_of: dict[str, str] = {}
    for recorded in events:
        event, at = recorded.event, recorded.position
        if isinstance(state, Active):
            match event:
                case e.CompletionStarted():
                    turn_of[event.step_id] = event.turn_id
                    yield from (f"{at}: {what}" for what in _of_a_step(state, event, calls, results, turn_of, talk))
                case e.ToolCallStarted():
                    calls.setdefault(event.step_id, set()).add(event.index)
                case e.ToolResultAdded():
                    results.setdefault(event.step_id, set()).add(event.index)
                case e.TurnStarted():
                    if state.open_steps:
                        yield f"{at}: a turn begins while a step is open"
                    if state.in_hand is not None and state.in_hand.writer in alive:
                        yield f"{at}: a turn is taken from {state.in_hand.writer}, which is alive"
                case e.ToolStarted():
                    if state.in_hand is None or state.in_hand.run != event.run:
                        yield f"{at}: a tool begins in a run that nobody has in hand"
                case e.TurnEnded(status=status, run=run) if status != "stopped":
                    if status != "abandoned" and (state.in_hand is None or state.in_hand.run != run):
                        yield f"{at}: a run ends that nobody has in hand"
        state = evolve(state, event)
    if isinstance(state, Active):
        left = (state.in_hand, state.open_steps, state.queue, state.asked)
        is_over = state.turn is not None and state.turn.status in ("stopped", "failed")
        if any(left) or (state.unread and not is_over):
            yield f"something is left: {left}, {state.unread}"


def _of_a_step(
    state: Active,
    event: e.CompletionStarted,
    calls: dict[str, set[int]],
    results: dict[str, set[int]],
    turn_of: dict[str, str],
    talk: Talk,
) -> Iterator[str]:
    turn, latest = state.in_hand, state.latest
    if turn is None or turn.turn_id != event.turn_id:
        yield f"a step of turn {event.turn_id!r}, which nobody has in hand"
        return
    if state.open_steps:
        yield "a step begins while another one is open"
    if turn.run in talk.held_runs or latest is None:
        return
    made = calls.get(latest.step_id, set())
    is_same = turn_of.get(latest.step_id) == event.turn_id
    if is_same and not state.news and latest.finished and made - results.get(latest.step_id, set()):
        yield "the model is asked while calls have no result"
    if not (state.unread or (is_same and (made or not latest.finished))):
        yield f"the model is asked again, for nothing: {latest}"


def _of_the_view(view: SessionView, talk: Talk) -> Iterator[str]:
    for turn in view.turns:
        # What comes in the last answer of a loop by hand is in the request of the turn behind it in the queue.
        is_left = bool(turn.runs) and turn.runs[-1].run in talk.held_runs
        steps = [step for one in view.turns[turn.index if is_left else len(view.turns) :] for step in one.steps]
        if not turn.has_ended or turn.status not in ("finished", "stopped", "failed"):
            yield f"turn {turn.index} is {turn.status}"
        for message in turn.messages:
            if message.role == "user" and not _is_answered(turn, message.position, steps):
                yield f"message {message.message_id} of turn {turn.index} ({turn.status}) is not answered"
    if view.faults:
        yield f"faults: {view.faults}"


def _is_answered(turn: Turn, position: int, more: list[Step]) -> bool:
    """Whether a finished answer came after it, in its turn or among these, or the log says why not."""
    if any(step.status == "finished" and step.position > position for step in (*turn.steps, *more)):
        return True
    ended = turn.runs[-1].ended_position if turn.runs else None
    return turn.status in ("stopped", "failed") and (ended is None or ended > position)


def _of_the_watch(session: Session, events: list[RecordedEvent]) -> Iterator[str]:
    """Goes through the events, and compares the view with what is known without it."""
    projector = Projector(session.id).apply_all(events[:1])
    watch = TurnWatch(projector)
    for recorded in events[1:]:
        projector.apply(recorded)
        has_ended = watch.apply(recorded)
        # A decision comes with its result, in one append.
        if isinstance(recorded.event, e.TextDelta | e.ToolCallArgumentsDelta | e.ApprovalDecided):
            continue
        turn = _current(projector.view().turns)
        if has_ended != (turn is not None and turn.has_ended):
            yield f"{recorded.position}: the watch says {has_ended}, the view does not: {shown(recorded)}"
            return
        if turn is not None and isinstance(projector.state, Active):
            status = turn_status(projector.state)
            if status not in (None, turn.status):
                yield f"{recorded.position}: the state says {status}, turn {turn.index} of the view {turn.status}"
                return


def _current(turns: tuple[Turn, ...]) -> Turn | None:
    """The turn that is in hand, or else the first in the queue, or else the latest that somebody has begun."""
    in_hand = next((turn for turn in turns if turn.is_in_hand), None)
    queued = next((turn for turn in turns if turn.is_queued), None)
    begun = [turn for turn in turns if not turn.runs or turn.steps or turn.runs[-1].writer]
    return in_hand or queued or (begun[-1] if begun else None)
