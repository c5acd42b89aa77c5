"""The types of views and deltas in TypeScript, from the models: the second half of `turnlog.d.ts`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from turnlog.domain.turns import TurnStatus
from turnlog.projections.deltas import Delta
from turnlog.projections.view import SessionPage, SessionView

TYPES = Path(__file__).parents[2] / "infrastructure" / "server" / "client" / "turnlog.d.ts"
_MARK = "// Made from the models by `python -m docs.generate`.\n"
_SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def types() -> str:
    """The file as it has to be: what is written by hand, and then all models."""
    by_hand, _, _ = TYPES.read_text("utf-8").partition(_MARK)
    return by_hand + _MARK + "\n" + "\n".join(_declarations())


def _declarations() -> Iterator[str]:
    models: list[type[BaseModel]] = [SessionView, SessionPage, *get_args(Delta)]
    _, schema = models_json_schema([(model, "serialization") for model in models])
    yield "/** Any value of JSON. */\nexport type Json = unknown;\n"
    statuses = " | ".join(map(json.dumps, get_args(TurnStatus)))
    yield f"/** How far a turn is; see `turnStatus`. */\nexport type TurnStatus = {statuses};\n"
    for name, shape in sorted(schema["$defs"].items()):
        yield _interface(name, shape)
    deltas = " | ".join(model.__name__ for model in get_args(Delta))
    yield f"/** What a client is told of one event. `kind` tells which one it is. */\nexport type Delta = {deltas};\n"


def _interface(name: str, shape: dict[str, Any]) -> str:
    # Fields that have their default are written, too.
    fields = [f"  readonly {field}: {_type(inner)};" for field, inner in shape["properties"].items()]
    said = cleandoc(shape.get("description", "")).splitlines()
    comment = ["/**", *(f" * {line}".rstrip() for line in said), " */"] if said else []
    return "\n".join([*comment, f"export interface {name} {{", *fields, "}", ""])


def _type(shape: dict[str, Any]) -> str:
    if "$ref" in shape:
        return str(shape["$ref"].rpartition("/")[2])
    if "const" in shape:
        return json.dumps(shape["const"])
    if "enum" in shape:
        return " | ".join(map(json.dumps, shape["enum"]))
    if "anyOf" in shape:
        return " | ".join(dict.fromkeys(map(_type, shape["anyOf"])))
    if shape.get("type") == "array":
        return f"ReadonlyArray<{_type(shape['items'])}>"
    if shape.get("type") == "object":
        more = shape.get("additionalProperties")
        return f"Readonly<Record<string, {_type(more) if isinstance(more, dict) else 'Json'}>>"
    return _SIMPLE.get(shape.get("type", ""), "Json")
