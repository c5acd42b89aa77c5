"""What the Responses API and Anthropic's check before they answer, with their wording, as far as a history matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeGuard

from turnlog.infrastructure.testing.errors import refused

Item = Mapping[str, Any]

_CALLS = ("function_call", "custom_tool_call")


def check_response_request(body: Mapping[str, Any], strict: bool) -> None:
    """Checks a request of the Responses API. Raises RequestRefusedError."""
    if not isinstance(body.get("model"), str):
        raise refused("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    items = body.get("input")
    if isinstance(items, str) and items:
        return
    if not _are_objects(items):
        raise refused("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if strict:
        _check_outputs(items)
        _check_reasoning(items)


def _check_outputs(items: Sequence[Item]) -> None:
    calls = [str(item.get("call_id")) for item in items if item.get("type") in _CALLS]
    outputs = [str(item.get("call_id")) for item in items if str(item.get("type")).endswith("_call_output")]
    for call_id in calls:
        if call_id not in outputs:
            raise refused(f"No tool output found for function call {call_id}.", "input")
    for call_id in outputs:
        if call_id not in calls:
            raise refused(f"No tool call found for function call output with call_id {call_id}.", "input")


def _check_reasoning(items: Sequence[Item]) -> None:
    for item, following in pairwise([*items, {}]):
        is_led_to = following.get("role") == "assistant" or str(following.get("type")).endswith(("_call", "reasoning"))
        if item.get("type") == "reasoning" and not is_led_to:
            text = f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
            raise refused(text, "input")


def check_anthropic_request(body: Mapping[str, Any], strict: bool) -> None:
    """Checks a request of the Messages API. Raises RequestRefusedError."""
    for field in ("model", "max_tokens", "messages"):
        if field not in body:
            raise refused(f"{field}: Field required")
    messages = body["messages"]
    if not _are_objects(messages):
        raise refused("messages: at least one message is required")
    if strict:
        _check_roles(messages)
        _check_results(messages)


def _check_roles(messages: Sequence[Item]) -> None:
    if messages[0].get("role") != "user":
        raise refused('messages: first message must use the "user" role')
    for index, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant"):
            raise refused(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        if not message.get("content"):
            raise refused(f"messages.{index}: all messages must have non-empty content")


def _check_results(messages: Sequence[Item]) -> None:
    for index, (message, following) in enumerate(pairwise([*messages, {}])):
        calls = [block["id"] for block in _blocks(message) if block.get("type") == "tool_use"]
        results = [block.get("tool_use_id") for block in _blocks(following) if block.get("type") == "tool_result"]
        if missing := [call_id for call_id in calls if call_id not in results]:
            ids = ", ".join(missing)
            text = f"`tool_use` ids were found without `tool_result` blocks immediately after: {ids}."
            raise refused(f"messages.{index}: {text}")
        if unknown := [str(call_id) for call_id in results if call_id not in calls]:
            text = f"unexpected `tool_use_id` found in `tool_result` blocks: {', '.join(unknown)}."
            raise refused(f"messages.{index + 1}: {text}")


def _blocks(message: Item) -> list[Item]:
    content = message.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _are_objects(value: Any) -> TypeGuard[list[Item]]:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)
