"""Turns as the messages of a user interface: `UIMessage[]` of the AI SDK, from version 5 on
(ai-sdk.dev/docs/reference/ai-sdk-core/ui-message).

What answers a message of the user is one message of the assistant, whose steps each begin with `step-start`. Its id is
that of the first step, also where that was made again. Attempts that were made again are left out, and a late result is
the output of its call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from turnlog.projections.prompt.parts import unicode_json
from turnlog.projections.turn import LateResult, Message, Step, Turn
from turnlog.projections.ui_parts import Claims, output_of, parts_of_content, parts_of_step

Json = dict[str, Any]


@dataclass(slots=True)
class UiMessage:
    """A message. `position` is that of its first event; `steps` are the parts of each of its steps, by the step's id,
    or its own parts by its own id. Texts are as they were recorded. `replaced` are the steps that were made again."""

    id: str
    role: str
    position: int
    metadata: Json
    steps: dict[str, list[Json]] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)

    def shown(self) -> Json:
        """The message as the SDK has it, all text of it in Unicode."""
        parts = list(chain.from_iterable(self.steps.values()))
        shown: Json = unicode_json({"id": self.id, "role": self.role, "metadata": self.metadata, "parts": parts})
        return shown


def ui_messages(turns: Iterable[Turn]) -> list[Json]:
    """The messages, all text of them in Unicode."""
    return [message.shown() for message in gathered(turns) if message.steps]


def gathered(turns: Iterable[Turn], after: int = 0, claims: Claims | None = None) -> list[UiMessage]:
    """The messages of what came after this position. One of the assistant all of whose steps were made again has none.
    `claims` are those of the first message of the assistant, whose first steps may not be in the turns; they are added
    to."""
    gathering = _Gathering({} if claims is None else claims)
    for turn in turns:
        for entry in turn.entries():
            if entry.position <= after:
                continue
            if isinstance(entry, Message):
                gathering.add_message(entry)
            elif not isinstance(entry, LateResult):
                gathering.add_step(entry, is_replaced=turn.has_replaced(entry))
    return gathering.messages


class _Gathering:
    def __init__(self, claims: Claims) -> None:
        self.messages: list[UiMessage] = []
        self._claims = claims

    def add_message(self, message: Message) -> None:
        if message.role == "function":
            self._add_function_result(message)
            return
        role = "system" if message.role == "developer" else message.role
        parts = list(parts_of_content(message.content, "done"))
        made = self._begin(message.message_id, role, message.position, message.at)
        made.steps[message.message_id] = parts

    def add_step(self, step: Step, *, is_replaced: bool) -> None:
        if not self.messages or self.messages[-1].role != "assistant":
            self._begin(step.step_id, "assistant", step.position, step.started_at)
        message = self.messages[-1]
        parts = list(parts_of_step(step, self._claims))
        if is_replaced:
            message.replaced.add(step.step_id)
            return
        message.metadata |= {
            name: value
            for name, value in (("model", step.model), ("finishReason", step.finish_reason), ("status", step.status))
            if value is not None
        }
        message.steps[step.step_id] = parts

    def _begin(self, message_id: str, role: str, position: int, at: datetime) -> UiMessage:
        if role == "user" and any(one.role == "assistant" for one in self.messages[-1:]):
            self._claims = {}
        message = UiMessage(message_id, role, position, {"createdAt": at.isoformat()})
        self.messages.append(message)
        return message

    def _add_function_result(self, message: Message) -> None:
        """Puts what a legacy function gave into its call, if that is the last one."""
        parts = list(chain.from_iterable(self.messages[-1].steps.values())) if self.messages else []
        if parts and parts[-1]["type"] == f"tool-{message.name}" and parts[-1]["state"] == "input-available":
            parts[-1] |= {"state": "output-available", "output": output_of(message.content or "")}
