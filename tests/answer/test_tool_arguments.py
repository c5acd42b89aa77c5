"""How the arguments of a model reach a tool, and who has to agree before."""

from __future__ import annotations

import functools
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator

from tests.support.tools import Days, Place, Unit, fault, result, schema
from turnlog.infrastructure.answer.tool_context import ToolContext
from turnlog.infrastructure.answer.tool_run import approval_needed
from turnlog.infrastructure.answer.tools import Tool

# Arguments


async def test_arguments_come_as_their_types() -> None:
    def visit(place: Place, day: date, unit: Unit, days: Days, by: int | list[str] = 1) -> str:
        return f"{place.title} {day:%Y} {unit.name} {days.title} {by}"

    arguments = '{"place": {"title": "Paris"}, "day": "2026-01-02", "unit": "C", "days": {"title": 2}, "by": ["bus"]}'
    assert await result(visit, arguments) == "Paris 2026 CELSIUS 2 ['bus']"


async def test_a_class_of_the_function_around_it_is_found_if_it_is_used() -> None:
    class Local(BaseModel):
        x: int

    def find(one: Local) -> str:
        return str(one == Local(x=1))

    assert await result(find, '{"one": {"x": 1}}') == "True"


async def test_any_name_can_be_a_parameter() -> None:
    def find(_x: int, model_config: int, json: int, schema: int, p0: int, *, copy: int) -> list[int]:
        return [_x, model_config, json, schema, p0, copy]

    arguments = '{"_x": 1, "model_config": 2, "json": 3, "schema": 4, "p0": 5, "copy": 6}'
    assert await result(find, arguments) == "[1,2,3,4,5,6]"


async def test_a_default_of_pydantic_counts_and_one_of_python_is_passed_on_as_it_is() -> None:
    missing = list[int]()  # pydantic would copy it

    def find(a: int = Field(5, le=9), b: Any = missing, c: list[int] = Field(default_factory=list)) -> Any:  # noqa: B008
        return [a, b is missing, c]

    assert await result(find) == "[5,true,[]]"
    assert "less than or equal to 9" in await fault(find, '{"a": 10}')


async def test_positional_parameters_and_any_others_are_given() -> None:
    def find(a: int, b: int = 2, /, c: int = 3, **rest: Any) -> Any:
        return [a, b, c, rest]

    assert await result(find, '{"a": 1, "c": 4, "p1": "x"}') == '[1,2,4,{"p1":"x"}]'


async def test_the_context_is_given_and_the_model_cannot_give_it() -> None:
    def find(query: str, context: ToolContext | None = None, **rest: Any) -> str:
        assert context is not None
        return f"{query} {context.key} {rest}"

    assert list(schema(find)["properties"]) == ["query"]
    assert await result(find, '{"query": "q"}') == "q s:2 {}"
    assert "context: Extra" in await fault(find, '{"query": "q", "context": {"step_id": "x"}}')


async def test_what_a_partial_has_bound_is_hidden_and_cannot_be_given() -> None:
    def find(user: str, query: str, **rest: Any) -> str:
        return f"{user} {query} {rest}"

    bound = functools.partial(find, user="u1")
    assert list(schema(bound)["properties"]) == ["query"]
    assert await result(bound, '{"query": "q"}') == "u1 q {}"
    assert "user: Extra" in await fault(bound, '{"query": "q", "user": "u2"}')


@pytest.mark.parametrize("arguments", ["", " \n", "{}"])
async def test_empty_arguments_are_an_empty_object(arguments: str) -> None:
    assert await result(lambda: "here", arguments) == "here"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('{"city": ', "The arguments of tool are not valid: Invalid JSON: EOF while parsing a value"),
        ("[1]", "The arguments of tool are not valid: Input should be an object"),
        ("null", "The arguments of tool are not valid: Input should be an object"),
        ("{}", "The arguments of tool are not valid: city: Field required"),
        (
            '{"city": "a", "days": "soon"}',
            "days: Input should be a valid integer, unable to parse string as an integer",
        ),
        ('{"city": "a", "days": "soon"}', "(given: 'soon')"),
        ('{"city": "a", "x": 1}', "x: Extra inputs are not permitted"),
        ('{"city": "a", "places": [{"title": 1}]}', "places[0].title: Input should be a valid string (given: 1)"),
        ('{"city": "\\ud83d"}', "Invalid JSON"),
    ],
)
async def test_arguments_that_do_not_fit_are_explained_to_the_model(arguments: str, words: str) -> None:
    def weather(city: str, days: int = 1, places: list[Place] | None = None) -> str:
        raise AssertionError("it is not run")

    found = await fault(weather, arguments)
    assert words in found
    assert "pydantic" not in found


async def test_words_about_arguments_are_short() -> None:
    def add(numbers: list[int]) -> None: ...

    found = await fault(add, '{"numbers": [' + ",".join(['"' + "x" * 10_000 + '"'] * 1_000) + "]}")
    assert len(found) < 2_000
    assert found.endswith("and 995 more")


async def test_halves_of_a_character_are_put_together_in_arguments() -> None:
    assert await result(lambda text: text, '{"text": "\ud83d\ude00"}') == "\U0001f600"


# Approvals


def test_approval_is_needed_where_the_tool_says_so() -> None:
    def pay(amount: int, currency: str = "EUR") -> None: ...

    def dear(arguments: dict[str, Any]) -> bool:
        return bool(arguments["amount"] > 100 and arguments["currency"] == "EUR")

    assert not approval_needed(Tool(pay), '{"amount": 1}')
    assert approval_needed(Tool(pay, needs_approval=True), '{"amount": 1}')
    assert approval_needed(Tool(pay, needs_approval=dear), '{"amount": "101"}')
    assert not approval_needed(Tool(pay, needs_approval=dear), '{"amount": 100}')


@pytest.mark.parametrize("arguments", ["{", "[]", "{}", '{"amount": "much"}'])
def test_arguments_that_are_not_valid_need_no_approval(arguments: str) -> None:
    def pay(amount: int) -> None: ...

    assert not approval_needed(Tool(pay, needs_approval=True), arguments)
    assert not approval_needed(Tool(pay, needs_approval=lambda _: True), arguments)


def test_a_rule_that_raises_asks_for_approval(caplog: pytest.LogCaptureFixture) -> None:
    def pay(amount: int) -> None: ...

    assert approval_needed(Tool(pay, needs_approval=lambda arguments: bool(arguments["x"])), '{"amount": 1}')
    assert "the approval rule of tool pay failed" in caplog.text


def test_a_validator_that_raises_asks_for_approval() -> None:
    class Fragile(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def check(cls, value: int) -> int:
            raise RuntimeError("the database is away")

    def pay(amount: Any) -> None: ...

    pay.__annotations__["amount"] = Fragile
    assert approval_needed(Tool(pay, needs_approval=True), '{"amount": {"x": 1}}')


def test_a_call_for_somebody_else_can_need_approval() -> None:
    tool = Tool(None, name="tool", needs_approval=lambda arguments: arguments["x"] == 1)
    assert approval_needed(tool, '{"x": 1}')
    assert not approval_needed(tool, "[]")
