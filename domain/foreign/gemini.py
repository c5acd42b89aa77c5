"""Reads contents of Gemini's API, as REST has them (camelCase) and as its Python package dumps them (snake_case).

Source: ai.google.dev/api/caching#Content. Calls have no ids there, or seldom: a result is for the call of its name.
"""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.findings import Findings, objects
from turnlog.domain.foreign.media import media_of
from turnlog.domain.foreign.said import Said
from turnlog.domain.foreign.times import column_name
from turnlog.domain.quoting import quoted

Part = dict[str, Any]

_HELD = (
    "functioncall",
    "functionresponse",
    "inlinedata",
    "filedata",
    "executablecode",
    "codeexecutionresult",
    "text",
)
_ROLES = {None: "user", "user": "user", "function": "user", "tool": "user", "model": "assistant", "system": "system"}
CODE = "code_execution"


def is_gemini(message: Part) -> bool:
    """Whether it is a content of Gemini, and of nobody else."""
    parts, role = message.get("parts"), message.get("role")
    if not isinstance(parts, list) or not isinstance(role, str | None) or role not in _ROLES:
        return False
    if not parts:
        return role == "model"
    return all(isinstance(part, dict) and "type" not in part and _opened(part)[0] for part in parts)


def read_gemini(found: Findings, message: Part) -> None:
    """Reads one content."""
    role = message.get("role")
    known = _ROLES.get(role) if isinstance(role, str | None) else None
    if known is None:
        found.flaw("unknown_role", f"no API has the role {quoted(role)}")
        return
    said = Said(found, known)
    for part in objects(message.get("parts")):
        _read_part(found, said, part)
    if known == "user" and said.has_only_results:
        said.step()
    else:
        said.end()


def _read_part(found: Findings, said: Said, part: Part) -> None:
    kind, held = _opened(part)
    if kind == "text":
        if part.get("thought") is True:
            said.thought(held)
        else:
            said.text(held)
    elif not isinstance(held, dict):
        found.flaw("bad_content_block", f"a part with {', '.join(sorted(part)) or 'nothing'} is not read")
    elif kind == "functioncall":
        signature = part.get("thoughtSignature", part.get("thought_signature"))
        more = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
        said.call(held.get("id") or "", held.get("name"), held.get("args"), **more)
    elif kind == "functionresponse":
        said.result(held.get("id") or "", _response(held), name=held.get("name"))
    elif kind == "executablecode":
        said.call("", CODE, held)
    elif kind == "codeexecutionresult":
        said.result("", held.get("output", ""), is_error=held.get("outcome") not in (None, "OUTCOME_OK"), name=CODE)
    else:
        mime, name = held.get("mimeType", held.get("mime_type")), held.get("displayName", held.get("display_name"))
        url = held.get("fileUri", held.get("file_uri"))
        said.part(media_of(mime if isinstance(mime, str) else None, held.get("data"), url, name), "file")


def _opened(part: Part) -> tuple[str, Any]:
    """What the part is, and what it holds."""
    there = {column_name(key): value for key, value in part.items() if value is not None}
    return next(((name, there[name]) for name in _HELD if name in there), ("", None))


def _response(held: Part) -> Any:
    """What a function has returned. A text alone under the name that Google recommends is that text."""
    response = held.get("response")
    if not isinstance(response, dict) or len(response) != 1:
        return response
    only = [response.get(name) for name in ("result", "output", "content")]
    return next((text for text in only if isinstance(text, str)), response)
