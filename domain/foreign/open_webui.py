"""Reads messages of Open WebUI: texts, in which thoughts and tool calls are `<details>`, and what it has of each call.

Source: github.com/open-webui/open-webui, backend/open_webui/utils/middleware.py (`serialize_content_blocks`).
"""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

from turnlog.domain.foreign.calls import BROKEN, parsed
from turnlog.domain.foreign.findings import Findings, kind_of, objects
from turnlog.domain.foreign.items import read_item
from turnlog.domain.foreign.media import MEDIA, normal_part
from turnlog.domain.foreign.said import ROLES, Said
from turnlog.domain.quoting import quoted

Body = dict[str, Any]

_DETAILS = re.compile(r'<details type="(reasoning|tool_calls)"([^>]*)>\n?(.*?)\n?</details>\n?', re.DOTALL)
_FIELD = re.compile(r'(\w+)="([^"]*)"')
_SUMMARY = re.compile(r"<summary>.*?</summary>\n?", re.DOTALL)
_QUOTE = re.compile(r"^> ?", re.MULTILINE)


def is_open_webui(message: Body) -> bool:
    """Whether it is a message of Open WebUI, and of nobody else."""
    return isinstance(message.get("role"), str) and ("childrenIds" in message or "parentId" in message)


def read_open_webui(found: Findings, message: Body) -> None:
    """Reads one message."""
    role = message.get("role")
    known = ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        found.flaw("unknown_role", f"no API has the role {quoted(role)}")
        return
    output = objects(message.get("output"))
    if known == "assistant" and output:
        for item in output:
            found.take("responses", read_item, item)
        return
    said = Said(found, known)
    for file in objects(message.get("files")):
        _read_file(said, file)
    content = message.get("content")
    if isinstance(content, list):
        for block in objects(content):
            _read_block(said, block)
    elif known == "assistant" and isinstance(content, str):
        _read_answer(said, content)
    else:
        said.text(content)
    said.end()


def _read_block(said: Said, block: Body) -> None:
    if block.get("type") == "text":
        said.text(block.get("text"))
    else:
        said.part(normal_part(block) if kind_of(block) in MEDIA else None, kind_of(block))


def _read_file(said: Said, file: Body) -> None:
    if file.get("type") == "image":
        said.part(normal_part({"type": "image", "url": file.get("url")}), "image")
        return
    held = file.get("file")
    data = held.get("data") if isinstance(held, dict) else None
    text = data.get("content") if isinstance(data, dict) else None
    if isinstance(text, str) and text.strip():
        said.part({"type": "document", "source": {"type": "text", "data": text}, "title": file.get("name")})
    else:
        said.part(None, "file")


def _read_answer(said: Said, text: str) -> None:
    """The text of an answer; its thoughts and calls are between what it says."""
    begin = 0
    for match in _DETAILS.finditer(text):
        _read_text(said, text[begin : match.start()])
        begin = match.end()
        fields = {name: unescape(value) for name, value in _FIELD.findall(match[2])}
        body = _SUMMARY.sub("", match[3])
        if match[1] == "reasoning":
            said.thought(_QUOTE.sub("", unescape(body)))
        else:
            _read_call(said, fields, unescape(body))
    _read_text(said, text[begin:])


def _read_text(said: Said, text: str) -> None:
    if text.strip():
        said.text(text)


def _read_call(said: Said, fields: dict[str, str], body: str) -> None:
    name, arguments = fields.get("name") or "tool", _value(fields.get("arguments", ""))
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    said.call(fields.get("id"), name, arguments)
    result = fields.get("result", fields.get("results", body))
    if result or fields.get("done") == "true":
        value = _value(result)
        said.result(fields.get("id"), value if isinstance(value, str) else result, name=name)


def _value(text: str) -> Any:
    """What the text is, which is JSON, and often JSON of a text of JSON."""
    value = parsed(text)
    return text if value is BROKEN else value
