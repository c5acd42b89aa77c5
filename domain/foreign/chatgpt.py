"""Reads messages of ChatGPT's export, `conversations.json`.

The format has no description; this is what exports since 2023 hold. A message to a tool is one whose recipient is the
tool, and what the tools said follows it: these messages are imported as one, `{"messages": [...]}`, because nothing but
their order says which call they answer.
"""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.findings import Findings, kind_of, objects
from turnlog.domain.foreign.said import Said
from turnlog.domain.quoting import quoted

Body = dict[str, Any]

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "tool": "assistant"}
_POINTERS = {
    "image_asset_pointer": "image",
    "audio_asset_pointer": "audio",
    "video_container_asset_pointer": "video",
    "real_time_user_audio_video_asset_pointer": "audio",
}
"""What exports have only a pointer to."""
_UNSAID = frozenset({"reasoning_recap", "model_editable_context"})
"""What a page shows, and no model is sent as a message."""


def is_chatgpt(message: Body) -> bool:
    """Whether it is a message of ChatGPT's export, and of nobody else."""
    of_exchange = objects(message.get("messages"))
    if of_exchange and "role" not in message:
        return all(map(_is_message, of_exchange))
    return _is_message(message)


def _is_message(message: Body) -> bool:
    author, content = message.get("author"), message.get("content")
    return isinstance(author, dict) and "role" in author and isinstance(content, dict) and "content_type" in content


def calls_a_tool(message: Body) -> bool:
    """Whether the message is one to a tool."""
    return bool(_role(message) == "assistant" and message.get("recipient") not in (None, "", "all"))


def is_of_a_tool(message: Body) -> bool:
    """Whether it is what a tool said."""
    return bool(_role(message) == "tool")


def read_chatgpt(found: Findings, message: Body) -> None:
    """Reads one message, or a message to a tool with what was answered."""
    messages = list(objects(message.get("messages"))) if "author" not in message else [message]
    calls = [one for one in messages if calls_a_tool(one)]
    if calls or any(map(is_of_a_tool, messages)):
        _read_exchange(found, calls, [one for one in messages if is_of_a_tool(one)])
    for one in messages:
        if not (calls_a_tool(one) or is_of_a_tool(one)):
            _read_spoken(found, one)


def _role(message: Body) -> Any:
    author = message.get("author")
    return author.get("role") if isinstance(author, dict) else None


def _read_exchange(found: Findings, calls: list[Body], answers: list[Body]) -> None:
    said = Said(found, "assistant")
    call_id, name = "", None
    for call in calls:
        call_id, name = call.get("id") or "", call.get("recipient")
        text = "\n".join(_texts(found, call))
        said.call(call_id, name, text if text.startswith("{") else {"input": text})
    texts = [text for answer in answers for text in _texts(found, answer)]
    if not calls and answers:  # what the tool was asked is not in the export
        call_id, name = answers[0].get("id") or "", answers[0]["author"].get("name") or "tool"
        said.call(call_id, name, {})
    if answers:
        said.result(call_id, "\n\n".join(texts), name=name)
    said.step()


def _read_spoken(found: Findings, message: Body) -> None:
    role, content = _ROLES.get(str(_role(message))), message.get("content")
    if role is None:
        found.flaw("unknown_role", f"no API has the role {quoted(_role(message))}")
        return
    if not isinstance(content, dict) or message.get("weight") == 0:
        return  # a message that ChatGPT sends no more, as one that was generated anew
    if content.get("content_type") == "thoughts":
        said = Said(found, role)
        for thought in objects(content.get("thoughts")):
            said.thought(thought.get("content") or thought.get("summary"))
        said.step()
        return
    said = Said(found, "system" if content.get("content_type") == "user_editable_context" else role)
    for text in _texts(found, message):
        said.text(text)
    said.step()


def _texts(found: Findings, message: Body) -> list[str]:
    """What a message says, as texts: nothing for what is only shown."""
    content = message.get("content")
    if not isinstance(content, dict) or kind_of(content, "content_type") in _UNSAID:
        return []
    parts = content.get("parts")
    if isinstance(parts, list):
        texts = [_part(found, part, _role(message)) for part in parts]
    else:
        keys = ("user_profile", "user_instructions", "title", "url", "text", "result", "content")
        texts = [content[key] for key in keys if isinstance(content.get(key), str)]
        texts = texts or [summary for summary in (content.get("summary"),) if isinstance(summary, str)]
        if not texts:
            found.flaw("bad_content_block", f"a content of the type {quoted(content.get('content_type'))} is not read")
    return [text for text in texts if text]


def _part(found: Findings, part: Any, role: Any) -> str:
    if isinstance(part, str):
        return part
    kind = kind_of(part, "content_type")
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    what = _POINTERS.get(kind, "part")
    found.flaw("bad_content_block", f"the export has no {what} of a message, only that there was one")
    # An assistant would imitate the note.
    return "" if role == "assistant" else f"({what} left out: it is not in the export)"
