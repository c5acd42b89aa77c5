"""Random conversations as they usually go: questions, steps with calls and their results, and rarely anything else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.support.histories import History
from tests.support.strategies import BEGAN, any_event, live_event, recorded
from turnlog.domain import events as e

ENDS = {
    "finished": partial(e.CompletionFinished, finish_reason="stop"),
    "failed": partial(e.CompletionFailed, error="no"),
    "interrupted": partial(e.CompletionInterrupted, reason="stopped"),
}
RESULT = partial(e.ToolResultAdded, status="final")


def each_step_once(events: Sequence[Any]) -> History:
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


class _Step(NamedTuple):
    said: str
    calls: list[str]
    end: str
    is_hurried: bool
    """Whether the user sends a message before it ends."""


def _user(content: Any) -> e.MessageAdded:
    return e.MessageAdded(at=BEGAN, message_id="m", role="user", content=content)


def _turn(user: Any, steps: Sequence[_Step], other: Sequence[Any]) -> list[Any]:
    """A turn as it usually is: a user's message, and steps with calls and their results."""
    events: list[Any] = [_user(user)]
    for step in steps:
        events.append(e.CompletionStarted(at=BEGAN, step_id="s"))
        events += [e.TextDelta(at=BEGAN, step_id="s", text=character) for character in step.said]
        for index, call_id in enumerate(step.calls):
            events.append(e.ToolCallStarted(at=BEGAN, step_id="s", index=index, id=call_id, name="find"))
        events += [_user("hurry")] if step.is_hurried else []
        events.append(ENDS[step.end](at=BEGAN, step_id="s"))
        for index, call_id in enumerate(step.calls[:1]):
            events.append(RESULT(at=BEGAN, step_id="s", index=index, call_id=call_id, content=step.said or "none"))
    return [*events, *other]


def _joined(turns: Sequence[list[Any]]) -> list[Any]:
    return [event for turn in turns for event in turn]


questions = st.sampled_from(["hi", "and?"])
steps = st.builds(
    _Step,
    said=st.sampled_from(["", "so", "ok"]),
    calls=st.lists(st.sampled_from(["c1", "c2"]), max_size=2),
    end=st.sampled_from(list(ENDS)),
    is_hurried=st.just(False),
)
hurried = steps.map(lambda step: step._replace(is_hurried=True))
late = st.builds(
    RESULT,
    at=st.just(BEGAN),
    step_id=st.sampled_from(["s", "s-1", "s-2"]),
    index=st.just(0),
    call_id=st.just("c1"),
    content=st.just("late"),
)
compactions = st.builds(e.ContextCompacted, at=st.just(BEGAN), summary=st.just("so far"), upto=st.integers(1, 60))


turns = st.builds(
    _turn,
    questions | st.just(""),
    st.lists(steps | steps | hurried, max_size=2),
    st.just([]) | st.lists(late | late | compactions | any_event, min_size=1, max_size=2),
)
talks = st.lists(turns, min_size=2, max_size=8).map(_joined)
mixed_histories = (talks | talks | st.lists(any_event, max_size=40)).map(each_step_once)
"""Mostly such conversations, and at times any events."""


def answered_turns(others: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Turns with a question and an answer, and in every other one some events after it."""
    after = st.just([]) | st.lists(others, min_size=1, max_size=2)
    return st.builds(_turn, questions, st.lists(steps, min_size=1, max_size=2), after)


long_histories = st.lists(answered_turns(any_event), min_size=3, max_size=8).map(_joined).map(each_step_once)
"""Conversations of several turns, with other events between some of them."""

_hurried_turns = st.builds(_turn, questions, st.lists(hurried, min_size=1, max_size=2), st.lists(any_event, max_size=2))
hurried_histories = st.lists(_hurried_turns, min_size=1, max_size=5).map(_joined).map(each_step_once)
"""Conversations in which the user sends a message during each step."""

_answered = st.builds(
    _Step, said=st.sampled_from(["so", "ok"]), calls=st.just(["c1"]), end=st.just("finished"), is_hurried=st.just(False)
)
_hurried_answered = _answered.map(lambda step: step._replace(is_hurried=True))
_of_long_turns = _answered | _answered | _answered | _hurried_answered | steps


def long_turns(others: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Turns of many steps, nearly all of which have a call with its result."""
    after = st.just([]) | st.lists(others, min_size=1, max_size=2)
    return st.builds(_turn, questions, st.lists(_of_long_turns, min_size=3, max_size=8), after)


_any_long_turns = long_turns(late | live_event | compactions)
_long_turns = st.lists(long_turns(st.nothing()), min_size=1, max_size=3) | st.lists(
    long_turns(st.nothing()) | _any_long_turns, min_size=1, max_size=3
)
histories_of_long_turns = _long_turns.map(_joined).map(each_step_once)
"""Turns of an agent that calls tools: most of their steps stand alone."""
long_turns_that_are_cut = st.builds(
    lambda history, cut: (history, max(1, min(cut, len(history)))), histories_of_long_turns, st.integers(0, 120)
)
"""Such turns, and how many of the events were there before they went on."""

live_talks = st.lists(answered_turns(live_event), min_size=3, max_size=8).map(_joined).map(each_step_once)
live_histories = st.lists(live_event, max_size=40).map(recorded)
"""Events of which none is an import or a repair."""


def _own_steps(events: Sequence[Any]) -> list[Any]:
    """The events without a compaction, and without those of a step that none of them opens: they reach back."""
    opened, kept = set[str](), list[Any]()
    for event in events:
        if isinstance(event, e.CompletionStarted):
            opened.add(event.step_id)
        if isinstance(event, e.MessageAdded) and event.role == "assistant":
            opened.add(event.message_id)
        if getattr(event, "step_id", None) in {None, *opened} and not isinstance(event, e.ContextCompacted):
            kept.append(event)
    return kept


def _gone_on(before: list[list[Any]], last: list[list[Any]], after: list[list[Any]], more: int) -> tuple[History, int]:
    known = [*_joined(before), *_joined(last)]
    history = each_step_once([*known, *_own_steps(_joined(after))])
    return history, min(1 + len(known) + more, len(history))


conversations_that_go_on = st.builds(
    _gone_on,
    st.lists(turns, max_size=4),
    st.lists(answered_turns(st.nothing()), min_size=2, max_size=2),
    st.lists(answered_turns(live_event), min_size=2, max_size=4),
    st.integers(0, 8),
)
"""A history, and how many of its events were there before it went on: what comes then needs no turn of long before."""

histories_that_are_cut = st.builds(
    lambda history, cut: (history, max(1, min(cut, len(history)))), mixed_histories, st.integers(0, 80)
)
"""Any history, and how many of its events were there before it went on."""
