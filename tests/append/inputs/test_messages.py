"""Bad messages are refused with the field that is bad, and leave no trace."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.support.inputs import LIMIT, TOO_LONG, TOO_LONG_IN_BYTES, is_taken, nothing_stored, refused
from tests.support.prompt_rules import check_chat_prompt
from tests.support.sessions import call_tools
from turnlog import InvalidInputError, Session, SessionLog


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
    await call_tools(session, "call-1")
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
    check_chat_prompt(await session.prompt())


@pytest.mark.parametrize("message_id", ["", "  ", "x" * 256, "a\0b", "\udfff", 5, b"m"])
async def test_a_bad_message_id_is_refused(log: SessionLog, session: Session, message_id: Any) -> None:
    async with nothing_stored(log):
        with refused("message_id"):
            await session.say("Hello", message_id=message_id)
