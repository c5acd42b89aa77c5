"""The JSON schema of a tool's arguments, as providers want it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from turnlog.domain.values import JsonObject

_ONE = ("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs")


class _Quiet(GenerateJsonSchema):
    """Leaves out a default that is not JSON, without a warning."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}


def schema_of(model: type[BaseModel]) -> JsonObject:
    """The schema of a model without the titles that pydantic makes of names. Raises PydanticUserError if a field has a
    type that JSON Schema does not know."""
    return dict(_rebuilt(model.model_json_schema(schema_generator=_Quiet), _without_title))


def strict_schema(schema: JsonObject) -> JsonObject:
    """The schema as `strict` wants it: every property is required, no other is allowed, and nothing has a default."""
    return dict(_rebuilt(schema, _strict))


def _rebuilt(schema: Any, change: Callable[[JsonObject], JsonObject]) -> Any:
    """The schema with every schema in it changed. A property may be named like a keyword, so only places where schemas
    stand are gone through."""
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for key, value in schema.items():
        if key in _ONE:
            found[key] = _rebuilt(value, change)
        elif key in _MANY and isinstance(value, list):
            found[key] = [_rebuilt(one, change) for one in value]
        elif key in _NAMED and isinstance(value, dict):
            found[key] = {name: _rebuilt(one, change) for name, one in value.items()}
    return change(found)


def _without_title(schema: JsonObject) -> JsonObject:
    return {key: value for key, value in schema.items() if key != "title"}


def _strict(schema: JsonObject) -> JsonObject:
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}  # nothing may stand beside it
    changed = {key: value for key, value in schema.items() if key not in ("default", "discriminator")}
    if "oneOf" in changed:
        changed["anyOf"] = changed.pop("oneOf")
    if changed.get("type") == "object":
        properties = changed.setdefault("properties", {})
        changed |= {"required": list(properties), "additionalProperties": False}
    return changed
