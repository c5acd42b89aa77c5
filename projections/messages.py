"""Turns as a flat list of messages in the Chat Completions shape: the transcript, and what prompts share with it.

Two assistant messages never stand side by side: where nothing came between two steps they are one message, and
their texts are joined as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from turnlog.domain.events import Content
from turnlog.projections.diagnosis import says_something
from turnlog.projections.view import Message, Step, StepToolCall, ToolResult, Turn

ChatMessage = dict[str, Any]


def transcript(turns: Iterable[Turn]) -> list[ChatMessage]:
    """The conversation as it was recorded: raw arguments, and only the results that are there."""
    messages: list[ChatMessage] = []
    for entry in in_order(turns):
        if isinstance(entry, Message):
            messages.append(plain_message(entry))
        elif entry.status == "finished" or says_something(entry):
            append_joined(messages, assistant_message(entry, entry.message.tool_calls))
            messages.extend(tool_message(result.call_id, result) for result in entry.tool_results)
    return messages


def as_recorded(turns: Iterable[Turn]) -> list[ChatMessage]:
    """Each message and result by itself and where it was recorded: nothing joined, moved or left out."""
    placed: list[tuple[int, ChatMessage]] = []
    for turn in turns:
        placed += [(message.position, plain_message(message)) for message in turn.messages]
        placed += [(step.position, assistant_message(step, step.message.tool_calls)) for step in turn.steps]
        results = [*turn.orphans, *(result for step in turn.steps for result in step.tool_results)]
        placed += [(result.position, tool_message(result.call_id, result)) for result in results]
    return [message for _, message in sorted(placed, key=lambda entry: entry[0])]


def in_order(turns: Iterable[Turn]) -> Iterator[Message | Step]:
    """Messages and steps in the order of the log, without the attempts that a later step of the turn replaced."""
    for turn in turns:
        entries: list[Message | Step] = [*turn.messages, *turn.steps]
        entries.sort(key=lambda entry: entry.position)
        yield from (entry for entry in entries if isinstance(entry, Message) or not is_replaced(entry, turn))


def is_replaced(step: Step, turn: Turn) -> bool:
    """Whether the step is an attempt that a later step of its turn replaced."""
    # An attempt whose calls were answered was not retried but gone on from.
    return step.status in ("failed", "abandoned") and not step.tool_results and step is not turn.steps[-1]


def plain_message(message: Message) -> ChatMessage:
    """A system, developer, user or function message."""
    plain: ChatMessage = {"role": message.role, "content": as_json(message.content)}
    if message.name is not None:
        plain["name"] = message.name
    return plain


def assistant_message(step: Step, calls: Iterable[StepToolCall]) -> ChatMessage:
    """The assistant message of a step with these of its calls."""
    message = step.message
    assistant: ChatMessage = {"role": "assistant", "content": as_json(message.content)}
    if message.name is not None:
        assistant["name"] = message.name
    if message.refusal is not None:
        assistant["refusal"] = message.refusal
    if message.function_call is not None:
        function = message.function_call
        assistant["function_call"] = {"name": function.name, "arguments": function.arguments}
    if tool_calls := [tool_call(call.id, call.name, call.arguments) for call in calls]:
        assistant["tool_calls"] = tool_calls
    return assistant


def tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call in the Chat Completions shape."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_message(call_id: str, result: ToolResult) -> ChatMessage:
    """A tool result in the Chat Completions shape."""
    return {"role": "tool", "tool_call_id": call_id, "content": as_json(result.content)}


def as_json(content: Content | None) -> Any:
    """Content as a JSON value: text, a list of parts, or None."""
    return list(content) if isinstance(content, tuple) else content


def append_joined(messages: list[ChatMessage], assistant: ChatMessage) -> None:
    """Appends an assistant message, or joins it to the one that it would stand beside."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append(assistant)
        return
    last = messages[-1]
    last["content"] = _joined_content(last["content"], assistant["content"])
    if "refusal" in assistant:
        last["refusal"] = last.get("refusal", "") + assistant["refusal"]
    if "function_call" in assistant:
        last["function_call"] = assistant["function_call"]
    if "tool_calls" in assistant:
        last["tool_calls"] = [*last.get("tool_calls", ()), *assistant["tool_calls"]]


def _joined_content(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, str) and isinstance(second, str):
        return first + second
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
