"""Random conversations as they usually go: questions, steps with calls and their results, and rarely anything else."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st

from tests.support.histories import History
from tests.support.strategies import BEGAN, any_event, recorded
from turnlog.domain import events as e


def each_step_once(events: list[Any]) -> History:
    """`decide` opens each step under an id of its own; what a fold makes of it otherwise needs all turns."""
    opened, kept = dict[str, int](), list[Any]()
    for event in events:
        field = "message_id" if isinstance(event, e.MessageAdded | e.MessageImported) else "step_id"
        step_id = getattr(event, field, None)
        if isinstance(event, e.CompletionStarted | e.MessageAdded | e.MessageImported):
            opened[step_id] = opened.get(step_id, -1) + 1
        again = opened.get(step_id, 0)
        kept.append(event.model_copy(update={field: f"{step_id}-{again}"}) if again else event)
    return recorded(kept)


def _turn(user: Any, steps: list[tuple[str, list[str], str]], other: list[Any]) -> list[Any]:
    """A turn as it usually is: a user's message, and steps with calls and their results."""
    events = [e.MessageAdded(at=BEGAN, message_id="m", role="user", content=user)]
    for said, calls, end in steps:
        events.append(e.CompletionStarted(at=BEGAN, step_id="s"))
        events += [e.TextDelta(at=BEGAN, step_id="s", text=said)] if said else []
        for index, call_id in enumerate(calls):
            events.append(e.ToolCallStarted(at=BEGAN, step_id="s", index=index, id=call_id, name="find"))
        events.append(ENDS[end](at=BEGAN, step_id="s"))
        for index, call_id in enumerate(calls[:1]):
            events.append(RESULT(at=BEGAN, step_id="s", index=index, call_id=call_id, content=said or "none"))
    return [*events, *other]


ENDS = {
    "finished": partial(e.CompletionFinished, finish_reason="stop"),
    "failed": partial(e.CompletionFailed, error="no"),
    "interrupted": partial(e.CompletionInterrupted, reason="stopped"),
}


RESULT = partial(e.ToolResultAdded, status="final")

steps = st.tuples(
    st.sampled_from(["", "so", "ok"]), st.lists(st.sampled_from(["c1", "c2"]), max_size=2), st.sampled_from(list(ENDS))
)
late = st.builds(
    RESULT,
    at=st.just(BEGAN),
    step_id=st.sampled_from(["s", "s-1", "s-2"]),
    index=st.just(0),
    call_id=st.just("c1"),
    content=st.just("late"),
)
compactions = st.builds(e.ContextCompacted, at=st.just(BEGAN), summary=st.just("so far"), upto=st.integers(1, 60))
rare = st.just([]) | st.lists(late | late | compactions | any_event, min_size=1, max_size=2)
turns = st.builds(_turn, st.sampled_from(["hi", "and?", ""]), st.lists(steps, max_size=2), rare)
talks = st.lists(turns, min_size=2, max_size=8).map(lambda turns: [event for turn in turns for event in turn])
mixed_histories = (talks | talks | st.lists(any_event, max_size=40)).map(each_step_once)
"""Mostly such conversations, and at times any events."""
