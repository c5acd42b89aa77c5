"""The tools that the model calls. They cost nothing: what is measured is the loop around them."""

from __future__ import annotations

from typing import Any


async def weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: 21 degrees"


async def local_time(city: str) -> str:
    """The time of day in a city."""
    return f"{city}: 12:30"


TOOLS = {"weather": weather, "local_time": local_time}
CITY = "Paris"
RESULTS = ["Paris: 21 degrees", "Paris: 12:30"]
"""What the tools return for the city that the model asks for."""


def spec_of(name: str) -> dict[str, Any]:
    """The entry of a request's `tools`."""
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    function = {"name": name, "description": TOOLS[name].__doc__, "parameters": parameters}
    return {"type": "function", "function": function}
