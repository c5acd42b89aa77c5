"""What the Responses API takes as `input`, written from its rules and not from our builder.

Sources: the API reference of "Create a model response", and 'No tool output found for function call', 'No tool call
found for function call output'.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

_PARTS = {
    "input_text": ({"type", "text"}, {"type", "text"}),
    "input_image": ({"type", "detail"}, {"type", "image_url", "file_id", "detail"}),
    "input_file": ({"type"}, {"type", "file_id", "file_data", "file_url", "filename"}),
}


_OF_THE_SERVER = (
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "program",
    "program_output",
    "compaction",
)
_OF_THE_CLIENT = ("computer_call", "local_shell_call", "shell_call", "apply_patch_call")
_LED_TO = ("function_call", "custom_tool_call", "reasoning", *_OF_THE_SERVER, *_OF_THE_CLIENT)


def check_responses_prompt(items: list[Mapping[str, Any]], known: Collection[str] = ()) -> None:
    """Asserts that the API would take these items, and knows items and parts of the types `known`."""
    json.dumps(items, ensure_ascii=False, allow_nan=False).encode("utf-8")
    waiting: list[str] = []
    seen: set[str] = set()
    for item in items:
        match item["type"]:
            case "message":
                assert not waiting, f"a message before the output of {waiting}"
                _check_message(item, known)
            case "function_call":
                assert 0 < len(item["call_id"]) <= 64, item
                assert item["call_id"] not in seen, f"the call id {item['call_id']!r} comes twice"
                assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", item["name"]), item
                assert isinstance(json.loads(item["arguments"], parse_int=str, parse_float=str), dict), item
                seen.add(item["call_id"])
                waiting.append(item["call_id"])
            case "function_call_output":
                assert item["call_id"] in waiting, f"an output of no call: {item['call_id']!r}"
                waiting.remove(item["call_id"])
                _check_content(item["output"])
            case "reasoning":
                assert item["encrypted_content"], item
                assert item["id"], item
                assert all(part["type"] == "summary_text" for part in item["summary"]), item
            case "custom_tool_call":
                assert isinstance(item["input"], str), item
                assert item["call_id"] not in seen, f"the call id {item['call_id']!r} comes twice"
                seen.add(item["call_id"])
                waiting.append(item["call_id"])
            case "custom_tool_call_output":
                assert item["call_id"] in waiting, f"an output of no call: {item['call_id']!r}"
                waiting.remove(item["call_id"])
                _check_content(item["output"])
            case kind if kind in _OF_THE_CLIENT:
                # 'No tool output found for computer call ...'
                outputs = [one.get("call_id", one.get("id")) for one in items if one["type"] == f"{kind}_output"]
                assert item["call_id"] in outputs, f"a {kind} without its output"
            case kind if kind.removesuffix("_output") in _OF_THE_CLIENT:
                calls = [one["call_id"] for one in items if f"{one['type']}_output" == kind]
                assert item.get("call_id", item.get("id")) in calls, f"a {kind} of no call"
            case kind if kind in _OF_THE_SERVER:
                assert not waiting, f"a {kind} before the output of {waiting}"
                assert item["id"], item
            case other:
                assert other in known, f"an item of the type {other!r}"
    assert not waiting, f"no output of {waiting}"
    for item, following in pairwise([*items, {}]):
        # "Item 'rs_...' of type 'reasoning' was provided without its required following item."
        goes_on = following.get("role") == "assistant" or following.get("type") in (*_LED_TO, *known)
        assert item["type"] != "reasoning" or goes_on, f"reasoning before {following}"
    roles = [item.get("role") if item["type"] == "message" else None for item in items]
    assert ("assistant", "assistant") not in pairwise(roles), roles


def _check_message(item: Mapping[str, Any], types: Collection[str]) -> None:
    assert item["role"] in ("user", "assistant", "system", "developer"), item
    assert item["content"], "an empty message"
    if not isinstance(item["content"], str):
        assert item["role"] != "assistant", item
        _check_content(item["content"], types)


def _check_content(content: Any, types: Collection[str] = ()) -> None:
    if isinstance(content, str):
        return
    for part in content:
        if part["type"] in types and part["type"] not in _PARTS:
            continue
        needed, known = _PARTS[part["type"]]
        assert needed <= set(part) <= known, f"a part with the fields {sorted(part)}"
        assert all(isinstance(value, str) for value in part.values()), part
        assert len(part) > 1, part
