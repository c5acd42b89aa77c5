"""What an answer says as the parts of a message of the AI SDK: see `ui_messages`."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from typing import Any

from turnlog.domain.events import Content
from turnlog.domain.values import as_unicode
from turnlog.projections.arguments import object_of, with_whole_escapes
from turnlog.projections.parts import Part
from turnlog.projections.prompt.parts import data_url
from turnlog.projections.turn import Approval, Step, StepToolCall, ToolResult

Json = dict[str, Any]
Claims = dict[str, str]
"""The ids of the calls of a message, and which call has each: providers give an id again."""

CUT_OFF = "The call was cut off before its arguments were whole."
"""Why nobody runs a call, in words for people."""


def parts_of_step(step: Step, claims: Claims) -> Iterator[Json]:
    """The parts of an answer, as far as it has come. All texts are as they were recorded. `claims` are those of the
    message that it belongs to, and are added to."""
    said, state = step.message, "streaming" if step.status == "open" else "done"
    yield {"type": "step-start"}
    if said.layout:
        yield from _in_order(step, state, claims)
        return
    yield from _reasoning(step, state)
    yield from parts_of_content(said.content, state)
    if said.refusal:
        yield {"type": "text", "text": said.refusal, "state": state}
    results = step.results()
    for call in said.tool_calls:
        yield _call(step, call, results.get(call.index), claims)
    if said.function_call is not None:
        function = StepToolCall(index=-1, id="", name=said.function_call.name, arguments=said.function_call.arguments)
        yield _call(step, function, None, claims)


def _in_order(step: Step, state: str, claims: Claims) -> Iterator[Json]:
    """The parts of a step that has more of them than one of each kind, with what tools of the provider found."""
    results, calls = step.results(), {call.index: call for call in step.message.tool_calls}
    found = {part.data.get("tool_use_id"): part.data.get("content") for part in step.message.parts}
    for part in step.message.parts:
        if part.call is not None:
            if part.call in calls:
                yield _call(step, calls[part.call], results.get(part.call), claims)
        elif part.kind in ("text", "refusal"):
            yield from parts_of_content(part.text or None, state)
            yield from _sources(part)
        elif part.kind == "reasoning":
            proofs = _proofs(part.data)
            yield {"type": "reasoning", "text": part.text or "", "state": state, **proofs}
        elif part.kind == "server_call":
            yield _server_call(part, found.get(part.data.get("id")))
        elif part.kind == "audio":
            yield from parts_of_content(_text_in(part.data, "transcript"), state)
        elif part.kind == "citation":
            yield from _sources(part)
        elif part.kind != "server_result":
            yield _file(part.data) or {"type": "data-part", "data": part.data}


def _text_in(data: Json, field: str) -> str | None:
    text = data.get(field)
    return text if isinstance(text, str) else None


def _proofs(data: Json) -> Json:
    provider, fields = _PROOFS.get(str(data.get("type")), ("", {}))
    proofs = {name: data[field] for field, name in fields.items() if isinstance(data.get(field), str)}
    return {"providerMetadata": {provider: proofs}} if proofs else {}


def _server_call(part: Part, output: Any) -> Json:
    """A tool that the provider has run. In the Responses API what came of it is in the call itself."""
    data = part.data
    name = _text_in(data, "name") or str(data.get("type") or "tool").removesuffix("_call")
    made = {"type": f"tool-{name}", "toolCallId": _text_in(data, "id") or name, "providerExecuted": True}
    made["input"] = data.get("input", data.get("action"))
    if output is None and part.api == "anthropic":
        return {**made, "state": "input-available"}
    return {**made, "state": "output-available", "output": data if output is None else output}


def _sources(part: Part) -> Iterator[Json]:
    """The pages that a text cites, in the shapes of three APIs."""
    for field in ("citations", "annotations"):
        cited = part.data.get(field)
        for number, one in enumerate(cited if isinstance(cited, list) else ()):
            held = one.get("url_citation", one) if isinstance(one, dict) else {}
            if isinstance(held, dict) and (url := _text_in(held, "url")):
                title = {"title": held["title"]} if isinstance(held.get("title"), str) else {}
                yield {"type": "source-url", "sourceId": f"{number}:{url}", "url": url, **title}


def _reasoning(step: Step, state: str) -> Iterator[Json]:
    details = [detail for detail in step.message.reasoning_details if detail.get("type") in _PROOFS]
    texts = [str(detail.get("thinking") or "") for detail in details]
    rest = step.message.reasoning or ""
    if rest and rest not in ("".join(texts), "\n".join(texts)):
        yield {"type": "reasoning", "text": rest, "state": state}
        texts = [""] * len(details)
    for detail, text in zip(details, texts, strict=True):
        provider, fields = _PROOFS[detail["type"]]
        proofs = {name: detail[field] for field, name in fields.items() if isinstance(detail.get(field), str)}
        yield {"type": "reasoning", "text": text, "state": state, "providerMetadata": {provider: proofs}}


_PROOFS = {
    "thinking": ("anthropic", {"signature": "signature"}),
    "redacted_thinking": ("anthropic", {"data": "redactedData"}),
    "reasoning": ("openai", {"id": "itemId", "encrypted_content": "reasoningEncryptedContent"}),
}
"""What goes back to a provider with its reasoning, and how the AI SDK calls it."""


def _call(step: Step, call: StepToolCall, result: ToolResult | None, claims: Claims) -> Json:
    own = own_call_id(step.step_id, call.index)
    name = call.id or own
    call_id = name if claims.setdefault(name, own) == own else own
    named = {"type": f"tool-{call.name}"} if call.name else {"type": "dynamic-tool", "toolName": ""}
    given = call.arguments if call.custom else _input(call.arguments or "{}")
    part = {**named, "toolCallId": call_id, "input": given}
    if result is None and step.status == "open":
        encoding = {"inputEncoding": "text"} if call.custom else {}
        return {**part, "state": "input-streaming", "rawInput": call.arguments, **encoding}
    if result is None and call.cut_off:
        return {**part, "state": "output-error", "errorText": CUT_OFF}
    approval = next((one for one in step.approvals if one.index == call.index), None)
    return part | _state_of_call(result, _decision(step, approval))


def _state_of_call(result: ToolResult | None, approval: Json) -> Json:
    """How far a call is whose arguments are whole."""
    decided = approval.get("approved")
    said = {"approval": approval} if approval else {}
    if decided is False:
        return {"state": "output-denied", **said}
    if result is None:
        waits = "approval-requested" if decided is None else "approval-responded"
        return {"state": waits, **said} if approval else {"state": "input-available"}
    said = said if decided else {}  # a call that was answered without a decision needed none
    if result.status in ("error", "synthetic"):
        return {"state": "output-error", "errorText": _plain(result.content), **said}
    preliminary = {"preliminary": True} if result.status == "pending" else {}
    return {"state": "output-available", "output": output_of(result.content), **preliminary, **said}


def _decision(step: Step, approval: Approval | None) -> Json:
    if approval is None:
        return {}
    said: Json = {"id": own_call_id(step.step_id, approval.index)}
    if approval.approved is not None:
        said["approved"] = approval.approved
    return said | ({"reason": approval.reason} if approval.reason else {})


def own_call_id(step_id: str, index: int) -> str:
    """What names a call, and the decision about it, where the provider has not, or has twice."""
    return f"{step_id}.{index}"


def _input(arguments: str) -> Any:
    """What the arguments say; where they cannot be read, their text."""
    try:
        return object_of(with_whole_escapes(as_unicode(arguments)))
    except ValueError:
        return arguments


def output_of(content: Content) -> Any:
    """What a tool gave."""
    return content if isinstance(content, str) else list(content)


def _plain(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in content if "text" in part)


def parts_of_content(content: Content | None, state: str) -> Iterator[Json]:
    """The parts of what a message or an answer says."""
    if isinstance(content, str):
        if content:
            yield {"type": "text", "text": content, "state": state}
        return
    for part in content or ():
        text = part.get("text", part.get("refusal"))
        if isinstance(text, str):
            yield {"type": "text", "text": text, "state": state}
        else:
            yield _file(part) or {"type": "data-part", "data": part}


def _file(part: Json) -> Json | None:
    """An image, audio or file in the Chat Completions shape; None for anything else."""
    kind = part.get("type")
    held = part.get(str(kind))
    if kind == "image_url":
        url = held.get("url") if isinstance(held, dict) else held
        return _at(url, "image/*") if isinstance(url, str) else None
    if not isinstance(held, dict):
        return None
    if kind == "input_audio" and isinstance(held.get("data"), str):
        media_type = f"audio/{held.get('format', 'wav')}"
        return {"type": "file", "mediaType": media_type, "url": f"data:{media_type};base64,{held['data']}"}
    if kind == "file":
        url = next((held[name] for name in ("file_data", "file_url", "file_id") if isinstance(held.get(name), str)), "")
        name = {"filename": held["filename"]} if isinstance(held.get("filename"), str) else {}
        return {**_at(url, "application/octet-stream", held.get("filename")), **name} if url else None
    return None


def _at(url: str, default: str, name: Any = None) -> Json:
    data = data_url(url)
    guessed = mimetypes.guess_type(name if isinstance(name, str) else url.partition("?")[0])[0]
    return {"type": "file", "mediaType": data[0] if data else guessed or default, "url": url}
