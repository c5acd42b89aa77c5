"""The prompt for the Chat Completions API, valid whatever happened.

The rules are those whose breach the API answers with a 400: an assistant message with tool_calls is followed at once
by one tool message for each call, a tool message follows such a call, ids are unique in their message, and
tool_calls is not an empty list. Arguments are valid JSON, for other providers behind the same API parse them.
(platform.openai.com/docs/guides/function-calling; docs.anthropic.com/en/docs/build-with-claude/tool-use)

What happened stays in the log; the prompt only makes the least of it that can be sent:

* a call without a result gets one that says so;
* a call without a name is left out together with its result, and so is a call that was cut off in mid-stream;
* arguments that are not JSON become ``{}``;
* a missing id, or one that an earlier call has (OpenAI takes that, others behind the same API do not), is replaced,
  always by the same one;
* a failed or abandoned attempt that a later step of the turn replaced is left out;
* a lone surrogate becomes U+FFFD, for it cannot be sent as UTF-8; two halves that meet become one character.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

from turnlog.domain.values import fingerprint
from turnlog.projections.messages import (
    ChatMessage,
    append_joined,
    assistant_message,
    in_order,
    plain_message,
    tool_message,
)
from turnlog.projections.view import Message, Step, StepToolCall, Turn

NO_RESULT = "No result is available for this tool call."
NO_ARGUMENTS = "{}"


def chat_prompt(turns: Iterable[Turn]) -> list[ChatMessage]:
    """The messages to send next."""
    messages: list[ChatMessage] = []
    taken: set[str] = set()
    for entry in in_order(turns):
        if isinstance(entry, Message):
            messages.append(plain_message(entry))
        else:
            _append_step(messages, entry, taken)
    return [sendable(message) for message in messages]


def _append_step(messages: list[ChatMessage], step: Step, taken: set[str]) -> None:
    calls = [call for call in step.message.tool_calls if _can_be_sent(step, call)]
    assistant = assistant_message(step, calls)
    _mend_function_call(assistant)
    if not any(assistant.get(key) for key in ("content", "refusal", "function_call", "tool_calls")):
        return
    # An empty text beside calls is what some providers stream and others refuse.
    assistant["content"] = assistant["content"] or None
    append_joined(messages, assistant)
    if calls:
        _answer(messages, step, calls, taken)


def _can_be_sent(step: Step, call: StepToolCall) -> bool:
    if not call.name:
        return False
    was_cut_off = step.status != "finished" and not is_json(call.arguments)
    return not was_cut_off or step.result_of(call.index) is not None


def _answer(messages: list[ChatMessage], step: Step, calls: list[StepToolCall], taken: set[str]) -> None:
    """Gives the calls of the last message ids of their own, and one result each in the order in which they came."""
    ids: dict[int, str] = {}
    for call, shape in zip(calls, messages[-1]["tool_calls"], strict=True):
        shape["id"] = ids[call.index] = unique_id(call, step, taken)
        shape["function"]["arguments"] = call.arguments if is_json(call.arguments) else NO_ARGUMENTS
    messages.extend(tool_message(ids.pop(result.index), result) for result in step.tool_results if result.index in ids)
    messages.extend({"role": "tool", "tool_call_id": call_id, "content": NO_RESULT} for call_id in ids.values())


def unique_id(call: StepToolCall, step: Step, taken: set[str]) -> str:
    """The call's id, or where it is empty or taken one made from the call's place, the same at each reading."""
    chosen = call.id if call.id and call.id not in taken else f"call_{fingerprint(step.step_id, call.index)[:24]}"
    taken.add(chosen)
    return chosen


def _mend_function_call(assistant: ChatMessage) -> None:
    function = assistant.get("function_call")
    if function is None:
        return
    if not function["name"]:
        del assistant["function_call"]
    elif not is_json(function["arguments"]):
        function["arguments"] = NO_ARGUMENTS


def is_json(text: str) -> bool:
    """Whether `text`, once it can be sent, is strict JSON: no NaN, no Infinity, nothing after the value."""
    try:
        from_json(_utf8(text), allow_inf_nan=False)
    except ValueError:
        return False
    return True


def sendable(value: Any) -> Any:
    """`value` with all text fit for UTF-8."""
    if isinstance(value, str):
        return _utf8(value)
    if isinstance(value, list):
        return [sendable(item) for item in value]
    if isinstance(value, dict):
        return {_utf8(key): sendable(item) for key, item in value.items()}
    return value


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
