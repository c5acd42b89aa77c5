"""Turns as the messages of a user interface: `UIMessage[]` of the AI SDK, version 5
(ai-sdk.dev/v5/docs/reference/ai-sdk-core/ui-message).

What answers a message of the user is one message of the assistant, whose steps each begin with `step-start`. Attempts
that were made again are left out, and a late result is the output of its call.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator
from typing import Any

from turnlog.domain.events import Content
from turnlog.domain.values import as_unicode
from turnlog.projections.arguments import object_of, with_whole_escapes
from turnlog.projections.parts import Part
from turnlog.projections.prompt.parts import data_url, unicode_json
from turnlog.projections.turn import LateResult, Message, Step, StepToolCall, ToolResult, Turn

Json = dict[str, Any]


def ui_messages(turns: Iterable[Turn]) -> list[Json]:
    """The messages, all text of them in Unicode."""
    messages = list[Json]()
    for turn in turns:
        for entry in turn.entries():
            if isinstance(entry, Message):
                _add_message(messages, entry)
            elif not isinstance(entry, LateResult) and not turn.has_replaced(entry):
                _add_step(messages, entry)
    return [unicode_json(message) for message in messages]


def _add_message(messages: list[Json], message: Message) -> None:
    if message.role == "function":
        _add_function_result(messages, message)
        return
    role = "system" if message.role == "developer" else message.role
    parts = list(_parts(message.content, "done"))
    metadata = {"createdAt": message.at.isoformat()}
    messages.append({"id": message.message_id, "role": role, "metadata": metadata, "parts": parts})


def _add_function_result(messages: list[Json], message: Message) -> None:
    """Puts what a legacy function gave into its call, if that is the last one."""
    parts = messages[-1]["parts"] if messages else []
    if parts and parts[-1]["type"] == f"tool-{message.name}" and parts[-1]["state"] == "input-available":
        parts[-1] |= {"state": "output-available", "output": _output(message.content or "")}


def _add_step(messages: list[Json], step: Step) -> None:
    if not messages or messages[-1]["role"] != "assistant":
        metadata = {"createdAt": step.started_at.isoformat()}
        messages.append({"id": step.step_id, "role": "assistant", "metadata": metadata, "parts": []})
    message = messages[-1]
    message["metadata"] |= {
        name: value
        for name, value in (("model", step.model), ("finishReason", step.finish_reason), ("status", step.status))
        if value is not None
    }
    message["parts"] += _parts_of_step(step)


def _parts_of_step(step: Step) -> Iterator[Json]:
    said, state = step.message, "streaming" if step.status == "open" else "done"
    yield {"type": "step-start"}
    if said.layout:
        yield from _in_order(step, state)
        return
    yield from _reasoning(step, state)
    yield from _parts(said.content, state)
    if said.refusal:
        yield {"type": "text", "text": said.refusal, "state": state}
    results = step.results()
    for call in said.tool_calls:
        yield _call(step, call, results.get(call.index))
    if said.function_call is not None:
        function = StepToolCall(index=-1, id="", name=said.function_call.name, arguments=said.function_call.arguments)
        yield _call(step, function, None)


def _in_order(step: Step, state: str) -> Iterator[Json]:
    """The parts of a step that has more of them than one of each kind, with what tools of the provider found."""
    results, calls = step.results(), {call.index: call for call in step.message.tool_calls}
    found = {part.data.get("tool_use_id"): part.data.get("content") for part in step.message.parts}
    for part in step.message.parts:
        if part.call is not None:
            if part.call in calls:
                yield _call(step, calls[part.call], results.get(part.call))
        elif part.kind in ("text", "refusal"):
            yield from _parts(part.text or None, state)
            yield from _sources(part)
        elif part.kind == "reasoning":
            proofs = _proofs(part.data)
            yield {"type": "reasoning", "text": part.text or "", "state": state, **proofs}
        elif part.kind == "server_call":
            yield _server_call(part, found.get(part.data.get("id")))
        elif part.kind == "audio":
            yield from _parts(_text_in(part.data, "transcript"), state)
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


def _call(step: Step, call: StepToolCall, result: ToolResult | None) -> Json:
    named = {"type": f"tool-{call.name}"} if call.name else {"type": "dynamic-tool", "toolName": ""}
    part = {**named, "toolCallId": call.id or f"{step.step_id}.{call.index}", "input": _input(call.arguments or "{}")}
    if result is None:
        return {**part, "state": "input-streaming" if step.status == "open" else "input-available"}
    if result.status in ("error", "synthetic"):
        return {**part, "state": "output-error", "errorText": _plain(result.content)}
    preliminary = {"preliminary": True} if result.status == "pending" else {}
    return {**part, "state": "output-available", "output": _output(result.content), **preliminary}


def _input(arguments: str) -> Any:
    """What the arguments say; where they cannot be read, their text."""
    try:
        return object_of(with_whole_escapes(as_unicode(arguments)))
    except ValueError:
        return arguments


def _output(content: Content) -> Any:
    return content if isinstance(content, str) else list(content)


def _plain(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in content if "text" in part)


def _parts(content: Content | None, state: str) -> Iterator[Json]:
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
