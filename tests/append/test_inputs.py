"""Bad input is refused with a typed error and leaves no trace; odd text that is not bad comes back exactly."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
from redis import Redis

from tests.support.prompt_rules import check_chat_prompt
from turnlog import SYSTEM, InvalidInputError, Session, SessionLog, SessionNotFoundError, Settings, TurnlogError
from turnlog.domain.errors import (
    LogClosedError,
    SessionExistsError,
    SessionOwnedError,
    StepClosedError,
    ToolCallConflictError,
    ToolResultConflictError,
    UnknownToolCallError,
)
from turnlog.domain.values import MAX_JSON_DEPTH
from turnlog.infrastructure.embedded import Servers

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEW_SECONDS = 5.0
LIMIT = 1_000
TOO_LONG = "x" * (LIMIT + 1)
TOO_LONG_IN_BYTES = "\u20ac" * (LIMIT // 3 + 1)  # three bytes a character


# What the stories below have in common


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Iterator[Settings]:
    """Of a log that takes short messages only. One for all tests here, for they are many and leave nothing behind."""
    assert servers.database_url is not None
    yield Settings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        database_schema="test_inputs",
        max_message_bytes=LIMIT,
    )
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute("set client_min_messages = warning")
        admin.execute("drop schema test_inputs cascade")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def log(settings: Settings) -> AsyncIterator[SessionLog]:
    async with SessionLog.open(settings) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """A second process, as far as the database can tell."""
    async with SessionLog.open(settings) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def session(log: SessionLog) -> Session:
    """A session of the user u1."""
    return await log.start_session("u1")


async def is_listed(log: SessionLog, session: Session, principal: Any = SYSTEM) -> bool:
    """Whether the session is in the list, at the top of which it would be as the last one that was used."""
    return session.id in [item.session_id for item in (await log.list_sessions(principal)).items]


async def events_in(log: SessionLog) -> int:
    """How many events the whole log holds."""
    return int((await log._parts.store.schema.statistics())["events"])


@asynccontextmanager
async def nothing_stored(log: SessionLog) -> AsyncIterator[None]:
    before = await events_in(log)
    yield
    assert await events_in(log) == before


@contextmanager
def refused(field: str) -> Iterator[None]:
    """The input is refused, and the error names the field."""
    with pytest.raises(InvalidInputError) as error:
        yield
    assert error.value.field == field
    assert str(error.value).startswith(f"{field}: ")


async def call_tool(session: Session, call_id: str = "call-1") -> None:
    async with session.completion() as completion:
        await completion.tool_call(call_id, "search", "{}")
        await completion.finish("tool_calls")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


# Users

BAD_USER_IDS = ["", "   ", "\t\n", "x" * 256, "a\0b", "\ud800", 5, b"u1", ["u1"], {"user": "u1"}, True]


@pytest.mark.parametrize("user_id", BAD_USER_IDS)
async def test_a_bad_user_id_starts_no_session(log: SessionLog, user_id: Any) -> None:
    async with nothing_stored(log):
        with refused("user_id"):
            await log.start_session(user_id)


@pytest.mark.parametrize("user_id", [*BAD_USER_IDS, None, SYSTEM])
async def test_a_bad_user_id_becomes_no_owner(log: SessionLog, user_id: Any) -> None:
    unowned = await log.start_session(None)
    async with nothing_stored(log):
        with refused("user_id"):
            await log.assign_owner(unowned.id, user_id)


@pytest.mark.parametrize("principal", [*BAD_USER_IDS, None])
async def test_a_bad_principal_gets_nowhere(log: SessionLog, session: Session, principal: Any) -> None:
    async with nothing_stored(log):
        with refused("principal"):
            log.session(session.id, principal)
        with refused("principal"):
            await log.list_sessions(principal)
        with refused("principal"):
            await log.delete_session(session.id, principal)


def methods_with_a_principal() -> list[str]:
    methods = inspect.getmembers(SessionLog, inspect.isfunction)
    return [name for name, method in methods if "principal" in inspect.signature(method).parameters and name[0] != "_"]


@pytest.mark.parametrize("name", methods_with_a_principal())
async def test_no_method_takes_a_missing_principal(log: SessionLog, session: Session, name: str) -> None:
    method = getattr(log, name)
    parameters = inspect.signature(method).parameters
    assert parameters["principal"].default is inspect.Parameter.empty
    given: dict[str, Any] = {"session_id": session.id} if "session_id" in parameters else {}
    async with nothing_stored(log):
        with refused("principal"):
            result = method(**given, principal=None)
            if inspect.isawaitable(result):
                await result


async def test_a_user_who_is_called_system_is_a_user(log: SessionLog, session: Session) -> None:
    for name in ("SYSTEM", "system", repr(SYSTEM), str(SYSTEM)):
        with pytest.raises(SessionNotFoundError):
            await log.session(session.id, name).view()


# Sessions


@pytest.mark.parametrize("session_id", ["", "not-a-uuid", "1234", 5, b"x" * 16, "\0", ["a"]])
async def test_an_id_that_is_not_a_uuid_starts_no_session(log: SessionLog, session_id: Any) -> None:
    async with nothing_stored(log):
        with refused("session_id"):
            await log.start_session("u1", session_id=session_id)


@pytest.mark.parametrize("session_id", ["", "not-a-uuid", 5, None, "\0"])
async def test_an_id_that_is_not_a_uuid_is_an_unknown_session(log: SessionLog, session_id: Any) -> None:
    with pytest.raises(SessionNotFoundError):
        await log.session(session_id, "u1")
    with pytest.raises(SessionNotFoundError):
        await log.assign_owner(session_id, "u1")
    assert await log.delete_session(session_id, "u1") is False


async def test_a_taken_id_starts_no_second_session(log: SessionLog, other_log: SessionLog, session: Session) -> None:
    unowned = await log.start_session(None)
    async with nothing_stored(log):
        for each in (log, other_log):
            for user_id in ("u2", None):
                with pytest.raises(SessionExistsError):
                    await each.start_session(user_id, session_id=session.id)
            with pytest.raises(SessionExistsError):
                await each.start_session("u1", session_id=unowned.id)
    assert (await session.view()).user_id == "u1"


async def test_the_same_user_who_starts_a_session_again_gets_it_as_it_is(log: SessionLog, session: Session) -> None:
    await session.say("Hello")
    async with nothing_stored(log):
        again = await log.start_session("u1", session_id=str(session.id), title="ignored")
    assert await again.view() == await session.view()


async def test_the_id_of_a_deleted_session_stays_taken(log: SessionLog, other_log: SessionLog) -> None:
    session = await log.start_session("u1")
    assert await log.delete_session(session.id, "u1")
    async with nothing_stored(log):
        for each in (log, other_log):
            with pytest.raises(SessionExistsError):
                await each.start_session("u1", session_id=session.id)


@pytest.mark.parametrize("second", ["u1", "u2"])
async def test_an_owner_is_assigned_once(log: SessionLog, other_log: SessionLog, second: str) -> None:
    unowned = await log.start_session(None)
    await log.assign_owner(unowned.id, "u1")
    async with nothing_stored(log):
        for each in (log, other_log):
            with pytest.raises(SessionOwnedError):
                await each.assign_owner(unowned.id, second)
    assert (await unowned.view()).user_id == "u1"


async def test_an_unknown_session_gets_no_owner(log: SessionLog) -> None:
    async with nothing_stored(log):
        with pytest.raises(SessionNotFoundError):
            await log.assign_owner(uuid4(), "u1")


BAD_PAGES = [
    ("limit", 0),
    ("limit", -1),
    ("limit", 101),
    ("limit", "10"),
    ("limit", 1.5),
    ("limit", None),
    ("limit", True),
    ("offset", -1),
    ("offset", "0"),
    ("offset", 0.0),
    ("offset", None),
    ("offset", 2**63),
    ("offset", False),
]


@pytest.mark.parametrize(("field", "value"), BAD_PAGES)
async def test_a_bad_page_of_the_list_is_refused(log: SessionLog, field: str, value: Any) -> None:
    with refused(field):
        await log.list_sessions("u1", **{field: value})


@pytest.mark.parametrize("after", ["0", None, 1.5, True, 2**70])
async def test_a_bad_position_is_refused(session: Session, after: Any) -> None:
    with refused("after"):
        await anext(session.events(after))


@pytest.mark.parametrize("api", ["", "anthropics", None, 5])
async def test_a_prompt_for_an_unknown_api_is_refused(session: Session, api: Any) -> None:
    with refused("api"):
        await session.prompt(api)


@pytest.mark.parametrize("setting", ["redis_url", "database_url"])
async def test_a_log_with_a_url_that_is_none_is_not_opened(settings: Settings, setting: str) -> None:
    bad = settings.model_copy(update={setting: "no url at all", "store_timeout_seconds": 1})
    with pytest.raises(TurnlogError):
        async with SessionLog.open(bad):
            pass


# Messages


@pytest.mark.parametrize("role", ["robot", "tool", "USER", "", None, 5, ["user"]])
async def test_an_unknown_role_is_refused(log: SessionLog, session: Session, role: Any) -> None:
    async with nothing_stored(log):
        with refused("role"):
            await session.add_message(role, "Hello")


async def test_the_refusal_of_the_role_tool_says_what_to_call_instead(session: Session) -> None:
    role: Any = "tool"
    with pytest.raises(InvalidInputError, match="add_tool_result"):
        await session.add_message(role, "21 C")


BAD_CONTENTS: list[tuple[str, Any]] = [
    ("content", 5),
    ("content", None),
    ("content", b"bytes"),
    ("content", {"type": "text", "text": "not in a list"}),
    ("content", []),
    ("content", {"a", "set"}),
    ("content[0]", ["text"]),
    ("content[0]", [{}]),
    ("content[1]", [{"type": "text", "text": "fine"}, {"type": 5}]),
    ("content[0].n", [{"type": "text", "n": math.nan}]),
    ("content[0].n[1]", [{"type": "text", "n": [0, object()]}]),
    ("content[0]", [{"type": "text", 5: "key"}]),
    ("content", TOO_LONG),
    ("content", TOO_LONG_IN_BYTES),
    ("content[0].text", [{"type": "text", "text": TOO_LONG}]),
    ("content[0].image_url.url", [{"type": "image_url", "image_url": {"url": TOO_LONG}}]),
]


@pytest.mark.parametrize(("field", "content"), BAD_CONTENTS)
async def test_bad_content_of_a_message_is_refused(log: SessionLog, session: Session, field: str, content: Any) -> None:
    async with nothing_stored(log):
        with refused(field):
            await session.say(content)


@pytest.mark.parametrize(("field", "content"), BAD_CONTENTS)
async def test_bad_content_of_a_tool_result_is_refused(
    log: SessionLog, session: Session, field: str, content: Any
) -> None:
    await call_tool(session)
    async with nothing_stored(log):
        with refused(field):
            await session.add_tool_result("call-1", content)
    assert len((await session.view()).pending_tool_calls) == 1


async def test_a_message_of_exactly_the_limit_is_taken(session: Session) -> None:
    for content in ("x" * LIMIT, "\u20ac" * (LIMIT // 3)):
        await session.say(content)
    await session.say([{"type": "text", "text": "x" * LIMIT}])
    assert len((await session.view()).messages) == 3


def tool_calls(call_id: Any = "call-1", name: Any = "search", arguments: Any = "{}") -> list[Any]:
    return [{"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}]


BAD_ASSISTANTS: list[tuple[str, dict[str, Any]]] = [
    ("content", {}),
    ("content", {"tool_calls": []}),
    ("content", {"refusal": ""}),
    ("refusal", {"refusal": 5}),
    ("name", {"name": 5}),
    ("tool_calls", {"tool_calls": "search"}),
    ("tool_calls", {"tool_calls": 5}),
    ("tool_calls[0]", {"tool_calls": ["search"]}),
    ("tool_calls[0].function", {"tool_calls": [{"id": "call-1"}]}),
    ("tool_calls[0].id", {"tool_calls": tool_calls(call_id=None)}),
    ("tool_calls[0].function.name", {"tool_calls": tool_calls(name=5)}),
    ("tool_calls[0].function.arguments", {"tool_calls": tool_calls(arguments={"q": 1})}),
    ("function_call", {"function_call": "search"}),
    ("function_call.name", {"function_call": {"arguments": "{}"}}),
]


@pytest.mark.parametrize(("field", "parts"), BAD_ASSISTANTS)
async def test_a_bad_assistant_message_is_refused(
    log: SessionLog, session: Session, field: str, parts: dict[str, Any]
) -> None:
    async with nothing_stored(log):
        with refused(field):
            await session.add_message("assistant", None, **parts)


OVER_THE_LIMIT: list[tuple[str, dict[str, Any]]] = [
    ("refusal", {"refusal": TOO_LONG}),
    ("tool_calls[0].function.arguments", {"tool_calls": tool_calls(arguments=TOO_LONG)}),
    ("function_call.arguments", {"function_call": {"name": "search", "arguments": TOO_LONG}}),
]


@pytest.mark.parametrize(("field", "parts"), OVER_THE_LIMIT)
async def test_every_text_of_an_assistant_message_has_the_limit(
    log: SessionLog, session: Session, field: str, parts: dict[str, Any]
) -> None:
    async with nothing_stored(log):
        with refused(field):
            await session.add_message("assistant", None, **parts)


@pytest.mark.parametrize("role", ["user", "system", "developer", "function"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("refusal", "No."), ("tool_calls", tool_calls()), ("function_call", {"name": "search", "arguments": "{}"})],
)
async def test_what_only_an_assistant_says_is_refused_of_others(
    log: SessionLog, session: Session, role: Any, field: str, value: Any
) -> None:
    async with nothing_stored(log):
        with refused(field):
            await session.add_message(role, "Hello", **{"name": "n", field: value})


async def test_a_function_message_needs_a_name(log: SessionLog, session: Session) -> None:
    async with nothing_stored(log):
        for name in (None, ""):
            with refused("name"):
                await session.add_message("function", "21 C", name=name)


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
async def test_an_empty_name_never_reaches_the_provider(session: Session, role: Any) -> None:
    """The API answers 400 to it; whether it is refused or left out is ours to say."""
    await is_taken(session.add_message(role, "Hello", name=""))
    check_chat_prompt(await prompt_of(session))


async def prompt_of(session: Session) -> list[Any]:
    return list(await session.prompt())


@pytest.mark.parametrize("message_id", ["", "  ", "x" * 256, "a\0b", "\udfff", 5, b"m"])
async def test_a_bad_message_id_is_refused(log: SessionLog, session: Session, message_id: Any) -> None:
    async with nothing_stored(log):
        with refused("message_id"):
            await session.say("Hello", message_id=message_id)


# Titles, metadata, counters, usage


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
async def test_metadata_that_is_not_json_is_refused_with_its_place(
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
    await call_tool(session)
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
        ("usage", {"prompt_tokens": math.nan}, {}),
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


# Tool results


async def test_a_result_for_an_unknown_call_is_refused(log: SessionLog, session: Session) -> None:
    await call_tool(session)
    async with nothing_stored(log):
        for call_id in ("call-2", "", "CALL-1"):
            for status in ("final", "pending", "error"):
                with pytest.raises(UnknownToolCallError):
                    await session.add_tool_result(call_id, "21 C", status=status)


@pytest.mark.parametrize("call_id", [5, None, b"call-1"])
async def test_a_call_id_that_is_no_text_is_refused(log: SessionLog, session: Session, call_id: Any) -> None:
    await call_tool(session)
    async with nothing_stored(log):
        with refused("call_id"):
            await session.add_tool_result(call_id, "21 C")


@pytest.mark.parametrize("status", ["done", "", None, 5, "FINAL"])
async def test_an_unknown_status_of_a_result_is_refused(log: SessionLog, session: Session, status: Any) -> None:
    await call_tool(session)
    async with nothing_stored(log):
        with refused("status"):
            await session.add_tool_result("call-1", "21 C", status=status)


async def check_that_the_first_result_stands(log: SessionLog, session: Session) -> None:
    """The first was the final result "21 C" of call-1."""
    async with nothing_stored(log):
        await session.add_tool_result("call-1", "21 C")
        await session.add_tool_result("call-1", "asked", status="pending")
        with pytest.raises(ToolResultConflictError):
            await session.add_tool_result("call-1", "22 C")
        with pytest.raises(ToolResultConflictError):
            await session.add_tool_result("call-1", "21 C", status="error")
        with pytest.raises(ToolResultConflictError):
            await session.add_tool_result("call-1", [{"type": "text", "text": "21 C"}])


async def test_a_second_final_result_is_ignored_when_it_is_the_same_and_else_refused(
    log: SessionLog, session: Session
) -> None:
    await call_tool(session)
    await session.add_tool_result("call-1", "21 C")
    await check_that_the_first_result_stands(log, session)


async def test_a_second_final_result_is_known_by_a_log_that_was_opened_later(
    session: Session, settings: Settings
) -> None:
    await call_tool(session)
    await session.add_tool_result("call-1", "21 C")
    await session.view()
    async with SessionLog.open(settings) as reopened:
        again = reopened.session(session.id, SYSTEM)
        await again.view()
        await check_that_the_first_result_stands(reopened, again)


async def test_a_second_final_result_for_a_call_of_an_old_turn_is_known(
    session: Session, log: SessionLog, settings: Settings
) -> None:
    await call_tool(session)
    await session.add_tool_result("call-1", "21 C")
    for number in range(5):
        await session.say(f"question {number}")
        await call_tool(session, f"call of turn {number}")
        await session.add_tool_result(f"call of turn {number}", "other")
        await session.view()
    await check_that_the_first_result_stands(log, session)
    async with SessionLog.open(settings) as reopened:
        await check_that_the_first_result_stands(reopened, reopened.session(session.id, "u1"))


async def test_a_result_of_content_parts_is_known_again(log: SessionLog, session: Session) -> None:
    await call_tool(session)
    parts = [{"type": "text", "text": "21 C", "extra": {"a": 1, "b": 2}}]
    await session.add_tool_result("call-1", parts)
    async with nothing_stored(log):
        await session.add_tool_result("call-1", [{"extra": {"b": 2, "a": 1}, "text": "21 C", "type": "text"}])


# Steps


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
    check_chat_prompt(await prompt_of(session))
    assert (await session.view()).faults == ()


# Somebody else's session


async def stream() -> AsyncIterator[dict[str, Any]]:
    yield {"choices": [{"index": 0, "delta": {"content": "Hello"}}]}


PATHS: Mapping[str, Callable[[Session], Awaitable[Any]]] = {
    "add_message": lambda s: s.add_message("user", "Hello"),
    "add_tool_result": lambda s: s.add_tool_result("call-1", "21 C"),
    "add_usage": lambda s: s.add_usage(prompt_tokens=1),
    "completion": lambda s: s.completion().__aenter__(),
    "events": lambda s: anext(s.events()),
    "increment": lambda s: s.increment("runs", "key"),
    "prompt": lambda s: s.prompt(),
    "record": lambda s: anext(s.record(stream())),
    "say": lambda s: s.say("Hello"),
    "set_metadata": lambda s: s.set_metadata({"a": 1}),
    "cancel": lambda s: s.cancel(),
    "deltas": lambda s: anext(aiter(s.deltas())),
    "follow": lambda s: anext(aiter(s.follow())),
    "live": lambda s: s.live().__aenter__(),
    "record_in_background": lambda s: s.record_in_background(stream()),
    "set_title": lambda s: s.set_title("Mine"),
    "view": lambda s: s.view(),
    "explain_prompt": lambda s: s.explain_prompt(),
    "at": lambda s: s.at(1),
    "compact": lambda s: s.compact("So far so good.", 1),
    "fork": lambda s: s.fork(),
    "await": lambda s: _awaited(s),  # noqa: PLW0108 defined below
}


async def _awaited(session: Session) -> Session:
    return await session


async def test_every_path_of_a_session_is_tried() -> None:
    public = {name for name, _ in inspect.getmembers(Session, inspect.isfunction) if not name.startswith("_")}
    assert public == set(PATHS) - {"await"}, "a new method belongs into PATHS"


async def answer_to(session: Session, path: str) -> tuple[type[BaseException], str]:
    with pytest.raises(TurnlogError) as refusal:
        await PATHS[path](session)
    return refusal.type, str(refusal.value).replace(str(session.id), "ID")


@pytest.mark.parametrize("path", PATHS)
async def test_no_path_tells_somebody_elses_session_from_an_unknown_one(
    log: SessionLog, other_log: SessionLog, session: Session, path: str
) -> None:
    await call_tool(session)
    unowned, deleted = await log.start_session(None), await log.start_session("u2")
    await log.delete_session(deleted.id, "u2")
    async with nothing_stored(log):
        unknown = await answer_to(log.session(uuid4(), "u2"), path)
        assert unknown == (SessionNotFoundError, "no session ID")
        for each in (log, other_log):
            for session_id in (session.id, unowned.id, deleted.id):
                assert await answer_to(each.session(session_id, "u2"), path) == unknown


async def test_no_path_of_the_log_tells_somebody_elses_session_from_an_unknown_one(
    log: SessionLog, session: Session
) -> None:
    async with nothing_stored(log):
        assert [await log.delete_session(each, "u2") for each in (session.id, uuid4())] == [False, False]
        assert not await is_listed(log, session, "u2")
    assert await is_listed(log, session, "u1")


async def test_bad_input_for_somebody_elses_session_says_no_more_than_for_an_unknown_one(
    log: SessionLog, session: Session
) -> None:
    await call_tool(session)
    await session.add_tool_result("call-1", "21 C")
    for session_id in (session.id, uuid4()):
        theirs = log.session(session_id, "u2")
        with pytest.raises(SessionNotFoundError):
            await theirs.add_tool_result("call-1", "22 C")
        with refused("title"):
            await theirs.set_title("")


# After the delete


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_brings_a_deleted_session_back(
    log: SessionLog, other_log: SessionLog, session: Session, path: str
) -> None:
    await call_tool(session)
    theirs = other_log.session(session.id, "u1")
    await theirs.view()
    await theirs.set_title("Opened here too")
    assert await log.delete_session(session.id, "u1")
    async with nothing_stored(log):
        for each in (session, theirs, log.session(session.id, SYSTEM)):
            with pytest.raises(SessionNotFoundError):
                await PATHS[path](each)
    for each_log in (log, other_log):
        assert not await is_listed(each_log, session)
        assert await each_log.delete_session(session.id, "u1") is False


async def test_an_open_step_of_a_deleted_session_takes_nothing_more(
    log: SessionLog, other_log: SessionLog, session: Session
) -> None:
    completion = await session.completion().__aenter__()
    await completion.text("Half an ans")
    assert await other_log.delete_session(session.id, "u1")
    async with nothing_stored(log):
        for attempt in (completion.text("wer"), completion.tool_call("call-1", "search"), completion.finish("stop")):
            with pytest.raises(SessionNotFoundError):
                await attempt
    assert not await is_listed(log, session)


async def test_a_retry_of_an_old_message_does_not_pass_for_stored_after_a_delete(
    log: SessionLog, other_log: SessionLog, session: Session
) -> None:
    theirs = other_log.session(session.id, "u1")
    await theirs.say("Hello", message_id="m-1")
    assert await log.delete_session(session.id, "u1")
    with pytest.raises(SessionNotFoundError):
        await theirs.say("Hello", message_id="m-1")


# After the log was closed


@pytest.mark.parametrize("path", PATHS)
async def test_a_closed_log_says_so_on_every_path(settings: Settings, path: str) -> None:
    async with SessionLog.open(settings) as closed:
        session = await closed.start_session("u1")
    with pytest.raises(LogClosedError):
        await PATHS[path](session)


# Odd text that is not bad

ODD = [
    "a\0b",
    "\0",
    "\ud83d",
    "\ude00 and \ud83d",
    "\ude00\ud83d",
    "\U0001f600",
    "\ufffe\uffff",
    "\u2028\u2029\x85",
    "\\ud83d \\u0000 \\",
    '"}],',
    "\r\n\r",
    "e\u0301\u200d\ufeff",
]


@pytest.mark.parametrize("odd", ODD)
async def test_odd_text_comes_back_exactly_from_everywhere(
    log: SessionLog, session: Session, odd: str, settings: Settings, redis: Redis
) -> None:
    await put_everywhere(session, odd)
    check_that_it_is_everywhere(await session.view(), odd)
    await check_events(session, odd)
    first = await session.view()
    async with SessionLog.open(settings) as from_cache:
        assert await from_cache.session(session.id, "u1").view() == first
    for key in redis.keys(f"*{session.id}*"):
        redis.delete(key)
    async with SessionLog.open(settings) as from_log:
        reopened = from_log.session(session.id, "u1")
        assert await reopened.view() == first
        check_chat_prompt(await prompt_of(reopened))
        assert type(first).model_validate_json(first.model_dump_json()) == first
    assert (await log.list_sessions("u1")).items[0].title == f"title {odd}"


async def put_everywhere(session: Session, odd: str) -> None:
    await session.set_title(f"title {odd}")
    await session.set_metadata({"plain": odd, "deep": [{"er": odd}]})
    await session.add_message("user", odd, name=f"n{odd}")
    await session.say([{"type": "text", "text": odd}])
    async with session.completion(model=f"m{odd}") as completion:
        await completion.reasoning(odd)
        for half in (odd[:1], odd[1:]):
            await completion.text(half)
        await completion.tool_call("call-1", f"f{odd}", odd)
        await completion.tool_call("call-2", "search", '{"q": "' + odd + '"}')
        await completion.finish("tool_calls", usage={"prompt_tokens": 1, "note": odd})
    await session.add_tool_result("call-1", odd)
    await session.add_tool_result("call-2", [{"type": "text", "text": odd}], status="pending")
    await session.add_message("assistant", None, refusal=f"r{odd}", function_call={"name": "f", "arguments": odd})


def check_that_it_is_everywhere(view: Any, odd: str) -> None:
    assert (view.title, view.metadata) == (f"title {odd}", {"plain": odd, "deep": [{"er": odd}]})
    plain, parts = view.turns[0].messages
    assert (plain.content, plain.name, parts.content[0]["text"]) == (odd, f"n{odd}", odd)
    step, whole = view.turns[0].steps
    assert (step.message.content, step.message.reasoning, step.model) == (odd, odd, f"m{odd}")
    assert (step.message.tool_calls[0].name, step.message.tool_calls[0].arguments) == (f"f{odd}", odd)
    assert step.message.tool_calls[1].arguments == '{"q": "' + odd + '"}'
    assert (step.result_of(0).content, step.result_of(1).content[0]["text"]) == (odd, odd)
    assert step.usage["note"] == odd
    assert (whole.message.refusal, whole.message.function_call.arguments) == (f"r{odd}", odd)


async def check_events(session: Session, odd: str) -> None:
    events: list[Any] = [recorded.event async for recorded in session.events()]
    texts = [event.text for event in events if event.topic == "text-delta.v1"]
    assert "".join(texts) == odd
    assert [event.title for event in events if event.topic == "session-titled.v1"] == [f"title {odd}"]
    assert [event.patch["plain"] for event in events if event.topic == "metadata-set.v1"] == [odd]
    assert next(event.arguments for event in events if event.topic == "tool-call-arguments-delta.v1") == odd
    assert next(event.content for event in events if event.topic == "tool-result-added.v1") == odd


async def test_the_halves_of_an_emoji_are_two_in_the_log_and_one_in_the_prompt(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("\ud83d")
        await completion.text("\ude00")
        await completion.finish("stop")
    assert (await session.view()).messages[0]["content"] == "\ud83d\ude00"
    assert (await prompt_of(session))[0]["content"] == "\U0001f600"


@pytest.mark.parametrize("odd", ODD)
async def test_odd_text_in_a_call_id_finds_its_call(session: Session, settings: Settings, odd: str) -> None:
    await call_tool(session, odd)
    await session.add_tool_result(odd, "asked", status="pending")
    async with SessionLog.open(settings) as reopened:
        worker = reopened.session(session.id, SYSTEM)
        await worker.add_tool_result(odd, "21 C")
        await worker.add_tool_result(odd, "21 C")
        view = await worker.view()
    assert view.turns[0].steps[0].tool_results[0].call_id == odd
    assert view.faults == ()
    check_chat_prompt(await prompt_of(session))


@pytest.mark.parametrize("odd", ODD)
async def test_odd_text_in_a_key_is_refused_or_comes_back_exactly(
    session: Session, other_log: SessionLog, odd: str
) -> None:
    taken = [
        await is_taken(session.set_metadata({odd: {odd: 1}})),
        await is_taken(session.say([{"type": "text", "text": "Hello", odd: odd}])),
        await is_taken(session.add_usage({"prompt_tokens": 1, odd: 2})),
    ]
    async with asyncio.timeout(FEW_SECONDS):
        view = await other_log.session(session.id, "u1").view()
        assert await session.view() == view
    came_back = [
        view.metadata == {odd: {odd: 1}},
        [message["content"][0].get(odd) for message in view.messages] == [odd],
        [entry.usage.get(odd) for entry in view.usage.entries] == [2],
    ]
    assert came_back == taken


async def is_taken(attempt: Awaitable[Any]) -> bool:
    try:
        await attempt
    except InvalidInputError:
        return False
    return True


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


async def test_odd_text_as_the_users_name_is_found_in_the_list(log: SessionLog) -> None:
    for user_id in ("\U0001f600", "a'b\"c\\d%_", "\u202eu1", "e\u0301"):
        session = await log.start_session(user_id)
        page = await log.list_sessions(user_id)
        assert [item.session_id for item in page.items] == [session.id]
        assert (await log.session(session.id, user_id).view()).user_id == user_id
