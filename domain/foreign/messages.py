"""Reads messages of the Chat Completions API and of Anthropic's, which differ only in their blocks."""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.blocks import Blocks
from turnlog.domain.foreign.calls import Calls, arguments_text
from turnlog.domain.foreign.findings import Findings, objects
from turnlog.domain.foreign.layout import beside_call, chat_layout, laid_out
from turnlog.domain.foreign.values import ForeignCall, ForeignMessage, ForeignResult, ForeignRole
from turnlog.domain.parts import PartMark
from turnlog.domain.quoting import quoted

_OTHER_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant"}
"""What roles of other libraries mean."""


def read_message(found: Findings, message: dict[str, Any]) -> None:
    """Reads one message, and those that stand in its content."""
    role = _role(found, message.get("role"))
    if role == "tool":
        _read_result(found, message)
    elif role is not None:
        _read_spoken(found, role, message)


def read_blocks(found: Findings, role: str, content: Any, calls: Calls | None = None) -> Blocks:
    """The content of a message of this role. `calls` are those that stand beside the content."""
    blocks = Blocks(found, role, read_message, calls)
    blocks.read(content)
    return blocks


def _role(found: Findings, role: Any) -> Any:
    if role in ("system", "developer", "user", "assistant", "tool", "function"):
        return role
    found.flaw("unknown_role", f"no API has the role {quoted(role)}")
    return _OTHER_ROLES.get(role) if isinstance(role, str) else None


def _read_result(found: Findings, message: dict[str, Any]) -> None:
    call_id = found.text(message.get("tool_call_id"), "tool_call_id") or ""
    blocks = read_blocks(found, "tool", message.get("content"))
    if not blocks.has_results:
        found.results.append(ForeignResult(call_id, blocks.content() or "", False, _name(found, message)))


def _name(found: Findings, message: dict[str, Any]) -> str | None:
    return found.text(message.get("name"), "name") or None


def _read_spoken(found: Findings, role: ForeignRole, message: dict[str, Any]) -> None:
    calls = _calls(found, message.get("tool_calls")) if role == "assistant" else None
    blocks = read_blocks(found, role, message.get("content"), calls)
    says = ForeignMessage(role, blocks.content(), _name(found, message))
    if role == "assistant":
        says = _with_answer(found, says, message, blocks)
    elif blocks.calls:
        found.flaw("bad_content_block", f"a {role} message holds tool calls")
    if blocks.has_empty_text and (says.content or says.calls):
        found.flaw("empty_text_block", "a text block is empty")
    holds_only_others = blocks.has_results or blocks.has_messages
    if says.content or says.calls or not holds_only_others:
        found.items.append(says)


def _with_answer(found: Findings, says: ForeignMessage, message: dict[str, Any], blocks: Blocks) -> ForeignMessage:
    """The message with what only an assistant has."""
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    says = says._replace(
        content=says.content or _transcript(found, message.get("audio")) or says.content,
        refusal=found.text(message.get("refusal"), "refusal") or None,
        reasoning=(found.text(reasoning, "reasoning") or "") + "".join(blocks.reasoning) or None,
        details=(*blocks.details, *objects(message.get("reasoning_details"))),
        calls=tuple(blocks.calls),
        function_call=_function_call(found, message.get("function_call")),
    )
    is_of_chat = found.format in ("chat", "rows")
    if not is_of_chat:
        # Reasoning that stands beside the content came before it.
        beside = [PartMark(kind="reasoning", text=reasoning)] if isinstance(reasoning, str) and reasoning else []
        return says._replace(layout=laid_out([*beside, *blocks.marks]))
    return says._replace(layout=chat_layout(says, message, blocks.marks, blocks.calls.beside))


def _transcript(found: Findings, audio: Any) -> str | None:
    """What was said in an answer that is audio: its id is known to the provider for an hour, and then only this is."""
    return found.text(audio.get("transcript"), "audio.transcript") if isinstance(audio, dict) else None


def _calls(found: Findings, given: Any) -> Calls:
    calls = Calls()
    if given is None:
        return calls
    if not isinstance(given, list):
        found.flaw("bad_field", "tool_calls is not a list")
        return calls
    if not given:
        found.flaw("empty_tool_calls", "tool_calls is an empty list")
    for call in given:
        function = _function(call) if isinstance(call, dict) else None
        if not isinstance(function, dict):
            found.flaw("bad_field", "a tool call has no function")
            continue
        call_id = found.text(call.get("id"), "tool_calls.id") or ""
        name = found.text(function.get("name"), "tool_calls.function.name") or ""
        is_custom = call.get("type") == "custom" and "custom" in call
        arguments = arguments_text(function.get("arguments"))
        found.add_call(calls, ForeignCall(call_id, name, arguments, is_custom), beside_call(call))
    return calls


def _function(call: dict[str, Any]) -> Any:
    """A call's function. The arguments of a custom tool are its input, which is text. LangChain has the name and the
    arguments in the call itself."""
    custom = call.get("custom")
    if call.get("type") != "custom" or not isinstance(custom, dict):
        is_plain = "function" not in call and "name" in call and ("args" in call or "arguments" in call)
        plain = {"name": call.get("name"), "arguments": call.get("args", call.get("arguments"))}
        return plain if is_plain else call.get("function")
    return {"name": custom.get("name"), "arguments": custom.get("input")}


def _function_call(found: Findings, function: Any) -> tuple[str, str] | None:
    if function is None:
        return None
    if not isinstance(function, dict):
        found.flaw("bad_field", "function_call is not an object")
        return None
    return found.text(function.get("name"), "function_call.name") or "", arguments_text(function.get("arguments"))
