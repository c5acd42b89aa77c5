"""The bodies of requests. Types alone are checked here; what may be recorded, the log says, which names the field."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from turnlog.domain.events import ResultStatus, Role
from turnlog.domain.values import JsonObject, Text


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [fields]})


class NewSession(BaseModel):
    """A session to start. The owner is the user who asks; the system may name another one, and the session's id."""

    model_config = _example(title="Weather", metadata={"topic": "weather"})

    title: Text | None = None
    metadata: JsonObject | None = None
    user_id: Text | None = None
    session_id: Text | None = None


class NewMessage(BaseModel):
    """A message. `on_busy` is for those of the user: what becomes of it while a turn is in hand."""

    model_config = _example(content="Weather in Paris?", message_id="m-1")

    role: Role = "user"
    content: Text | list[JsonObject] | None = None
    message_id: Text | None = None
    on_busy: Literal["steer", "queue", "stop"] | None = None
    name: Text | None = None
    refusal: Text | None = None
    tool_calls: list[JsonObject] | None = None
    function_call: JsonObject | None = None


class NewResult(BaseModel):
    """The result of a tool call. A late one should name its step: providers reuse call ids."""

    model_config = _example(call_id="call_1", content="21 C", status="final")

    call_id: Text
    content: Text | list[JsonObject]
    status: ResultStatus = "final"
    step_id: Text | None = None


class Approval(BaseModel):
    """Allows a call that waits for a decision; `for_turn`: and all others of its tool in the turn. `by`: who decides,
    where the system asks; else it is the user who asks."""

    model_config = _example(call_id="call_1", reason="it is cheap")

    call_id: Text
    step_id: Text | None = None
    reason: Text = ""
    for_turn: bool = False
    by: Text | None = None


class Refusal(BaseModel):
    """Refuses a call that waits for a decision. The model reads the reason."""

    model_config = _example(call_id="call_1", reason="too expensive")

    call_id: Text
    step_id: Text | None = None
    reason: Text = ""
    by: Text | None = None


class Cancellation(BaseModel):
    """Stops the turn; with a `turn_id` only that one."""

    model_config = _example(reason="the user pressed stop")

    reason: Text = "stopped"
    turn_id: Text | None = None


class NewTitle(BaseModel):
    """A title; with `only_if_empty` only where there is none."""

    model_config = _example(title="Weather in Paris")

    title: Text
    only_if_empty: bool = False


class Increment(BaseModel):
    """Adds `by` to the counter's key. The same `id` again changes nothing."""

    model_config = _example(counter="feedback", key="up", by=1, id="i-1")

    counter: Text
    key: Text
    by: int = 1
    id: Text | None = None


class NewUsage(BaseModel):
    """Usage outside of recorded steps: a provider's usage object. The same `id` again changes nothing."""

    model_config = _example(usage={"prompt_tokens": 12, "completion_tokens": 3}, model="m", id="u-1")

    usage: JsonObject
    model: Text | None = None
    id: Text | None = None


class NewCompaction(BaseModel):
    """A summary that prompts have instead of what began at or before the position `upto`."""

    model_config = _example(summary="They talked about the weather.", upto=1)

    summary: Text
    upto: int


class NewFork(BaseModel):
    """A copy up to the position `version`; all of it without one."""

    model_config = _example(version=1)

    version: int | None = None


class WantedRepair(BaseModel):
    """What is wrong with the history is corrected; in a dry run it is only said."""

    model_config = _example(dry_run=True)

    dry_run: bool = False


class WithdrawnRepair(BaseModel):
    """The repair to withdraw: the latest, or the one with this id."""

    model_config = _example()

    repair_id: Text | None = None


class NewOwner(BaseModel):
    """The user who is given a session that nobody owns."""

    model_config = _example(user_id="u1")

    user_id: Text


class NewImport(BaseModel):
    """A conversation of another system. With the id of an earlier import only what came after it is added."""

    model_config = _example(messages=[{"role": "user", "content": "Hello"}], format="chat", dry_run=False)

    messages: Any
    format: Text = "auto"
    session_id: Text | None = None
    title: Text | None = None
    branches: bool = False
    dry_run: bool = False
    user_id: Text | None = None


class WholeAnswer(BaseModel):
    """What a provider has answered to a request that does not stream: a Chat Completion, a Response, a Message."""

    model_config = _example(
        response={
            "id": "c-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It is 21 C."}}
            ],
        }
    )

    response: JsonObject
    model: Text | None = None
    takeover: bool = False
