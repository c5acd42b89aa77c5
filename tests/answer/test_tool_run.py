"""Runs of tools: how they end, and what the model reads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import math
import threading
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.hostile import HOSTILE, Unspeakable
from tests.support.strategies import any_text
from tests.support.tools import CONTEXT, Calculator, Days, Place, Unit, fault, ran, result
from turnlog.domain.errors import LimitExceededError
from turnlog.infrastructure.answer import tool_run
from turnlog.infrastructure.answer.tool_result import WORDS_LENGTH, Pending, ToolOutcome, too_large_outcome
from turnlog.infrastructure.answer.tool_run import run_tool
from turnlog.infrastructure.answer.tools import Tool

# Running


async def test_async_and_plain_functions_and_what_they_give_to_be_awaited_are_run() -> None:
    async def slow(number: int) -> int:
        await asyncio.sleep(0)
        return number

    calculator = Calculator(2)
    tools = [slow, functools.partial(slow), lambda number: slow(number=number), calculator, lambda number: number]
    found = [await result(one, '{"number": 4}') for one in tools]
    assert found == ["4", "4", "4", "8", "4"]


async def test_a_plain_function_does_not_hold_up_the_loop_and_sees_the_context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="")
    variable.set("here")
    go_on = threading.Event()

    def wait() -> str:
        assert threading.current_thread() is not threading.main_thread()
        return f"{go_on.wait(10)} {variable.get()}"

    running = asyncio.create_task(ran(wait))
    await asyncio.sleep(0.01)
    go_on.set()
    assert (await running).content == "True here"


async def test_an_error_of_a_tool_is_told_to_the_model_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise LookupError("no such city")

    assert await fault(broken) == "tool failed: LookupError: no such city"
    (line,) = caplog.records
    assert (line.name, line.levelname, line.getMessage()) == ("turnlog", "WARNING", "tool tool failed")
    assert line.exc_info is not None


async def test_what_a_tool_cannot_say_or_says_at_length_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    def fails(error: Exception) -> Callable[[], None]:
        def tool() -> None:
            raise error

        return tool

    class Mute(Exception):  # noqa: N818 a name for the words below
        __str__ = Unspeakable.__str__

    assert await fault(fails(Mute())) == "tool failed: Mute"
    assert len(await fault(fails(ValueError("x" * 10**6)))) < WORDS_LENGTH + 10


@pytest.mark.parametrize("plain", [True, False])
async def test_a_tool_that_takes_too_long_is_given_up(plain: bool, caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()

    async def slow() -> None:
        await asyncio.sleep(60)

    found = await fault((lambda: stop.wait(60)) if plain else slow, timeout=0.05)
    stop.set()
    assert found == "tool did not end within 0.05 seconds. It may have had effects."
    assert "tool tool did not end within 0.05 seconds" in caplog.text
    assert "tool tool did not end within 0.05 seconds" in caplog.text


async def test_a_tool_that_ignores_its_cancellation_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_run, "GRACE_SECONDS", 0.05)
    go_on = asyncio.Event()

    async def stubborn() -> str:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    assert "did not end within" in await fault(stubborn, timeout=0.05)
    running = asyncio.create_task(ran(stubborn))
    await asyncio.sleep(0.01)
    running.cancel()
    before = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - before < 1
    go_on.set()


@pytest.mark.parametrize("plain", [True, False])
async def test_a_cancellation_ends_a_tool_that_has_its_last_words(plain: bool) -> None:
    ended, stop = list[str](), threading.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append("async")

    running = asyncio.create_task(ran((lambda: stop.wait(60)) if plain else slow))
    await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    stop.set()
    assert ended == ([] if plain else ["async"])


async def test_a_tool_that_is_cancelled_by_its_own_doing_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    async def cancelled() -> None:
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other

    assert "CancelledError" in await fault(cancelled)


async def raises_interrupt() -> None:
    raise KeyboardInterrupt


def raises_interrupt_on_a_thread() -> None:
    raise KeyboardInterrupt


class Exit(BaseException):
    pass


def exits() -> None:
    raise Exit


@pytest.mark.parametrize("tool", [exits, raises_interrupt, raises_interrupt_on_a_thread])
def test_what_is_no_exception_passes_on(tool: Callable[[], Any]) -> None:
    with pytest.raises((KeyboardInterrupt, Exit)):
        asyncio.run(ran(tool))


def test_a_thread_that_was_let_go_does_not_hold_up_the_end_of_the_loop() -> None:
    stop = threading.Event()
    before = time.monotonic()
    outcome = asyncio.run(ran(lambda: stop.wait(30), timeout=0.05))
    assert outcome.status == "error"
    assert time.monotonic() - before < 5
    stop.set()


async def test_a_tool_without_a_function_is_not_run(caplog: pytest.LogCaptureFixture) -> None:
    assert (await run_tool(Tool(None, name="tool"), "{}", CONTEXT)).status == "error"


# Results


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("as it is\0\ud83d", "as it is\0\ud83d"),
        (Unit.CELSIUS, "C"),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        (math.nan, '"NaN"'),
        ([], "[]"),
        ({"ü": [date(2026, 1, 2)]}, '{"ü":["2026-01-02"]}'),
        ({"\ud83d": ["\ud83d", math.inf]}, '{"\ud83d":["\ud83d","Infinity"]}'),
        ({"a": (1, 2)}, '{"a":[1,2]}'),
        (Place(title="Paris"), '{"title":"Paris","near":null}'),
        (Days(), '{"title":1}'),
        ({3}, "[3]"),
        ([{"type": "text", "text": "a"}], [{"type": "text", "text": "a"}]),
        (({"type": "text", "text": ""},), [{"type": "text", "text": ""}]),
        (
            [{"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}],
            [{"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}],
        ),
        ([{"type": "dog", "name": "Rex"}], '[{"type":"dog","name":"Rex"}]'),
        ([{"type": "file", "path": "a"}], '[{"type":"file","path":"a"}]'),
        ([{"type": "text", "text": "a"}, "b"], '[{"type":"text","text":"a"},"b"]'),
    ],
)
async def test_what_a_tool_returns_is_its_content(value: Any, content: Any) -> None:
    assert await ran(lambda: value) == ToolOutcome(content, "final")
    assert await ran(lambda: Pending(value)) == ToolOutcome(content, "pending")


@pytest.mark.parametrize(
    "value",
    [
        b"abc",
        bytearray(b"abc"),
        object(),
        iter([1]),
        (i for i in "abc"),
        {"a": b"\xff"},
        ValueError("x"),
        Calculator,
    ],
)
async def test_what_cannot_be_json_is_an_error_that_says_so(value: Any) -> None:
    words = f"tool has run, but its result is of type {type(value).__name__}, which is not JSON."
    assert await ran(lambda: value) == ToolOutcome(words, "error")
    assert await ran(lambda: Pending(value)) == ToolOutcome(words, "error")


def test_a_result_that_is_too_large_is_explained_to_the_model() -> None:
    outcome = too_large_outcome(LimitExceededError("content", "has 9 bytes, at most 8 are allowed", 8))
    assert outcome.status == "error"
    assert "content: has 9 bytes, at most 8 are allowed" in str(outcome.content)


# Whatever comes


json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text, lambda inner: st.lists(inner, max_size=3)
)
hostile = st.sampled_from(list(HOSTILE.values())).map(lambda make: make())


@given(st.one_of(any_text, st.sampled_from(["", "{}", '{"value": 1}', '{"value": "\\ud800"}', "[" * 10_000])), hostile)
def test_a_run_has_an_outcome_whatever_is_given_and_returned(arguments: str, value: Any) -> None:
    async def tool(value: Any = None) -> Any:
        return returned

    returned = value
    outcome = asyncio.run(ran(tool, arguments))
    assert outcome.status in ("final", "error")
    assert isinstance(outcome.content, str)


@given(st.one_of(json_texts, st.dictionaries(any_text, json_texts, max_size=3)))
@example([math.nan, "\ud83d"])
def test_every_value_of_json_comes_back_as_text_of_json(value: Any) -> None:
    outcome = asyncio.run(ran(lambda: value))
    assert outcome.status == "final"
