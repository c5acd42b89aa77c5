"""What the AI SDK sends: the messages of a page, of which the last one says what is new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.foreign.media import normal_part
from turnlog.domain.values import JsonObject, Text
from turnlog.projections.turn import StepToolCall, Turn
from turnlog.projections.ui_messages import gathered
from turnlog.projections.ui_parts import Claims, own_call_id

_EXAMPLE: JsonObject = {
    "id": "chat-1",
    "messages": [{"id": "m-1", "role": "user", "parts": [{"type": "text", "text": "Weather in Paris?"}]}],
    "trigger": "submit-message",
}


class ChatRequest(BaseModel):
    """The body of `DefaultChatTransport`. Fields of the application's own may be beside these. Of the messages the last
    one counts: the log has the others."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: Text
    messages: list[JsonObject]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    messageId: Text | None = None  # noqa: N815 the SDK's name

    @property
    def last(self) -> JsonObject:
        """The last message. Raises InvalidInputError."""
        if not self.messages:
            raise InvalidInputError("messages", "are missing")
        return self.messages[-1]


class Told(NamedTuple):
    """What a page has told of a call: its result, or a decision about it."""

    call: StepToolCall
    step_id: str
    part: JsonObject


def content_of(message: JsonObject) -> str | list[dict[str, Any]]:
    """What a user says: a text, or parts. Raises InvalidInputError for nothing."""
    found = [normal_part(part) for part in _parts(message) if part.get("type") in ("text", "file")]
    parts = [part for part in found if part is not None]
    if not parts:
        raise InvalidInputError("messages", "end with a message that says nothing: it has no text and no file")
    texts = [part.get("text") for part in parts if part.get("type") == "text"]
    if len(parts) == 1 and len(texts) == 1 and isinstance(texts[0], str):
        return texts[0]
    return [{"type": "text", "text": part.get("text")} if part.get("type") == "text" else part for part in parts]


def told_of_calls(message: JsonObject, turn: Turn) -> Iterator[Told]:
    """What a page says of the calls of this turn that are open."""
    claims = Claims()
    gathered([turn], claims=claims)
    ids = {own: call_id for call_id, own in claims.items()}
    told = {part.get("toolCallId"): part for part in _parts(message) if _is_told(part)}
    for step in turn.steps:
        for call in step.open_calls(turn.index):
            own = own_call_id(step.step_id, call.index)
            part = told.get(ids.get(own, own)) or told.get(own)
            if part is not None:
                yield Told(call, step.step_id, part)


def output_text(part: JsonObject) -> str:
    """The result of a call, as the log takes it."""
    output = part.get("errorText") if part["state"] == "output-error" else part.get("output")
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def decision_of(part: JsonObject) -> tuple[bool, str]:
    """Whether a call is allowed, and why."""
    approval = part.get("approval")
    if not isinstance(approval, dict):
        return False, ""
    return approval.get("approved") is True, str(approval.get("reason") or "")


def _is_told(part: JsonObject) -> bool:
    state = part.get("state")
    return state in ("output-available", "output-error", "approval-responded") and not part.get("providerExecuted")


def _parts(message: JsonObject) -> list[JsonObject]:
    parts = message.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
