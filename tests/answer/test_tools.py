"""What an application gives as tools: their schemas, and what is refused."""

from __future__ import annotations

import functools
import gc
import math
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from tests.support.hostile import HOSTILE
from tests.support.inputs import refused
from tests.support.tools import Calculator, Days, Place, Unit, schema
from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.answer.tool_signature import signature_of
from turnlog.infrastructure.answer.tools import Tool, Toolbox

# Schemas


def test_a_function_says_its_name_its_description_and_its_arguments() -> None:
    def find(
        query: Annotated[str, Field(description="What to look for.")],
        limit: int = 10,
        unit: Literal["km", "mi"] | None = None,
    ) -> str:
        """Finds places
        by name.

        It is slow.
        """
        return query

    assert Toolbox([find]).specs == [
        {
            "type": "function",
            "function": {
                "name": "find",
                "description": "Finds places by name.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "query": {"type": "string", "description": "What to look for."},
                        "limit": {"type": "integer", "default": 10},
                        "unit": {
                            "anyOf": [{"type": "string", "enum": ["km", "mi"]}, {"type": "null"}],
                            "default": None,
                        },
                    },
                    "required": ["query"],
                    "additionalProperties": False,
                },
            },
        }
    ]


def test_no_titles_are_made_up_and_an_argument_may_be_named_title() -> None:
    def add(title: str, place: Place, days: Days, unit: Unit) -> None: ...

    found = schema(add)
    assert list(found["properties"]) == ["title", "place", "days", "unit"]
    assert found["properties"]["title"] == {"type": "string"}
    assert list(found["$defs"]["Place"]["properties"]) == ["title", "near"]
    assert list(found["$defs"]["Days"]["properties"]) == ["title"]
    assert [found, *found["$defs"].values()] == [
        {key: value for key, value in one.items() if key != "title"} for one in [found, *found["$defs"].values()]
    ]


def test_a_function_without_parameters_takes_an_empty_object() -> None:
    assert schema(lambda: 1) == {"type": "object", "properties": {}, "additionalProperties": False}


def test_a_schema_that_is_given_is_sent_as_it_is() -> None:
    given_schema = {"type": "object", "properties": {"query": {"type": "string", "title": "Q"}}}
    assert schema(lambda query: query, parameters=given_schema) == given_schema


def test_a_default_that_is_no_json_is_left_out_of_the_schema() -> None:
    def find(query: str, token: Any = object()) -> None: ...  # noqa: B008 the very case

    assert schema(find)["properties"]["token"] == {}


def test_a_strict_schema_requires_all_and_allows_no_more() -> None:
    class Dog(BaseModel):
        kind: Literal["dog"] = "dog"

    class Cat(BaseModel):
        kind: Literal["cat"] = "cat"

    def add(
        place: Annotated[Place, Field(description="d")],
        pet: Annotated[Dog | Cat, Field(discriminator="kind")],
        limit: int = 3,
    ) -> None: ...

    add.__annotations__["pet"] = Annotated[Dog | Cat, Field(discriminator="kind")]
    (spec,) = Toolbox([Tool(add, strict=True)]).specs
    found = spec["function"]["parameters"]
    assert spec["function"]["strict"] is True
    assert found["required"] == ["place", "pet", "limit"]
    assert found["properties"]["place"] == {"$ref": "#/$defs/Place"}
    assert found["properties"]["pet"] == {"anyOf": [{"$ref": "#/$defs/Dog"}, {"$ref": "#/$defs/Cat"}]}
    assert found["properties"]["limit"] == {"type": "integer"}
    assert found["$defs"]["Place"]["required"] == ["title", "near"]
    assert found["$defs"]["Place"]["additionalProperties"] is False


def test_keyword_arguments_are_any_others_of_their_type() -> None:
    def add(name: str, **rest: int) -> None: ...

    assert schema(add)["additionalProperties"] == {"type": "integer"}


def test_methods_partials_and_callable_objects_are_tools() -> None:
    calculator = Calculator(3)
    tools = Toolbox(
        [
            calculator.times,
            calculator,
            Calculator.named,
            Calculator.same,
            functools.partial(pow, 2),
            Tool(functools.partial(calculator.times), name="p"),
        ]
    )
    assert [one["function"]["name"] for one in tools.specs] == ["times", "Calculator", "named", "same", "pow", "p"]
    assert [one["function"].get("description") for one in tools.specs[:3]] == ["Multiplies.", "Calculates.", None]
    for spec in (tools.specs[i]["function"]["parameters"] for i in (0, 1, 2, 3, 5)):
        assert spec["properties"] == {"number": {"type": "integer"}}


def test_an_entry_that_is_given_as_it_is_has_no_function() -> None:
    entry = {"type": "function", "function": {"name": "ask_user", "parameters": {"type": "object"}, "x": 1}}
    tools = Toolbox([entry, {"type": "web_search", "web_search": {}}])
    assert tools.specs == [entry, {"type": "web_search", "web_search": {}}]
    tool = tools.get("ask_user")
    assert tool is not None
    assert tool.function is None
    assert tools.get("web_search") is None


