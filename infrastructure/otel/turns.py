"""Turns that are in hand, and their tools at work, as spans and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import Span, Tracer

from turnlog.domain.events import ToolResultAdded, TurnEnded
from turnlog.infrastructure.observer import TurnHeld, tool_key
from turnlog.infrastructure.otel import names
from turnlog.infrastructure.otel.instruments import Instruments
from turnlog.infrastructure.otel.messages import cut
from turnlog.infrastructure.otel.spans import OpenSpans, end
from turnlog.projections.step import StepToolCall

LOST = "lost"
"""The status of a turn that somebody else has ended, and of a tool whose result nobody has stored here."""


@dataclass(slots=True)
class _Turn:
    span: Span
    began: float
    tools: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Tool:
    span: Span
    began: float
    name: str


class Turns:
    """The runs of turns that are held here, and the tools that they run."""

    def __init__(self, tracer: Tracer, instruments: Instruments, *, content: bool) -> None:
        self._tracer = tracer
        self._content = content
        self._duration = instruments.histogram(names.TURNS)
        self._tool_duration = instruments.histogram(names.TOOLS)
        self._open: OpenSpans[_Turn] = OpenSpans()
        self._tools: OpenSpans[_Tool] = OpenSpans()

    def span(self, held_id: str) -> Span | None:
        """The span of a run, or of a tool."""
        held = self._open.get(held_id) or self._tools.get(held_id)
        return None if held is None else held.span

    def begun(self, turn: TurnHeld, now: float) -> None:
        """A turn is in hand, in the current context."""
        attributes = {
            names.OPERATION: names.INVOKE_AGENT,
            names.CONVERSATION: str(turn.session_id),
            names.TURN_ID: turn.turn_id,
            names.TURN_RUN: turn.run,
        }
        self._open[turn.run] = _Turn(self._tracer.start_span(names.INVOKE_AGENT, attributes=attributes), now)

    def ended(self, run: str, ended: TurnEnded | None, now: float) -> None:
        """A turn has ended here; None if somebody else has ended it."""
        turn = self._open.pop(run)
        if turn is None:
            return
        for key in turn.tools:
            self._end_tool(key, LOST, now)
        status = LOST if ended is None else ended.status
        self._duration.record(now - turn.began, {names.TURN_STATUS: status})
        text = ended.reason if ended is not None and self._content else ""
        end(turn.span, {names.TURN_STATUS: status}, "failed" if status == "failed" else None, text)

    def tool_begun(self, run: str, step_id: str, call: StepToolCall, now: float) -> None:
        """The tool of a call begins to run, in the current context."""
        attributes = {
            names.OPERATION: names.EXECUTE_TOOL,
            names.TOOL_NAME: call.name,
            names.TOOL_TYPE: "function",
            names.TOOL_CALL_ID: call.id,
            names.STEP_ID: step_id,
            names.TURN_RUN: run,
        }
        if self._content:
            attributes[names.TOOL_ARGUMENTS] = cut(call.arguments)
        key = tool_key(step_id, call.index)
        span = self._tracer.start_span(f"{names.EXECUTE_TOOL} {call.name}", attributes=attributes)
        self._tools[key] = _Tool(span, now, call.name)
        turn = self._open.get(run)
        if turn is not None:
            turn.tools.append(key)

    def tool_ended(self, result: ToolResultAdded, now: float) -> None:
        """A result was stored: the first one ends the run of the tool."""
        content = {names.TOOL_RESULT: cut(str(result.content))} if self._content else {}
        self._end_tool(tool_key(result.step_id, result.index), result.status, now, content)

    def _end_tool(self, key: str, status: str, now: float, content: dict[str, Any] | None = None) -> None:
        tool = self._tools.pop(key)
        if tool is None:
            return
        self._tool_duration.record(now - tool.began, {names.TOOL_NAME: tool.name, names.RESULT_STATUS: status})
        end(tool.span, {names.RESULT_STATUS: status, **(content or {})}, "error" if status == "error" else None)
