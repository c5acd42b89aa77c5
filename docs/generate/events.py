"""The events: topics, fields and an example of each, from the classes and the golden files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from turnlog.domain.events import EVENT_TYPES, SessionEvent

_GOLDEN = Path(__file__).parents[2] / "tests" / "data" / "golden"


def reference() -> str:
    """A section an event, in the order of the union."""
    return "\n\n".join("\n\n".join(_section(event)) for event in EVENT_TYPES)


def _section(event: type[SessionEvent]) -> Iterator[str]:
    yield f"## {event.topic} {{ #{event.topic.replace('.', '-')} }}"
    yield f"Class `{event.__name__}`. {' '.join((event.__doc__ or '').split())}".rstrip()
    fields = [_row(name, shape, event) for name, shape in _shapes(event).items() if name != "at"]
    if fields:
        yield "\n".join(["| Field | Type | Default |", "|---|---|---|", *fields])
    golden = json.loads((_GOLDEN / f"{event.topic}.json").read_bytes())
    written = json.dumps(golden, ensure_ascii=False)
    yield f"```json\n{written if len(written) < 90 else json.dumps(golden, ensure_ascii=False, indent=2)}\n```"


def _shapes(event: type[SessionEvent]) -> Mapping[str, Any]:
    schema = event.model_json_schema()
    return {name: {**shape, "$defs": schema.get("$defs", {})} for name, shape in schema["properties"].items()}


def _row(name: str, shape: Mapping[str, Any], event: type[SessionEvent]) -> str:
    field = event.model_fields[name]
    default = "" if field.is_required() else f"`{json.dumps(field.get_default(call_default_factory=True))}`"
    return f"| `{name}` | {_type(shape, shape['$defs'])} | {default} |"


def _type(shape: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "anyOf" in shape:
        return " or ".join(dict.fromkeys(_type(each, defs) for each in shape["anyOf"]))
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return _type(defs[name], defs) if "enum" in defs[name] else _object(name, defs[name])
    if "enum" in shape:
        return ", ".join(f"`{value}`" for value in shape["enum"])
    if shape.get("type") == "array":
        return f"list of {_type(shape['items'], defs)}"
    kind = str(shape.get("type", "any JSON"))
    return {"string": str(shape.get("format", "text")), "integer": "whole number"}.get(kind, kind)


def _object(name: str, shape: Mapping[str, Any]) -> str:
    if "properties" not in shape:
        return "JSON object"
    return f"{name} ({', '.join(f'`{field}`' for field in shape['properties'])})"
