"""The arguments that a tool is called with without a script: they fit its schema."""

from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from annotated_types import Ge, Gt, Le, Len, Lt, MultipleOf
from pydantic import BaseModel

from turnlog.infrastructure.testing.schema_example import example

OBJECT = {"type": "object"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (None, {}),
        ({}, {}),
        (True, {}),
        (OBJECT, {}),
        ({**OBJECT, "properties": {"a": {"type": "string"}}}, {}),
        ({**OBJECT, "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"a": "example"}),
        ({**OBJECT, "required": ["a"]}, {"a": {}}),
        ({"type": "string", "enum": ["b", "c"]}, "b"),
        ({"const": 7}, 7),
        ({"type": "integer", "default": 3}, 3),
        ({"type": "string", "examples": ["Paris"]}, "Paris"),
        ({"type": ["null", "string"]}, None),
        ({"type": "string", "minLength": 10}, "example..."),
        ({"type": "string", "maxLength": 2}, "ex"),
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "number", "maximum": -1.5}, -1.5),
        ({"type": "integer", "minimum": 4, "multipleOf": 3}, 6),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"items": {"type": "string"}}, []),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, False),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": {}}),
        ({"$ref": "#/$defs/x~1y", "$defs": {"x/y": {"const": 1}}}, 1),
        ({"$ref": "#/nowhere"}, {}),
        ({"$ref": "https://example.com/schema"}, {}),
    ],
)
def test_the_example_of_a_schema(schema: Any, expected: Any) -> None:
    assert example(schema) == expected


class Colour(Enum):
    RED = "red"


class Leaf(BaseModel):
    colour: Colour
    tags: Annotated[list[str], Len(2)]
    parent: "Leaf | None"


class Everything(BaseModel):
    leaf: Leaf
    leaves: list[Leaf]
    kind: Literal["a", "b"]
    day: date
    key: UUID
    either: int | str
    small: Annotated[float, Gt(0), Lt(1.5)]
    low: Annotated[int, Lt(-3)]
    bounded: Annotated[int, Ge(3), Le(9), MultipleOf(4)]
    by_name: dict[str, int]
    optional: int | None = None


def test_the_example_of_a_model_is_one() -> None:
    model = Everything.model_validate(example(Everything.model_json_schema()))
    assert (model.kind, model.low, model.bounded, model.leaf.colour) == ("a", -4, 4, Colour.RED)


class Endless(BaseModel):
    again: "Endless"


def test_a_schema_that_contains_itself_has_an_end() -> None:
    nested, depth = example(Endless.model_json_schema()), 0
    while nested:
        nested, depth = nested["again"], depth + 1
    assert depth > 10
