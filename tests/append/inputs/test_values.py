"""Bad titles, metadata, counts and usage are refused with the field that is bad, and leave no trace."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pytest

from tests.support.inputs import is_taken, nested, nothing_stored, refused
from tests.support.sessions import FEW_SECONDS, call_tools
from turnlog import InvalidInputError, Session, SessionLog
from turnlog.domain.limits import MAX_JSON_DEPTH


@pytest.mark.parametrize("title", ["", "  ", "\n\t", "x" * 1_001, 5, b"title", ["title"]])
async def test_a_bad_title_is_refused(log: SessionLog, session: Session, title: Any) -> None:
    async with nothing_stored(log):
        with refused("title"):
            await session.set_title(title)
        with refused("title"):
            await log.start_session("u1", title=title)
    assert (await session.view()).title is None


BAD_OBJECTS: list[tuple[str, Any]] = [
    (".a", {"a": math.nan}),
    (".a", {"a": math.inf}),
    (".a[1]", {"a": [0, -math.inf]}),
    (".a.b[0].c", {"a": {"b": [{"c": object()}]}}),
    (".a", {"a": {1, 2}}),
    (".a", {"a": b"bytes"}),
    (".a", {"a": MappingProxyType({1: 2})}),
    ("", {5: "a"}),
    (".a", {"a": {None: 1}}),
    (".a[0]", {"a": [{(1, 2): 1}]}),
    (".a" + "[0]" * MAX_JSON_DEPTH, {"a": nested(MAX_JSON_DEPTH + 1)}),
]


@pytest.mark.parametrize(("path", "value"), BAD_OBJECTS)
async def test_metadata_that_is_not_json_is_refused_with_its_path(
    log: SessionLog, session: Session, path: str, value: Any
) -> None:
    async with nothing_stored(log):
        with refused(f"patch{path}"):
            await session.set_metadata(value)
        with refused(f"metadata{path}"):
            await log.start_session("u1", metadata=value)
    assert (await session.view()).metadata == {}


async def test_metadata_that_holds_itself_is_refused(log: SessionLog, session: Session) -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    async with nothing_stored(log):
        with pytest.raises(InvalidInputError):
            await session.set_metadata(endless)


@pytest.mark.parametrize("value", [5, "text", [1], [("a", 1)], True])
async def test_metadata_that_is_no_object_is_refused(log: SessionLog, session: Session, value: Any) -> None:
    async with nothing_stored(log):
        with refused("patch"):
            await session.set_metadata(value)
        with refused("metadata"):
            await log.start_session("u1", metadata=value)


@pytest.mark.parametrize("value", [0, "", [], False])
async def test_metadata_that_is_no_object_but_looks_empty_is_refused_too(log: SessionLog, value: Any) -> None:
    async with nothing_stored(log):
        with refused("metadata"):
            await log.start_session("u1", metadata=value)


async def test_metadata_of_the_greatest_depth_is_taken(session: Session, other_log: SessionLog) -> None:
    value = {"a": nested(MAX_JSON_DEPTH)}
    await session.set_metadata(value)
    assert (await session.view()).metadata == value
    assert (await other_log.session(session.id, "u1").view()).metadata == value


async def test_a_number_too_long_to_be_read_back_is_refused_or_comes_back(
    session: Session, other_log: SessionLog
) -> None:
    value = {"n": 10**5_000}
    taken = await is_taken(session.set_metadata(value))
    view = await other_log.session(session.id, "u1").view()
    assert view.metadata == (value if taken else {})


async def test_a_tool_result_with_a_number_too_long_is_refused_or_comes_back(session: Session) -> None:
    await call_tools(session, "call-1")
    content: Any = [{"type": "json", "n": 10**5_000}]
    taken = await is_taken(session.add_tool_result("call-1", content))
    results = (await session.view()).turns[0].steps[0].tool_results
    assert [list(result.content) for result in results] == ([content] if taken else [])


BAD_COUNTS = [
    ("counter", ("", "key", 1)),
    ("counter", (5, "key", 1)),
    ("counter", ("runs\0", "key", 1)),
    ("key", ("runs", "  ", 1)),
    ("key", ("runs", None, 1)),
    ("key", ("runs", "\ud800", 1)),
    ("by", ("runs", "key", "1")),
    ("by", ("runs", "key", 1.5)),
    ("by", ("runs", "key", True)),
    ("by", ("runs", "key", 2**60)),
]


@pytest.mark.parametrize(("field", "arguments"), BAD_COUNTS)
async def test_a_bad_count_is_refused(log: SessionLog, session: Session, field: str, arguments: Any) -> None:
    async with nothing_stored(log):
        with refused(field):
            await session.increment(*arguments)
    assert (await session.view()).counters == {}


@pytest.mark.parametrize(
    ("field", "usage", "tokens"),
    [
        ("usage", None, {}),
        ("usage", {}, {}),
        ("usage", "10 tokens", {}),
        ("usage", [1], {}),
        ("usage.prompt_tokens", {"prompt_tokens": math.nan}, {}),
        ("prompt_tokens", None, {"prompt_tokens": "10"}),
        ("prompt_tokens", None, {"prompt_tokens": 1.5}),
    ],
)
async def test_bad_usage_is_refused(
    log: SessionLog, session: Session, field: str, usage: Any, tokens: dict[str, Any]
) -> None:
    async with nothing_stored(log):
        with refused(field):
            await session.add_usage(usage, **tokens)


HARD_TO_STORE = [{"a": {"\ud800": 1}}, {"n": 10**5_000}, {"deep": nested(MAX_JSON_DEPTH)}]


@pytest.mark.parametrize("value", HARD_TO_STORE)
async def test_what_cannot_be_stored_does_not_block_the_session(session: Session, value: Any) -> None:
    with suppress(ValueError):  # InvalidInputError is one; any other is another test's story
        await session.set_metadata(value)
    async with asyncio.timeout(FEW_SECONDS):
        await session.say("Hello")
        assert len((await session.view()).messages) == 1


@pytest.mark.parametrize("value", HARD_TO_STORE)
async def test_what_a_provider_reports_beside_its_text_does_not_cost_the_text(
    session: Session, other_log: SessionLog, value: Any
) -> None:
    async def provider() -> AsyncIterator[dict[str, Any]]:
        yield {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}
        yield {"choices": [], "usage": {"prompt_tokens": 1, "extra": value}}

    async with asyncio.timeout(FEW_SECONDS):
        shown = [chunk async for chunk in session.record(provider())]
        view = await other_log.session(session.id, "u1").view()
    assert len(shown) == 2
    assert view.turns[0].steps[0].status == "finished"
    assert view.messages == [{"role": "assistant", "content": "Hello"}]
