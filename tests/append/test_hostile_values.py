"""Whatever a public call is given, it works or raises an error of turnlog that is short, and the log goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.hostile import HOSTILE, arguments, methods, outcome
from turnlog import Completion, InvalidInputError, Session, SessionLog, TurnlogError

LONGEST_ERROR = 2_000
METHODS = [
    (owner, name, parameters) for owner, name, parameters in methods() if (owner, name) != ("SessionLog", "open")
]
CALLS = [(method, parameter.name) for method in METHODS for parameter in method[2]]


@st.composite
def bad_calls(draw: st.DrawFn) -> tuple[str, str, list[Any], dict[str, str]]:
    """A method, its parameters, and the hostile values of one or two of them, by name."""
    (owner, name, parameters), first = draw(st.sampled_from(CALLS))
    others = draw(st.lists(st.sampled_from([parameter.name for parameter in parameters]), max_size=1))
    return owner, name, parameters, {key: draw(st.sampled_from(list(HOSTILE))) for key in {first, *others}}


async def called(log: SessionLog, session: Session, call: tuple[str, str, list[Any], dict[str, str]]) -> None:
    owner, name, parameters, hostile = call
    values = {key: HOSTILE[value]() for key, value in hostile.items()}
    positional, named = arguments(parameters, values, session.id)
    waits = name in ("follow", "deltas", "live")
    with refused_shortly(), suppress(TimeoutError if waits else ()):
        async with asyncio.timeout(0.05 if waits else 10):
            if owner != "Completion":
                await outcome(getattr(log if owner == "SessionLog" else session, name)(*positional, **named))
                return
            async with session.completion() as completion:
                await outcome(getattr(completion, name)(*positional, **named))


@contextmanager
def refused_shortly() -> Iterator[None]:
    """What is refused, is refused by an error of turnlog that does not repeat it."""
    refusal = ""
    try:
        yield
    except TurnlogError as error:
        refusal = str(error)
    assert len(refusal) < LONGEST_ERROR


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=bad_calls())
async def test_every_call_takes_a_hostile_value_or_refuses_it_by_a_short_error(
    log: SessionLog, session: Session, call: tuple[str, str, list[Any], dict[str, str]]
) -> None:
    await session  # it was not deleted
    another = await log.start_session("u2")
    with suppress(TurnlogError):
        await another.say("hi")
    await called(log, another, call)


@pytest.mark.long
@pytest.mark.parametrize("value", HOSTILE)
async def test_every_argument_of_every_call_takes_each_hostile_value(log: SessionLog, value: str) -> None:
    for (owner, name, parameters), key in CALLS:
        session = await log.start_session("u2")
        await called(log, session, (owner, name, parameters, {key: value}))
        good = await log.start_session("u3")
        await good.say("hi")
        assert len((await good.view()).messages) == 1


def hostile_chunks() -> st.SearchStrategy[Any]:
    value = st.sampled_from(list(HOSTILE)).map(lambda name: HOSTILE[name]())
    function = st.fixed_dictionaries({}, optional={"name": value, "arguments": value})
    fragment = st.fixed_dictionaries({}, optional={"index": value, "id": value, "function": function | value})
    delta = st.fixed_dictionaries(
        {},
        optional={
            "content": value,
            "reasoning_content": value,
            "reasoning_details": st.lists(st.fixed_dictionaries({"signature": value}), max_size=2) | value,
            "refusal": value,
            "tool_calls": st.lists(fragment, max_size=3) | value,
            "function_call": function | value,
        },
    )
    choice = st.fixed_dictionaries({"delta": delta}, optional={"index": value, "finish_reason": value})
    return st.fixed_dictionaries(
        {"choices": st.lists(choice | value, max_size=2)},
        optional={"id": value, "model": value, "usage": value, "error": value},
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunk=hostile_chunks())
async def test_a_hostile_chunk_is_recorded_or_fails_its_step_and_nothing_shown_is_lost(
    log: SessionLog, chunk: Any
) -> None:
    async def stream() -> Any:
        yield {"choices": [{"delta": {"content": "begun"}}]}
        yield chunk

    session, shown = await log.start_session("u1"), 0
    with refused_shortly():
        async for _ in session.record(stream()):
            shown += 1
    assert shown
    step = (await session.view()).turns[0].steps[0]
    assert step.status in ("finished", "failed")
    assert str(step.message.content).startswith("begun")
    await session.prompt()


@pytest.mark.parametrize("name", ["text", "tool_call_delta"])
async def test_a_call_that_is_refused_leaves_its_completion_open(session: Session, name: str) -> None:
    async with session.completion() as completion:
        await completion.text("so far")
        with pytest.raises(InvalidInputError):
            await getattr(completion, name)([])
        await completion.finish()
    assert (await session.view()).messages == [{"role": "assistant", "content": "so far"}]


def test_the_calls_of_each_class_are_found() -> None:
    found = {(owner, name) for owner, name, _ in METHODS}
    assert {("SessionLog", "usage"), ("Session", "add_message"), (Completion.__name__, "finish")} <= found
