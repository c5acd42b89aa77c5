"""The smallest value that fits a JSON schema, as far as the schemas of tools go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_TEXT = "example"
_DEEP, _DEEPEST = 4, 32
"""Levels of a schema that contains itself after which it is brought to an end, and after which it is cut off."""


def example(schema: Any, root: Schema | None = None, depth: int = 0) -> Any:
    """A value that fits: only what is required, and of that the first choice and the least number.

    Follows `$ref` inside the schema. A `pattern` and combinations that contradict each other are not solved.
    """
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return {}
    root = schema if root is None else root
    schema = _resolved(schema, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            # A schema that contains itself has its end, such as null, among the later choices.
            choice = schema[key][0 if depth < _DEEP else -1]
            return example({**schema, key: None, **_resolved(choice, root)}, root, depth + 1)
    return _of_type(_type(schema), schema, root, depth)


def _of_type(name: str | None, schema: Schema, root: Schema, depth: int) -> Any:
    match name:
        case "array":
            return [example(schema.get("items"), root, depth + 1) for _ in range(schema.get("minItems", 0))]
        case "string":
            return _string(schema)
        case "integer":
            return _integer(schema)
        case "number":
            return _number(schema)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return _object(schema, root, depth)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema with what it refers to and all that `allOf` names put together."""
    for _ in range(_DEEPEST):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        schema = {**_at(root, reference), **{key: value for key, value in schema.items() if key != "$ref"}}
    for part in schema.get("allOf") or ():
        whole = _resolved(part, root)
        required = [*schema.get("required", ()), *whole.get("required", ())]
        properties = {**whole.get("properties", {}), **schema.get("properties", {})}
        schema = {**whole, **schema, "required": required, "properties": properties, "allOf": None}
    return schema


def _at(root: Schema, reference: str) -> Schema:
    found: Any = root
    for key in reference.removeprefix("#").split("/")[1:]:
        found = found.get(key.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _type(schema: Schema) -> str | None:
    named = schema.get("type")
    if isinstance(named, list):
        return named[0] if named else None
    if named is None and "items" in schema:
        return "array"
    return named


def _object(schema: Schema, root: Schema, depth: int) -> dict[str, Any]:
    properties, required = schema.get("properties") or {}, dict.fromkeys(schema.get("required") or ())
    return {name: example(properties.get(name), root, depth + 1) for name in required}


def _string(schema: Schema) -> str:
    text = _FORMATS.get(schema.get("format", ""), _TEXT)
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _integer(schema: Schema) -> int:
    step = schema.get("multipleOf", 1)
    return int(_number({**schema, "multipleOf": step}))


def _number(schema: Schema) -> float:
    step: float | None = schema.get("multipleOf")
    above = schema.get("exclusiveMinimum")
    least = schema.get("minimum", 0 if above is None else above + (step or 1))
    below = schema.get("exclusiveMaximum")
    number: float = min(least, schema.get("maximum", least if below is None else below - (step or 1)))
    return -(-number // step) * step if step else number
