"""How the parts of a foreign assistant message lie, if there is more to say of them than its fields do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from turnlog.domain.foreign.values import ForeignMessage
from turnlog.domain.parts import PartKind, PartMark

_USUAL: dict[PartKind, int] = {"reasoning": 0, "text": 1, "refusal": 2, "tool_call": 3}
_ONCE: tuple[PartKind, ...] = ("reasoning", "text", "refusal")


def laid_out(marks: Sequence[PartMark]) -> tuple[PartMark, ...]:
    """The marks; none if they say only that there is one part of each kind, in the usual order."""
    kinds = [mark.kind for mark in marks]
    order = [_USUAL.get(kind, -1) for kind in kinds]
    is_usual = order == sorted(order) and all(kinds.count(kind) <= 1 for kind in _ONCE)
    return () if is_usual and -1 not in order and not any(mark.data for mark in marks) else tuple(marks)


_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def may_be_type(kind: str) -> bool:
    """Whether an API may call a block or an item so, of today's or a later version: as all of them are called. What is
    of no such type goes to no API."""
    return _TYPE.fullmatch(kind) is not None


def server_kind(kind: str) -> PartKind:
    """What a block or item of this type is, of those that are neither said nor called: `web_search_tool_result`,
    `server_tool_use`, `mcp_call`, `web_search_call`, or whatever there will be."""
    if kind.endswith(("_result", "_call_output")):
        return "server_result"
    return "server_call" if kind.endswith(("_tool_use", "_call")) else "opaque"


_CALL_FIELDS = ("id", "type", "function", "custom", "index")
_MESSAGE_FIELDS = frozenset(
    {
        "role",
        "content",
        "name",
        "refusal",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "audio",
        "annotations",
    }
)
"""What is read elsewhere of an assistant message of the Chat Completions API."""


def beside_call(call: dict[str, Any]) -> dict[str, Any]:
    """What stands beside a call in a chat message: a thought signature, for one."""
    return {key: value for key, value in call.items() if key not in _CALL_FIELDS}


def chat_layout(
    says: ForeignMessage, message: dict[str, Any], blocks: Sequence[PartMark], beside: Iterable[dict[str, Any]]
) -> tuple[PartMark, ...]:
    """The layout of a message of the Chat Completions API, whose parts have no order of their own. `blocks` are those
    of its content, `beside` is what stands beside each of its calls."""
    said = blocks if blocks and not isinstance(says.content, str) else usual_marks(says)
    return laid_out([*said, *_calls(beside), *_more(message)])


def usual_marks(says: ForeignMessage) -> Iterator[PartMark]:
    """The marks of what a message says, whose content is a text."""
    texts: tuple[tuple[PartKind, Any], ...] = (
        ("reasoning", says.reasoning),
        ("text", says.content),
        ("refusal", says.refusal),
    )
    for kind, text in texts:
        if isinstance(text, str) and text:
            yield PartMark(kind=kind, text=text)


def _calls(beside: Iterable[dict[str, Any]]) -> Iterator[PartMark]:
    for index, data in enumerate(beside):
        yield PartMark(kind="tool_call", api="chat" if data else None, call=index, data=data)


def _more(message: dict[str, Any]) -> Iterator[PartMark]:
    audio, annotations = message.get("audio"), message.get("annotations")
    if isinstance(audio, dict) and audio:
        yield PartMark(kind="audio", api="chat", data=audio)
    if annotations:
        yield PartMark(kind="citation", api="chat", data={"annotations": annotations})
    unread = {key: value for key, value in message.items() if key not in _MESSAGE_FIELDS and value is not None}
    if unread:
        yield PartMark(kind="opaque", api="chat", data=unread)
