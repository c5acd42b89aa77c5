"""Routes before they belong to a router: a path, a function, and what the description says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from turnlog.infrastructure.server.problems import MEDIA_TYPE

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:turnlog:problem:session-not-found"]},
        "title": {"type": "string", "examples": ["There is no such session."]},
        "status": {"type": "integer", "examples": [404]},
        "detail": {"type": "string"},
    },
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of answers that are problems."""
    content = {MEDIA_TYPE: {"schema": dict(_PROBLEM)}}
    return {status: {"description": "A problem (RFC 9457).", "content": content} for status in statuses}


@dataclass(frozen=True, slots=True)
class Described:
    """One route. `key` says what `Idempotency-Key` is to it; empty where it need not be, or is not taken."""

    method: Method
    path: str
    endpoint: Callable[..., Any]
    key: str
    options: Mapping[str, Any]

    @property
    def says(self) -> str:
        """What it does, in one line."""
        return (self.endpoint.__doc__ or "").strip().partition("\n")[0]


@dataclass(slots=True)
class Routes:
    """The routes of one module."""

    tag: str
    described: list[Described] = field(default_factory=list)

    def __iter__(self) -> Iterator[Described]:
        return iter(self.described)

    def add(
        self,
        method: Method,
        path: str,
        *,
        gives: Any = None,
        status: int = 200,
        key: str = "",
        refuses: Sequence[int] = (),
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """A decorator. `gives` is the model of the answer, for the description alone: each function answers with a
        Response. `refuses` are statuses beside those that all have."""

        def added(endpoint: Endpoint) -> Endpoint:
            found = (404,) if "{session_id}" in path else ()
            responses = refusals(401, *found, 422, 503, *refuses) | options.pop("responses", {})
            described = dict(response_model=gives, status_code=status, responses=responses, **options)
            self.described.append(Described(method, path, endpoint, key, described))
            return endpoint

        return added

    def join(self, router: APIRouter) -> None:
        """Adds them to a router."""
        for one in self.described:
            router.add_api_route(
                one.path,
                one.endpoint,
                methods=[one.method],
                tags=[self.tag],
                response_class=JSONResponse,
                summary=one.says,
                **one.options,
            )
