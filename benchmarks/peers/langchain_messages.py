"""Chat Completions messages as LangChain's."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from benchmarks.systems import Message


def to_langchain(message: Message, message_id: str) -> Any:
    """One message. The way back is `convert_to_openai_messages` of their library."""
    content = message["content"]
    match message["role"]:
        case "user":
            return HumanMessage(content, id=message_id)
        case "tool":
            return ToolMessage(content, tool_call_id=message["tool_call_id"], id=message_id)
        case "system":
            return SystemMessage(content, id=message_id)
    calls = {"tool_calls": message["tool_calls"]} if "tool_calls" in message else {}
    return AIMessage(content, additional_kwargs=calls, id=message_id)
