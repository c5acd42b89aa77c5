"""What a real provider checks before it answers, with its wording.

A prompt that passes here is one that OpenAI takes; the message of a refusal is the one that users see in the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from turnlog.infrastructure.testing.errors import refused

Message = Mapping[str, Any]

_NAMES = "^[a-zA-Z0-9_-]+$"
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")


def check_request(body: Mapping[str, Any], *, strict: bool = True) -> None:
    """Checks a chat completion request; `strict` looks into its messages and tools too.

    Raises `RequestRefusedError` when a real provider would answer 400.
    """
    if not isinstance(body.get("model"), str):
        raise refused("you must provide a model parameter")
    messages = _objects(body, "messages", "messages")
    if strict:
        check_messages(messages)
        _check_tools(body)
        _check_stream_options(body)


def check_messages(messages: Sequence[Message]) -> None:
    """Checks each message, then that calls and results pair up. Raises `RequestRefusedError`."""
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    _check_pairs(messages)


def _check_tools(body: Mapping[str, Any]) -> None:
    if body.get("tools") is not None:
        for index, tool in enumerate(_objects(body, "tools", "tools")):
            _check_tool(tool, f"tools[{index}]")
    elif body.get("tool_choice") is not None:
        text = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise refused(text, "tool_choice")


def _check_tool(tool: Mapping[str, Any], where: str) -> None:
    _check_text(tool, "type", where)
    if tool["type"] == "function":
        _check_text(_mapping(tool, "function", where), "name", f"{where}.function")
        _check_name(tool["function"]["name"], f"{where}.function.name")


def _check_name(name: str, where: str) -> None:
    if not re.fullmatch(_NAMES, name):
        expected = f"Expected a string that matches the pattern '{_NAMES}'."
        raise refused(f"Invalid '{where}': string does not match pattern. {expected}", where, "invalid_value")


def _check_stream_options(body: Mapping[str, Any]) -> None:
    if body.get("stream_options") is not None and not body.get("stream"):
        raise refused("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")


def _check_message(message: Message, where: str) -> None:
    role = message.get("role")
    if role not in _ROLES:
        supported = ", ".join(f"'{name}'" for name in _ROLES)
        raise refused(f"Invalid value: '{role}'. Supported values are: {supported}.", f"{where}.role", "invalid_value")
    if role == "tool":
        _check_text(message, "tool_call_id", where)
    if "tool_calls" in message:
        _check_calls(_objects(message, "tool_calls", f"{where}.tool_calls"), f"{where}.tool_calls")
    if message.get("content") is None and not _may_lack_content(message):
        raise refused("Invalid value for 'content': expected a string, got null.", f"{where}.content")


def _may_lack_content(message: Message) -> bool:
    said = ("tool_calls", "function_call", "refusal")
    return message["role"] == "function" or (message["role"] == "assistant" and any(message.get(key) for key in said))


def _check_calls(calls: Sequence[Message], where: str) -> None:
    for position, call in enumerate(calls):
        _check_call(call, f"{where}[{position}]")
    seen: set[str] = set()
    for call in calls:
        if call["id"] in seen:
            raise refused(f"Invalid parameter: Duplicate value for 'id' of '{call['id']}' in '{where}'.", where)
        seen.add(call["id"])


def _check_call(call: Message, where: str) -> None:
    _check_text(call, "id", where)
    if call.get("type") != "function":
        raise refused(f"Missing required parameter: '{where}.type'.", f"{where}.type", "missing_required_parameter")
    function = _mapping(call, "function", where)
    _check_text(function, "name", f"{where}.function")
    _check_arguments(function.get("arguments"), f"{where}.function.arguments")


def _check_arguments(arguments: object, where: str) -> None:
    if not isinstance(arguments, str):
        raise refused(f"Invalid type for '{where}': expected a string.", where, "invalid_type")
    try:
        json.loads(arguments, parse_constant=_refuse_constant)
    except ValueError:
        raise refused(f"{where}: arguments must be a valid JSON object string", where) from None


def _refuse_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity, JSON has neither.
    raise ValueError(name)


def _check_text(holder: Message, key: str, where: str) -> None:
    field = f"{where}.{key}"
    value = holder.get(key)
    if value is None:
        raise refused(f"Missing required parameter: '{field}'.", field, "missing_required_parameter")
    if not isinstance(value, str):
        raise refused(f"Invalid type for '{field}': expected a string.", field, "invalid_type")
    if not value:
        expected = "Expected a string with minimum length 1, but got an empty string instead."
        raise refused(f"Invalid '{field}': empty string. {expected}", field, "empty_string")


def _check_pairs(messages: Sequence[Message]) -> None:
    position = 0
    while position < len(messages):
        if messages[position]["role"] == "tool":
            text = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
            raise refused(f"{text} 'tool_calls'.", f"messages.[{position}].role")
        calls = messages[position].get("tool_calls", ())
        position = _after_results(messages, position + 1, [call["id"] for call in calls]) if calls else position + 1


def _after_results(messages: Sequence[Message], position: int, call_ids: Sequence[str]) -> int:
    """The position after the results of `call_ids`, all of which must stand from `position` on."""
    answered: dict[str, int] = {}
    while position < len(messages) and messages[position]["role"] == "tool":
        call_id = messages[position]["tool_call_id"]
        _check_result(call_id, position, call_ids, answered)
        answered[call_id] = position
        position += 1
    if missing := [call_id for call_id in call_ids if call_id not in answered]:
        _refuse_unanswered(missing, "messages" if position == len(messages) else f"messages.[{position}].role")
    return position


def _check_result(call_id: str, position: int, call_ids: Sequence[str], answered: Mapping[str, int]) -> None:
    where = f"messages.[{position}].tool_call_id"
    if call_id not in call_ids:
        raise refused(
            f"Invalid parameter: 'tool_call_id' of '{call_id}' not found in 'tool_calls' of previous message.", where
        )
    if call_id in answered:
        pair = f"messages[{answered[call_id]}] and messages[{position}]"
        raise refused(f"Invalid parameter: Duplicate value for 'tool_call_id' of '{call_id}', in {pair}.", where)


def _refuse_unanswered(missing: Sequence[str], where: str) -> NoReturn:
    text = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
    raise refused(f"{text} The following tool_call_ids did not have response messages: {', '.join(missing)}", where)


def _mapping(holder: Message, key: str, where: str) -> Message:
    value = holder.get(key)
    if not isinstance(value, Mapping):
        raise refused(f"Missing required parameter: '{where}.{key}'.", f"{where}.{key}", "missing_required_parameter")
    return value


def _objects(holder: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """The list of objects under `key`, which must be there and not empty."""
    if key not in holder:
        raise refused(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    value = holder[key]
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise refused(f"Invalid type for '{where}': expected an array of objects.", where, "invalid_type")
    if not value:
        expected = "Expected an array with minimum length 1, but got an empty array instead."
        raise refused(f"Invalid '{where}': empty array. {expected}", where, "empty_array")
    return value
