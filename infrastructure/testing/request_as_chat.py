"""A request of any API in the shape of Chat Completions, as far as a short answer to it depends on it."""

from __future__ import annotations

from typing import Any

from turnlog.infrastructure.testing.answers import Request

Json = dict[str, Any]


def as_chat(request: Request) -> Request:
    """The request with `messages`, `tools` and `tool_choice` as Chat Completions has them."""
    if "input" in request:
        messages = request["input"]
        said = [{"role": "user", "content": messages}] if isinstance(messages, str) else map(_item, messages)
        return Request({**request, "messages": list(said), "tools": _tools(request), "tool_choice": _choice(request)})
    if any("input_schema" in tool for tool in request.get("tools") or ()) or "max_tokens" in request:
        messages = [each for message in request["messages"] for each in _message(message)]
        return Request({**request, "messages": messages, "tools": _tools(request), "tool_choice": _choice(request)})
    return request


def _item(item: Json) -> Json:
    if str(item.get("type")).endswith("_call_output"):
        return {"role": "tool", "content": item.get("output")}
    return {"role": item.get("role", "assistant"), "content": item.get("content")}


def _message(message: Json) -> list[Json]:
    content = message.get("content")
    results = [block for block in content if block.get("type") == "tool_result"] if isinstance(content, list) else []
    if results:
        return [{"role": "tool", "content": block.get("content")} for block in results]
    return [message]


def _tools(request: Request) -> list[Json]:
    return [_tool(tool) for tool in request.get("tools") or ()]


def _tool(tool: Json) -> Json:
    if "function" in tool or not ("input_schema" in tool or tool.get("type") == "function"):
        return tool
    parameters = tool.get("parameters", tool.get("input_schema"))
    return {"type": "function", "function": {"name": tool["name"], "parameters": parameters}}


def _choice(request: Request) -> Any:
    choice = request.get("tool_choice")
    if isinstance(choice, dict) and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return "none" if isinstance(choice, dict) and choice.get("type") == "none" else choice
