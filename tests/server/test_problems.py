"""What is refused: one shape for all of it, and nothing in it that is not for whoever asks."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from tests.support.served import as_user
from turnlog import TurnInProgressError, TurnlogError
from turnlog.domain import errors
from turnlog.infrastructure.server import problems
from turnlog.infrastructure.server.problems import OF_REQUESTS, PROBLEMS, Problem


def tree(error: type[TurnlogError]) -> list[type[TurnlogError]]:
    return [
        error,
        *(below for kind in error.__subclasses__() if kind.__module__ == errors.__name__ for below in tree(kind)),
    ]


def test_every_error_has_a_problem_of_its_own() -> None:
    assert set(PROBLEMS) == set(tree(TurnlogError))
    every = [*PROBLEMS.values(), *OF_REQUESTS]
    names = [problem.name for problem in every]
    assert len(names) == len(set(names))
    assert all(400 <= problem.status < 600 and problem.title.endswith(".") for problem in every)


def test_an_error_of_an_application_that_derives_from_ours_is_what_ours_is() -> None:
    class OwnError(errors.StepClosedError):
        pass

    assert problems.problem_of(OwnError("s-1")) is PROBLEMS[errors.StepClosedError]


def test_a_problem_names_no_host_and_no_process() -> None:
    now = datetime.now(UTC)
    error = TurnInProgressError("s-1", now, "w-1", "secret-host", 4711, now, "m-1")
    answered = problems.of_error(error)
    body = json.loads(answered.body)
    assert (answered.status_code, answered.media_type) == (409, "application/problem+json")
    assert body["step_id"] == "s-1"
    assert body["until"] == now.isoformat()
    assert b"secret-host" not in answered.body
    assert b"4711" not in answered.body
    away = problems.of_error(errors.StoreUnavailableError("postgres://u:pw@db.internal failed"))
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert b"internal" not in away.body


def test_half_a_character_in_a_problem_is_written() -> None:
    body = json.loads(problems.of_error(errors.InvalidInputError("title\ud800", "is odd \ud83d")).body)
    assert body["field"] == "title\ud800"


def is_problem(answered: httpx.Response, problem: Problem) -> bool:
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.status_code == problem.status == answered.json()["status"]
    return bool(answered.json()["type"] == problem.type)


@pytest.mark.parametrize(
    ("body", "kind", "problem"),
    [
        (b"{", "application/json", problems.MALFORMED),
        (b'{"title": NaN}', "application/json", problems.MALFORMED),
        (b'{"title": "\xff"}', "application/json", problems.MALFORMED),
        (b"[" * 100_000, "application/json", problems.MALFORMED),
        (b'{"title": ' + b"1" * 5_000 + b"}", "application/json", problems.MALFORMED),
        (b'{"title": 1}', "application/json", problems.INVALID),
        (b'{"titel": "x"}', "application/json", problems.INVALID),
        (b'"x"', "application/json", problems.INVALID),
        (b'{"title": "x"}', "text/plain", problems.MEDIA),
        (b'{"title": "x"}', "", problems.MEDIA),
        (b'{"title": " "}', "application/json", PROBLEMS[errors.InvalidInputError]),
        (b'{"title": "' + b"x" * 1_001 + b'"}', "application/json", PROBLEMS[errors.LimitExceededError]),
        (b'{"title": "x", "session_id": "x"}', "application/json", problems.FORBIDDEN),
        (b'{"title": "' + b"x" * 100_000 + b'"}', "application/json", problems.TOO_LARGE),
    ],
)
async def test_a_body_that_cannot_be_taken_is_refused_in_one_shape(
    log: object, body: bytes, kind: str, problem: Problem
) -> None:
    from tests.support.served import app_of, asked

    async with asked(app_of(log, max_body_bytes=200_000 if len(body) == 100_000 else 90_000)) as http:  # type: ignore[arg-type]
        answered = await http.post("/sessions", content=body, headers={"content-type": kind} if kind else {})
        assert is_problem(answered, problem)


async def test_what_is_wrong_with_a_field_is_said_without_what_was_sent(http: httpx.AsyncClient) -> None:
    answered = await http.post("/sessions", json={"title": 17, "metadata": "secret"})
    faults = answered.json()["errors"]
    assert [fault["field"] for fault in faults] == ["body.title", "body.metadata"]
    assert "secret" not in answered.text


async def test_a_body_is_counted_where_its_length_is_not_said(http: httpx.AsyncClient, log: object) -> None:
    from tests.support.served import app_of, asked

    async def pieces():  # type: ignore[no-untyped-def]  # an async generator of bytes
        for _ in range(100):
            yield b"[" * 1_000

    async with asked(app_of(log, max_body_bytes=10_000)) as small:  # type: ignore[arg-type]
        headers = {"content-type": "application/json"}
        assert is_problem(await small.post("/sessions", content=pieces(), headers=headers), problems.TOO_LARGE)


async def test_nobody_is_refused_before_the_body_is_read(http: httpx.AsyncClient) -> None:
    async def pieces():  # type: ignore[no-untyped-def]  # an async generator of bytes
        raise AssertionError("the body was read")
        yield b""

    headers = {**as_user(""), "content-type": "application/json"}
    answered = await http.post("/sessions", content=pieces(), headers=headers)
    assert is_problem(answered, problems.UNAUTHENTICATED)
    assert answered.headers["www-authenticate"] == "Bearer"
