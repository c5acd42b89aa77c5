"""Steps take deltas while they are open, and calls under ids that are theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.inputs import TOO_LONG, TOO_LONG_IN_BYTES, nothing_stored, refused
from tests.support.prompt_rules import check_chat_prompt
from turnlog import Session, SessionLog
from turnlog.domain.errors import StepClosedError, ToolCallConflictError


async def test_nothing_can_be_written_to_a_step_that_has_ended(log: SessionLog, session: Session) -> None:
    async with session.completion() as completion:
        await completion.tool_call_delta(0, id="call-1", name="search", arguments="{")
        await completion.finish("stop")
        await check_that_all_is_refused(log, completion)
    await check_that_all_is_refused(log, completion)


async def check_that_all_is_refused(log: SessionLog, completion: Any) -> None:
    async with nothing_stored(log):
        for attempt in (
            completion.text("late"),
            completion.text(""),
            completion.reasoning("late"),
            completion.refusal("late"),
            completion.tool_call("call-2", "search", "{}"),
            completion.tool_call_delta(0, arguments="}"),
            completion.function_call_delta(name="search"),
            completion.finish("stop"),
        ):
            with pytest.raises(StepClosedError):
                await attempt


async def test_nothing_can_be_written_to_a_step_that_was_left(log: SessionLog, session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("Half an ans")
    await check_that_all_is_refused(log, completion)


async def test_nothing_can_be_written_to_a_step_that_was_not_opened(log: SessionLog, session: Session) -> None:
    await session.view()
    completion = session.completion()
    async with nothing_stored(log):
        for attempt in (completion.text("early"), completion.tool_call("call-1", "search"), completion.finish()):
            with pytest.raises(StepClosedError):
                await attempt


async def test_a_completion_that_has_ended_is_not_opened_again(log: SessionLog, session: Session) -> None:
    async with session.completion() as completion:
        await completion.finish("stop")
    async with nothing_stored(log):
        with pytest.raises(StepClosedError):
            await completion.__aenter__()
    assert (await session.view()).faults == ()


BAD_DELTAS: list[tuple[str, Callable[[Any], Awaitable[None]]]] = [
    ("text", lambda c: c.text(5)),
    ("text", lambda c: c.text(None)),
    ("text", lambda c: c.text(TOO_LONG)),
    ("text", lambda c: c.reasoning(b"bytes")),
    ("text", lambda c: c.refusal(TOO_LONG_IN_BYTES)),
    ("id", lambda c: c.tool_call(None, "search")),
    ("name", lambda c: c.tool_call("call-1", 5)),
    ("arguments", lambda c: c.tool_call("call-1", "search", {"q": 1})),
    ("arguments", lambda c: c.tool_call("call-1", "search", TOO_LONG)),
    ("index", lambda c: c.tool_call_delta("0", id="call-1")),
    ("index", lambda c: c.tool_call_delta(-1, id="call-1")),
    ("index", lambda c: c.tool_call_delta(True, id="call-1")),
    ("id", lambda c: c.tool_call_delta(0, id=5)),
    ("arguments", lambda c: c.tool_call_delta(0, id="call-1", arguments=5)),
    ("arguments", lambda c: c.tool_call_delta(0, id="call-1", arguments=TOO_LONG)),
    ("arguments", lambda c: c.function_call_delta(name="search", arguments=TOO_LONG)),
    ("finish_reason", lambda c: c.finish(5)),
    ("model", lambda c: c.finish("stop", model=5)),
]


@pytest.mark.parametrize(("field", "write"), BAD_DELTAS)
async def test_a_bad_delta_is_refused_and_the_step_goes_on(
    log: SessionLog, session: Session, field: str, write: Callable[[Any], Awaitable[None]]
) -> None:
    async with session.completion() as completion:
        await completion.text("Fine.")
        async with nothing_stored(log):
            with refused(field):
                await write(completion)
        await completion.finish("stop")
    assert (await session.view()).messages == [{"role": "assistant", "content": "Fine."}]


async def test_a_model_that_is_no_text_opens_no_step(log: SessionLog, session: Session) -> None:
    model: Any = 5
    async with nothing_stored(log):
        with refused("model"):
            session.completion(model=model)


@pytest.mark.parametrize(
    "other", [("search", '{"q": 2}'), ("find", '{"q": 1}'), ("search", ""), ("search", '{"q": 1} '), ("", '{"q": 1}')]
)
async def test_another_call_under_the_id_of_a_call_of_the_step_is_refused(
    log: SessionLog, session: Session, other: tuple[str, str]
) -> None:
    async with session.completion() as completion:
        await completion.tool_call("call-1", "search", '{"q": 1}')
        async with nothing_stored(log):
            with pytest.raises(ToolCallConflictError):
                await completion.tool_call("call-1", *other)
            await completion.tool_call("call-1", "search", '{"q": 1}')
        await completion.tool_call("call-2", *other)
        await completion.finish("tool_calls")
    step = (await session.view()).turns[0].steps[0]
    assert [call.arguments for call in step.message.tool_calls] == ['{"q": 1}', other[1]]


async def test_a_whole_call_that_had_come_in_fragments_is_taken_for_the_same(log: SessionLog, session: Session) -> None:
    async with session.completion() as completion:
        for arguments in ('{"q"', ": 1}"):
            await completion.tool_call_delta(0, id="call-1", name="search", arguments=arguments)
        async with nothing_stored(log):
            await completion.tool_call("call-1", "search", '{"q": 1}')
            with pytest.raises(ToolCallConflictError):
                await completion.tool_call("call-1", "create", '{"q": 1}')
        await completion.finish("tool_calls")


async def test_the_id_of_a_call_of_an_earlier_step_is_free(session: Session) -> None:
    for number in (1, 2):
        async with session.completion() as completion:
            await completion.tool_call("call_0", "search", f'{{"q": {number}}}')
            await completion.finish("tool_calls")
        await session.add_tool_result("call_0", f"result {number}")
    check_chat_prompt(await session.prompt())
    assert (await session.view()).faults == ()
