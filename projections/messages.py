"""Turns as a flat list of messages in the Chat Completions shape: the transcript, and what prompts share with it.

Two assistant messages never stand side by side: steps with nothing between them are one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from turnlog.domain.events import Content, FunctionCall
from turnlog.projections.joining import joined_contents, joined_texts
from turnlog.projections.late import late_result_content
from turnlog.projections.turn import LateResult, Message, Step, StepMessage, ToolResult, Turn

ChatMessage = dict[str, Any]


def transcript(turns: Iterable[Turn]) -> list[ChatMessage]:
    """The conversation as it was recorded: raw arguments, and only the results that exist.

    Attempts that were replaced, and steps that ended without saying anything, are left out.
    """
    messages: list[ChatMessage] = []
    beside = list[Step]()  # steps with nothing between them yet
    for turn in turns:
        for entry in turn.entries():
            if isinstance(entry, Message):
                _append_joined(messages, beside)
                messages.append(_of_message(entry))
            elif isinstance(entry, LateResult):
                # It stands under its call, too: this is what keeps the answers before and after it apart.
                _append_joined(messages, beside)
                messages.append({"role": "user", "content": _as_json(late_result_content(entry))})
            elif not turn.has_replaced(entry) and (entry.status == "finished" or entry.says_something):
                beside.append(entry)
                if entry.tool_results:
                    _append_joined(messages, beside)
                    messages.extend(map(_of_result, entry.tool_results))
    _append_joined(messages, beside)
    return messages


def as_recorded(turns: Iterable[Turn]) -> list[ChatMessage]:
    """Every message and result by itself, in the order of the log: nothing is joined, moved or left out."""
    recorded: list[tuple[int, ChatMessage]] = []
    for turn in turns:
        recorded += [(message.position, _of_message(message)) for message in turn.messages]
        recorded += [(step.position, _of_steps([step])) for step in turn.steps]
        results = [*turn.orphans, *(result for step in turn.steps for result in step.tool_results)]
        recorded += [(result.position, _of_result(result)) for result in results]
    return [message for _, message in sorted(recorded, key=lambda one: one[0])]


def _of_message(message: Message) -> ChatMessage:
    plain: ChatMessage = {"role": message.role, "content": _as_json(message.content)}
    return plain if message.name is None else {**plain, "name": message.name}


def _of_steps(steps: Sequence[Step]) -> ChatMessage:
    said = [step.message for step in steps]
    message = said[0] if len(said) == 1 else _joined(said)
    return assistant_message(
        _as_json(message.content),
        [tool_call(call.id, call.name, call.arguments) for call in message.tool_calls],
        name=message.name,
        refusal=message.refusal,
        function_call=message.function_call,
    )


def _joined(said: Sequence[StepMessage]) -> StepMessage:
    functions = [message.function_call for message in said if message.function_call is not None]
    return said[0].model_copy(
        update={
            "content": joined_contents(message.content for message in said),
            "refusal": joined_texts(message.refusal for message in said),
            "tool_calls": tuple(call for message in said for call in message.tool_calls),
            "function_call": functions[-1] if functions else None,
        }
    )


def _of_result(result: ToolResult) -> ChatMessage:
    return tool_message(result.call_id, _as_json(result.content))


def assistant_message(
    content: Any,
    tool_calls: list[dict[str, Any]],
    *,
    name: str | None = None,
    refusal: str | None = None,
    function_call: FunctionCall | None = None,
) -> ChatMessage:
    """An assistant message with the fields that are given; an empty list of tool calls is left out."""
    assistant: ChatMessage = {"role": "assistant", "content": content}
    for field, value in (("name", name), ("refusal", refusal)):
        if value is not None:
            assistant[field] = value
    if function_call is not None:
        assistant["function_call"] = {"name": function_call.name, "arguments": function_call.arguments}
    if tool_calls:
        assistant["tool_calls"] = tool_calls
    return assistant


def tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call of an assistant message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_message(call_id: str, content: Any) -> ChatMessage:
    """The message with the result of a tool call."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _as_json(content: Content | None) -> Any:
    return list(content) if isinstance(content, tuple) else content


def _append_joined(messages: list[ChatMessage], steps: list[Step]) -> None:
    """Appends the steps as one message, and leaves none of them."""
    if steps:
        messages.append(_of_steps(steps))
        steps.clear()
