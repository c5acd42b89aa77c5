"""The fields of a pydantic model as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import BaseModel

import turnlog
from turnlog.projections import turn

_KINDS = {"string": "text", "integer": "whole number", "object": "JSON object"}


def table(model: type[BaseModel], without: str = "") -> str:
    """A row a field, with its type and its default; nothing for a model without fields."""
    schema = model.model_json_schema()
    rows = [_row(name, shape, model, schema) for name, shape in schema["properties"].items() if name != without]
    return "\n".join(["| Field | Type | Default |", "|---|---|---|", *rows]) if rows else ""


def fields_of(name: str) -> str:
    """The table of the model of that name: a public one, or with its module inside turnlog."""
    module, _, model = f"turnlog.{name}".rpartition(".")
    return table(getattr(import_module(module), model))


def _row(name: str, shape: Mapping[str, Any], model: type[BaseModel], schema: Mapping[str, Any]) -> str:
    field = model.model_fields[name]
    default = (
        "" if field.is_required() else f"`{json.dumps(field.get_default(call_default_factory=True), default=str)}`"
    )
    return f"| `{name}` | {_type(shape, schema.get('$defs', {}))} | {default} |"


def _type(shape: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "anyOf" in shape:
        return " or ".join(dict.fromkeys(_type(each, defs) for each in shape["anyOf"]))
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return _type(defs[name], defs) if "enum" in defs[name] else _object(name, defs[name])
    if "const" in shape:
        return f"`{shape['const']}`"
    if "enum" in shape:
        return ", ".join(f"`{value}`" for value in shape["enum"])
    if shape.get("type") == "array":
        return f"list of {_type(shape.get('items', {}), defs)}"
    if isinstance(shape.get("additionalProperties"), Mapping):
        return f"object of {_type(shape['additionalProperties'], defs)}"
    kind = str(shape.get("type", "any JSON"))
    return str(shape.get("format", _KINDS.get(kind, kind)))


def _object(name: str, shape: Mapping[str, Any]) -> str:
    if name in turnlog.__all__:
        return f"[`{name}`][turnlog.{name}]"
    if name in vars(turn) and vars(turn)[name].__module__ == turn.__name__:
        return f"[`{name}`][{turn.__name__}.{name}]"
    return f"{name} ({', '.join(f'`{field}`' for field in shape.get('properties', {}))})"