def test_no_tools_are_an_empty_list() -> None:
    assert Toolbox([]).specs == Toolbox(None).specs == []


def test_a_function_is_read_once_and_not_kept_alive() -> None:
    def find(query: str) -> str:
        return query

    assert signature_of(find) is signature_of(find)
    gone = weakref.ref(find)
    del find
    gc.collect()
    assert gone() is None


# What is refused


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


async def asks(arguments: dict[str, Any]) -> bool:
    return False


class Anything:
    """Has whatever is asked of it, as a proxy has."""

    def __getattr__(self, name: str) -> Anything:
        return self

    def __call__(self) -> None: ...


def star(*numbers: int) -> None: ...
def unknown(place: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821 the very case
def callback(then: Callable[[], None]) -> None: ...
def thread(one: threading.Thread) -> None: ...


@pytest.mark.parametrize(
    ("field", "tool", "word"),
    [
        ("tools[0].function", star, r"\*numbers"),
        ("tools[0].function", unknown, "Nowhere"),
        ("tools[0].function", callback, "JSON schema"),
        ("tools[0].function", thread, "Thread"),
        ("tools[0].function", generator, "generator"),
        ("tools[0].function", async_generator, "generator"),
        ("tools[0].function", functools.partial(generator), "generator"),
        ("tools[0].function", Place, "class"),
        ("tools[0].function", Tool(Anything(), name="a"), "signature"),
        ("tools[0].function", print, r"\*args"),
        ("tools[0].function", Tool("no", name="a"), "str"),  # type: ignore[arg-type]
        ("tools[0]", 7, "int"),
        ("tools[0].name", lambda: 1, "<lambda>"),
        ("tools[0].name", Tool(star, name="a b"), "a b"),
        ("tools[0].name", Tool(star, name="a\n"), "64 letters"),
        ("tools[0].name", Tool(star, name="ä"), "64 letters"),
        ("tools[0].name", Tool(star, name="a" * 65), "64 letters"),
        ("tools[0].name", Tool(None), "64 letters"),
        ("tools[0].timeout", Tool(Calculator.same, timeout=0), "0"),
        ("tools[0].timeout", Tool(Calculator.same, timeout=math.inf), "inf"),
        ("tools[0].timeout", Tool(Calculator.same, timeout=math.nan), "nan"),
        ("tools[0].timeout", Tool(Calculator.same, timeout=True), "True"),
        ("tools[0].timeout", Tool(Calculator.same, timeout="1"), "'1'"),  # type: ignore[arg-type]
        ("tools[0].needs_approval", Tool(Calculator.same, needs_approval="no"), "True"),  # type: ignore[arg-type]
        ("tools[0].needs_approval", Tool(Calculator.same, needs_approval=asks), "plain"),  # type: ignore[arg-type]
        ("tools[0].idempotent", Tool(Calculator.same, idempotent=1), "int"),  # type: ignore[arg-type]
        ("tools[0].strict", Tool(Calculator.same, strict="yes"), "str"),  # type: ignore[arg-type]
        ("tools[0].description", Tool(Calculator.same, description=1), "int"),  # type: ignore[arg-type]
        ("tools[0].parameters", Tool(Calculator.same, parameters=[1]), "list"),  # type: ignore[arg-type]
        ("tools[0].parameters.a", Tool(Calculator.same, parameters={"a": {1}}), "JSON"),
        ("tools[0].type", {"name": "a"}, "string"),
        ("tools[0].function", {"type": "function", "name": "a"}, "object"),
        ("tools[0].function.name", {"type": "function", "function": {"name": "a b"}}, "a b"),
        ("tools[0].function.parameters", {"type": "function", "function": {"name": "a", "parameters": 1}}, "object"),
    ],
)
def test_what_is_no_tool_is_refused_in_words(field: str, tool: Any, word: str) -> None:
    with pytest.raises(InvalidInputError, match=word) as error:
        Toolbox([tool])
    assert error.value.field == field


@pytest.mark.parametrize("tools", ["abc", 7, {"type": "function"}, Calculator.same])
def test_what_is_no_list_is_refused(tools: Any) -> None:
    with refused("tools"):
        Toolbox(tools)


def test_two_tools_of_one_name_are_refused() -> None:
    with refused("tools[1].name"):
        Toolbox([Calculator.same, {"type": "function", "function": {"name": "same"}}])


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_nothing_but_an_input_error_comes_of_a_hostile_tool(value: Callable[[], Any]) -> None:
    options: list[Mapping[str, Any]] = [{name: value()} for name in ("name", "description", "parameters", "timeout")]
    options += [{name: value()} for name in ("idempotent", "needs_approval", "strict")]
    for tool in [value(), *(Tool(Calculator.same, **one) for one in options), {"type": value()}]:
        with suppress(InvalidInputError):
            Toolbox([tool])
