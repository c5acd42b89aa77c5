"""What the Chat Completions API takes for `messages`, written from its rules and not from our builder.

Sources: the API reference of "Create chat completion" (the shape of each role), and what the service answers with a
400. Used by every test that builds a prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

Message = Mapping[str, Any]

_FIELDS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "tool_calls", "function_call", "audio"},
    "tool": {"role", "content", "tool_call_id"},
    "function": {"role", "content", "name"},
}
_PARTS = {
    # 'Invalid 'messages[2]'. Image URLs are only allowed for messages with role 'user', but this message with role
    # 'tool' contains an image URL.'
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
}
_HELD = {
    "image_url": ({"url"}, {"url", "detail"}),
    "input_audio": ({"data", "format"}, {"data", "format"}),
    "file": (set(), {"file_data", "file_id", "filename"}),
}
# The API says 'string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$''
_FUNCTION = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SPEAKER = re.compile(r"[^\s<|\\/>]{1,64}")
_SAYS_SOMETHING = ("content", "refusal", "tool_calls", "function_call", "audio")


def check_chat_prompt(messages: Sequence[Message]) -> None:
    """Asserts that the API would take these messages."""
    check_utf8(messages)
    for place, message in enumerate(messages):
        _check_message(message, f"messages[{place}]")
    check_no_neighbours(messages)
    check_pairs(messages)


def check_no_neighbours(messages: Sequence[Message]) -> None:
    """Asserts that no two assistant messages stand side by side. Holds for a transcript too."""
    roles = [message["role"] for message in messages]
    assert ("assistant", "assistant") not in pairwise(roles), f"two assistant messages side by side: {roles}"


def check_utf8(messages: Sequence[Message]) -> None:
    """Asserts that the messages can be sent."""
    try:
        json.dumps(messages, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise AssertionError(f"the prompt cannot be sent as UTF-8: {error}") from error


def _check_message(message: Message, where: str) -> None:
    role = message.get("role")
    assert role in _FIELDS, f"{where}: unknown role {role!r}"
    assert set(message) <= _FIELDS[role], f"{where}: fields that a {role} message has not: {sorted(message)}"
    if "name" in message:
        check_matches(_SPEAKER, message["name"], f"{where}.name")
    if role == "assistant":
        _check_assistant(message, where)
    elif role == "function":
        check_matches(_FUNCTION, message.get("name"), f"{where}.name")
    else:
        assert message.get("content") is not None, f"{where}: a {role} message without content"
    if message.get("content") is not None:
        _check_content(message["content"], _PARTS.get(role, {"text"}), f"{where}.content")


def _check_assistant(message: Message, where: str) -> None:
    assert any(message.get(field) for field in _SAYS_SOMETHING), f"{where}: an assistant message that says nothing"
    assert isinstance(message.get("refusal"), str | None), f"{where}.refusal is not a string"
    if "audio" in message:
        assert set(message["audio"]) == {"id"}, f"{where}.audio is more than the id of earlier audio"
    if "tool_calls" in message:
        _check_calls(message["tool_calls"], f"{where}.tool_calls")
    if message.get("function_call") is not None:
        check_function(message["function_call"], f"{where}.function_call")


def _check_content(content: Any, kinds: set[str], where: str) -> None:
    if isinstance(content, str):
        return
    assert isinstance(content, list), f"{where} is neither a string nor a list"
    assert content, f"{where} is an empty list"
    for place, part in enumerate(content):
        assert isinstance(part, Mapping), f"{where}[{place}] is not an object"
        # "Missing required parameter: 'messages[1].content[0].type'"; blocks of another API are refused by their type
        assert part.get("type") in kinds, f"{where}[{place}].type is {part.get('type')!r}"
        _check_part(part, part["type"], f"{where}[{place}]")


def _check_part(part: Mapping[str, Any], kind: str, where: str) -> None:
    # The API says "Unknown parameter: 'messages[0].content[0].annotations'"
    # (cache_control is in real traffic to relays, and taken)
    assert set(part) <= {"type", kind, "prompt_cache_breakpoint", "cache_control"}, (
        f"{where} has the fields {sorted(part)}"
    )
    if kind in ("text", "refusal"):
        _check_filled(part.get(kind), f"{where}.{kind}")
        return
    needed, known = _HELD[kind]
    held = part[kind]
    assert needed <= set(held) <= known, f"{where}.{kind} has the fields {sorted(held)}"
    assert set(held) - {"filename"}, f"{where}.{kind} is empty"
    for field, value in held.items():
        _check_filled(value, f"{where}.{kind}.{field}") if field != "filename" else None
    # The API says of formats that "Supported values are: 'wav' and 'mp3'"
    assert held.get("format", "wav") in ("wav", "mp3"), f"{where}: format {held['format']!r}"
    assert held.get("detail", "auto") in ("auto", "low", "high", "original"), f"{where}: detail {held['detail']!r}"


def _check_calls(calls: Any, where: str) -> None:
    assert isinstance(calls, list), f"{where} is not a list"
    assert calls, f"{where} is an empty list"
    for place, call in enumerate(calls):
        assert set(call) == {"id", "type", "function"}, f"{where}[{place}] has the fields {sorted(call)}"
        assert call["type"] == "function", f"{where}[{place}].type is {call['type']!r}"
        _check_filled(call["id"], f"{where}[{place}].id")
        check_function(call["function"], f"{where}[{place}].function")
    ids = [call["id"] for call in calls]
    assert len(set(ids)) == len(ids), f"{where}: ids are not unique: {ids}"


def check_function(function: Any, where: str) -> None:
    """Asserts that this is a function and its arguments."""
    assert set(function) == {"name", "arguments"}, f"{where} has the fields {sorted(function)}"
    check_matches(_FUNCTION, function["name"], f"{where}.name")
    assert isinstance(function["arguments"], str), f"{where}.arguments is not a string"
    try:
        # Numbers stay text: Python refuses to read a very long one, JSON does not.
        arguments = json.loads(function["arguments"], parse_constant=_refuse_constant, parse_int=str, parse_float=str)
    except ValueError as error:
        raise AssertionError(f"{where}.arguments are not JSON: {function['arguments']!r}") from error
    # The API says: 'arguments must be a valid JSON object string'
    assert isinstance(arguments, dict), f"{where}.arguments are no JSON object: {function['arguments']!r}"


def _refuse_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity, JSON has neither.
    raise ValueError(name)


def check_matches(pattern: re.Pattern[str], value: Any, where: str) -> None:
    """Asserts that this is a text of the pattern."""
    _check_filled(value, where)
    assert pattern.fullmatch(value), f"{where} is {value!r}"


def _check_filled(value: Any, where: str) -> None:
    assert isinstance(value, str), f"{where} is not a string: {value!r}"
    assert value, f"{where} is empty"


def check_pairs(messages: Sequence[Message]) -> None:
    """Each call is answered exactly once directly after its message, and nothing else is answered."""
    # Kimi, Mistral and Anthropic behind the same API refuse an id that comes back: 'tool call id ... is duplicated'
    every = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    assert len(set(every)) == len(every), f"ids come back: {every}"
    place = 0
    while place < len(messages):
        assert messages[place]["role"] != "tool", f"messages[{place}] is the result of no call"
        calls = [call["id"] for call in messages[place].get("tool_calls", ())]
        place += 1
        answered = []
        while calls and place < len(messages) and messages[place]["role"] == "tool":
            answered.append(messages[place]["tool_call_id"])
            place += 1
        assert sorted(answered) == sorted(calls), f"before messages[{place}]: calls {calls}, answered {answered}"
