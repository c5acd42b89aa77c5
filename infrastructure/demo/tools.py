"""The tools of the demo: what they answer, and how they are offered to a provider."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from turnlog.infrastructure.demo.script import Tool, load_script
from turnlog.projections.view import SessionView, StepToolCall

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionToolParam

_ARITHMETIC: Mapping[str, Callable[[Iterable[Any]], Any]] = {"add": sum, "multiply": math.prod}


class Result(NamedTuple):
    """What a tool answers."""

    content: str
    status: Literal["pending", "final", "error"]


class Tools:
    """Runs tool calls. One that runs long answers "pending" first; `finish` gives its final result."""

    def __init__(self, known: Mapping[str, Tool] | None = None) -> None:
        self._known = load_script().tools if known is None else known

    def run(self, call: StepToolCall) -> Result:
        """The first result of a call, often its only one."""
        tool = self._known.get(call.name)
        if tool is not None:
            return Result(tool.final, "final") if tool.pending is None else Result(tool.pending, "pending")
        try:
            return Result(str(_ARITHMETIC[call.name](json.loads(call.arguments).values())), "final")
        except (KeyError, ValueError, TypeError, AttributeError):
            return Result(f"There is no tool {call.name!r} that takes these arguments.", "error")

    def finish(self, call: StepToolCall) -> Result:
        """The final result of a call whose result is pending."""
        return Result(self._known[call.name].final, "final")


def running_calls(view: SessionView) -> list[StepToolCall]:
    """The calls whose result is pending."""
    steps = [step for turn in view.turns for step in turn.steps]
    return [
        call
        for step in steps
        for call in step.message.tool_calls
        if (result := step.result_of(call.index)) is not None and result.status == "pending"
    ]


def offered() -> list[ChatCompletionToolParam]:
    """The tools as a request names them."""
    return [
        _function("get_weather", "The weather of a city now.", city="The city"),
        _function("get_time", "The local time of a time zone.", zone="An IANA time zone, such as Europe/Lisbon"),
        _function("create_report", "Writes a report; takes minutes, and answers with its number.", title="Its title"),
    ]


def _function(name: str, description: str, **parameters: str) -> ChatCompletionToolParam:
    properties: dict[str, Any] = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    schema: dict[str, object] = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
