"""Tools and their types, and what comes of running them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from turnlog.infrastructure.answer.tool_context import ToolContext
from turnlog.infrastructure.answer.tool_result import ToolOutcome
from turnlog.infrastructure.answer.tool_run import run_tool
from turnlog.infrastructure.answer.tools import Tool, Toolbox

CONTEXT = ToolContext(session=None, turn_id="t", step_id="s", call_id="c", index=2, name="tool", attempt=1)


class Place(BaseModel):
    """Where it is."""

    title: str
    near: Place | None = None


@dataclass
class Days:
    title: int = 1


class Unit(str, Enum):  # noqa: UP042 its str() is not its value
    CELSIUS = "C"


class Calculator:
    """Calculates."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, number: int) -> int:
        """Multiplies."""
        return number * self.factor

    async def __call__(self, number: int) -> int:
        return number * self.factor

    @classmethod
    def named(cls, number: int) -> str:
        return f"{cls.__name__} {number}"

    @staticmethod
    def same(number: int) -> int:
        return number


def schema(function: Callable[..., Any], **options: Any) -> Any:
    (spec,) = Toolbox([Tool(function, name="tool", **options)]).specs
    return spec["function"]["parameters"]


async def ran(function: Callable[..., Any], arguments: str = "", **options: Any) -> ToolOutcome:
    return await run_tool(Tool(function, name="tool", **options), arguments, CONTEXT)


async def result(function: Callable[..., Any], arguments: str = "", **options: Any) -> Any:
    outcome = await ran(function, arguments, **options)
    assert outcome.status == "final", outcome
    return outcome.content


async def fault(function: Callable[..., Any], arguments: str = "", **options: Any) -> str:
    outcome = await ran(function, arguments, **options)
    assert outcome.status == "error"
    assert isinstance(outcome.content, str)
    return outcome.content
