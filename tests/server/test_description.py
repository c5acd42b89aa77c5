"""The description of the routes: everything in it is said, and its examples work."""

from __future__ import annotations

import json

from fastapi import FastAPI

from turnlog.infrastructure.server.app import openapi
from turnlog.infrastructure.server.pages import DOCS_PAGE
from turnlog.infrastructure.server.router import described


def test_every_route_says_what_it_does_and_gives_an_example_of_what_it_takes(app: FastAPI) -> None:
    schema = app.openapi()
    assert len(schema["paths"]) == len({route.path for _, route in described()})
    ids = [operation["operationId"] for path in schema["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    for tag, route in described():
        operation = schema["paths"][route.path][route.method.lower()]
        assert operation["summary"].endswith("."), route
        assert operation["tags"] == [tag]
        refusals = {"401", "422", "503"} | ({"404"} if "{session_id}" in route.path else set())
        assert refusals <= set(operation["responses"]), route
        problem = operation["responses"]["401"]["content"]
        assert list(problem) == ["application/problem+json"]


def test_every_route_that_takes_a_key_says_what_it_is_there(app: FastAPI) -> None:
    schema = app.openapi()
    for _, route in described():
        parameters = schema["paths"][route.path][route.method.lower()].get("parameters", [])
        takes = any(parameter["name"] == "Idempotency-Key" for parameter in parameters)
        assert takes == bool(route.key), route


def test_the_description_that_is_served_says_where_a_token_goes() -> None:
    schema = json.loads(openapi())
    assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert schema["paths"]["/sessions"]["get"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in schema["paths"]["/health"]["get"]


def test_the_page_of_the_description_asks_no_other_host() -> None:
    page = DOCS_PAGE.read_text("utf-8")
    assert "//" not in page.replace("// The token", "").replace("\\\n", "").replace(" // ", " ")
