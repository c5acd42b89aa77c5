"""Reads messages of Vercel's AI SDK: UIMessage as version 4 and version 5 have it, and ModelMessage.

Sources: ai-sdk.dev/docs/reference/ai-sdk-core/ui-message, .../model-message, and the migration guide of version 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnlog.domain.foreign.findings import Findings, kind_of, objects
from turnlog.domain.foreign.media import normal_part
from turnlog.domain.foreign.said import ROLES, Said
from turnlog.domain.quoting import quoted

Part = dict[str, Any]

_UNSENT = frozenset({"source", "source-url", "source-document"})
"""What a page shows beside an answer. The AI SDK sends none of it either."""
_CUT_OFF = ("input-streaming", "partial-call")


def is_ui(message: dict[str, Any]) -> bool:
    """Whether it is a message of the AI SDK, and of nobody else."""
    if not isinstance(message.get("role"), str):
        return False
    if "toolInvocations" in message or "experimental_attachments" in message:
        return True
    parts = message.get("parts")
    if isinstance(parts, list):
        return bool(parts) and all(map(kind_of, parts))
    return any(part.get("type") in ("tool-call", "tool-result") for part in objects(message.get("content")))


def read_ui(found: Findings, message: dict[str, Any]) -> None:
    """Reads one message, which may hold several steps, each with its calls and their results."""
    role = message.get("role")
    known = "tool" if role == "tool" else ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        found.flaw("unknown_role", f"no API has the role {quoted(role)}")
        return
    said = Said(found, known)
    for part in _parts(message):
        _read_part(found, said, part)
    for attachment in objects(message.get("experimental_attachments")):
        said.part(normal_part({**attachment, "type": "file"}), "file")
    if known == "tool":
        said.step()
    else:
        said.end()


def _parts(message: Part) -> list[Part]:
    parts = message.get("parts")
    if isinstance(parts, list) and parts:
        return list(objects(parts))
    content, invoked = message.get("content"), objects(message.get("toolInvocations"))
    if isinstance(content, list):
        return list(objects(content))
    # The calls of the last request come first, and then what was said with their results.
    calls: list[Part] = [{"type": "tool-invocation", "toolInvocation": call} for call in invoked]
    return [*calls, {"type": "text", "text": content}] if content else calls


def _read_part(found: Findings, said: Said, part: Part) -> None:
    kind = kind_of(part)
    if kind in _READERS:
        _READERS[kind](said, part)
    elif kind == "tool-invocation" and isinstance(part.get("toolInvocation"), dict):
        call = part["toolInvocation"]
        _tool(found, said, call, call.get("toolName"), call.get("args"), call.get("result"))
    elif kind == "dynamic-tool" or kind.startswith("tool-"):
        name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
        given = part.get("input", part.get("rawInput"))
        _tool(found, said, part, name, given, part.get("output"))
    elif kind == "step-start":
        said.go_on()
    elif kind not in _UNSENT and not kind.startswith("data-"):
        found.flaw("bad_content_block", f"a part of the type {quoted(kind)} is not read")


def _tool(found: Findings, said: Said, call: Part, name: Any, given: Any, output: Any) -> None:
    state, call_id = call.get("state"), call.get("toolCallId")
    if state in _CUT_OFF:
        found.flaw("bad_content_block", f"the call {quoted(call_id)} was cut off")
        return
    said.call(call_id, name, given)
    if state in ("result", "output-available") or (state is None and output is not None):
        said.result(call_id, output, name=name)
    elif state == "output-error":
        said.result(call_id, call.get("errorText") or "The tool has failed", is_error=True, name=name)
    elif state == "output-denied":
        said.result(call_id, "The tool has not run: this call was refused", is_error=True, name=name)


def _text(said: Said, part: Part) -> None:
    said.text(part.get("text"))


def _reasoning(said: Said, part: Part) -> None:
    """Thoughts, whose signature is in the details of version 4, or in what the provider says of a part."""
    details = objects(part.get("details"))
    for detail in details:
        if detail.get("type") == "redacted":
            said.detail({"type": "redacted_thinking", "data": detail.get("data")})
        else:
            said.thought(detail.get("text"), detail.get("signature"))
    if details:
        return
    told = part.get("providerMetadata") or part.get("providerOptions")
    own = told.get("anthropic") if isinstance(told, dict) else None
    own = own if isinstance(own, dict) else {}
    if own.get("redactedData"):
        said.detail({"type": "redacted_thinking", "data": own["redactedData"]})
    said.thought(part.get("text", part.get("reasoning")), own.get("signature"))


def _file(said: Said, part: Part) -> None:
    said.part(normal_part(part), str(part["type"]))


def _model_call(said: Said, part: Part) -> None:
    said.call(part.get("toolCallId"), part.get("toolName"), part.get("input", part.get("args")))


def _model_result(said: Said, part: Part) -> None:
    """A result of a ModelMessage: its output says of which kind it is."""
    output, is_error = part.get("output", part.get("result")), part.get("isError") is True
    if isinstance(output, dict) and isinstance(output.get("type"), str) and ("value" in output or "reason" in output):
        is_error = is_error or output["type"].startswith(("error", "execution-denied"))
        listed = output["type"] == "content" and isinstance(output.get("value"), list)
        output = _blocks(output["value"]) if listed else output.get("value", output.get("reason"))
    said.result(part.get("toolCallId"), output, is_error=is_error, name=part.get("toolName"))


def _blocks(value: list[Any]) -> list[Any]:
    """The content of a result as blocks: `media` and `image-data` are images and files."""
    kinds = {"media": "file", "image-data": "file", "file-data": "file", "image-url": "image", "file-url": "file"}
    blocks = [{**block, "type": kinds.get(kind_of(block), kind_of(block))} for block in objects(value)]
    return [normal_part(block) or block for block in blocks]


_READERS: dict[Any, Callable[[Said, Part], None]] = {
    "text": _text,
    "reasoning": _reasoning,
    "file": _file,
    "image": _file,
    "tool-call": _model_call,
    "tool-result": _model_result,
}
