"""What a fake provider without a script answers."""

from __future__ import annotations

import json
from typing import Any

from turnlog.infrastructure.testing.answers import Answer, Recorded, Reply, Request, ToolCall
from turnlog.infrastructure.testing.corpus import own_stream
from turnlog.infrastructure.testing.request_as_chat import as_chat
from turnlog.infrastructure.testing.schema_example import example

_CUT = "#cut="
_QUOTED_CHARACTERS = 200


def default_answer(request: Request) -> Reply:
    """A short answer that fits the request.

    A model that is named like a recorded stream plays it, and loses the connection after three chunks if it is
    `NAME#cut=3`. Else, where the request offers tools and the user's last message has no tool result yet, the first
    tool is called (or the one that `tool_choice` names). Else it is a text that repeats the results, or what the user
    said; JSON where `response_format` asks for that.
    """
    request = as_chat(request)
    name, after = _split_cut(request["model"])
    if own_stream(name):
        return Recorded(name, fails_after=after)
    results = _last_results(request["messages"])
    if (tool := _tool(request)) and not results:
        return Answer(tool_calls=[ToolCall(tool["name"], example(tool.get("parameters")))])
    return Answer(_json(request) or _text(request["messages"], results))


def _split_cut(model: str) -> tuple[str, int | None]:
    name, mark, count = model.partition(_CUT)
    return (name, int(count)) if mark and count.isdecimal() else (model, None)


def _tool(request: Request) -> dict[str, Any] | None:
    """The function to call, if one may be called."""
    choice = request.get("tool_choice")
    functions: list[dict[str, Any]] = [tool["function"] for tool in request.get("tools") or () if tool.get("function")]
    if choice == "none" or not functions:
        return None
    wanted = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    return next((function for function in functions if function["name"] == wanted), functions[0])


def _last_results(messages: list[dict[str, Any]]) -> list[str]:
    """The tool results after the last message of the user."""
    last = max((index for index, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    return [_said(message) for message in messages[last + 1 :] if message.get("role") == "tool"]


def _json(request: Request) -> str | None:
    wanted = request.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(example(wanted.get("json_schema", {}).get("schema")))
    return "{}" if wanted.get("type") == "json_object" else None


def _text(messages: list[dict[str, Any]], results: list[str]) -> str:
    if results:
        return f"The tools say: {'; '.join(results)}"
    said = [_said(message) for message in messages if message.get("role") == "user"]
    return f"This is turnlog's fake provider. You said: {said[-1]}" if said else "This is turnlog's fake provider."


def _said(message: dict[str, Any]) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    text = " ".join(str(part["text"]) for part in parts if part.get("text"))
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}…"
