"""What is refused over HTTP, as problem details (RFC 9457): a row for each error of the log, and one for each kind of
request that does not get as far as the log.

A problem is for whoever has asked, who may be a stranger: it names no host, no process and no password, and says
nothing about a session that is not theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import HTTPException
from fastapi.responses import Response

from turnlog.domain import errors as e

MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:turnlog:problem:"
_RETRY = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of refusal. `is_told`: the error's own sentence is given as the `detail`. `fields` are attributes of the
    error that are given, too."""

    status: int
    name: str
    title: str
    is_told: bool = True
    fields: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The URI that names it."""
        return PREFIX + self.name


def _away(name: str, title: str) -> Problem:
    return Problem(503, name, title, is_told=False)


_DATABASE = "The database cannot hold a log as it is."

PROBLEMS: Mapping[type[e.TurnlogError], Problem] = {
    e.TurnlogError: Problem(500, "error", "The log could not do this.", is_told=False),
    e.InvalidInputError: Problem(422, "invalid-input", "Something in the request is not valid.", fields=("field",)),
    e.LimitExceededError: Problem(
        422, "limit-exceeded", "Something in the request is larger than is taken.", fields=("field", "limit")
    ),
    e.UnknownPositionError: Problem(
        410,
        "unknown-position",
        "The session has no such position: begin anew from its view.",
        fields=("position", "last"),
    ),
    e.SessionNotFoundError: Problem(404, "session-not-found", "There is no such session.", is_told=False),
    e.SessionExistsError: Problem(409, "session-exists", "The id of the session is taken.", is_told=False),
    e.SessionOwnedError: Problem(409, "session-owned", "The session has an owner.", is_told=False),
    e.StepError: Problem(409, "step-refused", "The step cannot be written."),
    e.TurnInProgressError: Problem(
        409,
        "turn-in-progress",
        "An answer is being written.",
        is_told=False,
        fields=("step_id", "turn_id", "since", "until"),
    ),
    e.StepClosedError: Problem(409, "step-closed", "The step has ended.", fields=("step_id",)),
    e.TurnClosedError: Problem(409, "turn-closed", "The turn has ended, or is somebody else's.", fields=("turn_id",)),
    e.OwnTurnError: Problem(409, "own-turn", "A turn cannot wait for itself.", fields=("turn_id",)),
    e.ToolCallConflictError: Problem(409, "tool-call-conflict", "Two different calls have one id."),
    e.ToolResultError: Problem(409, "tool-result-refused", "The result cannot be added."),
    e.UnknownToolCallError: Problem(
        409, "unknown-tool-call", "The session has no such call that waits for this.", fields=("call_id",)
    ),
    e.ToolResultConflictError: Problem(
        409, "tool-result-conflict", "The call has been answered, or decided, otherwise.", fields=("call_id",)
    ),
    e.ToolRunningError: Problem(409, "tool-running", "The owner of the turn brings the result.", fields=("call_id",)),
    e.PromptError: Problem(422, "prompt-refused", "The prompt cannot be made as asked."),
    e.PromptTooLongError: Problem(
        422, "prompt-too-long", "The last turn alone is longer than the window.", fields=("tokens", "max_tokens")
    ),
    e.StoreError: _away("store-failed", "The store could not do this."),
    e.StoreUnavailableError: _away(
        "store-unavailable", "The store did not answer in time: whether it has stored this, a retry finds out."
    ),
    e.AppendConflictError: _away("append-conflict", "Others kept writing: nothing was stored."),
    e.AppendRefusedError: _away("append-refused", "The store has refused this: nothing was stored."),
    e.SchemaVersionError: _away("schema-version", "The schema is that of another version."),
    e.UnfitDatabaseError: _away("unfit-database", _DATABASE),
    e.DatabaseEncodingError: _away("database-encoding", _DATABASE),
    e.DatabaseVersionError: _away("database-version", _DATABASE),
    e.ReadOnlyDatabaseError: _away("read-only-database", "The database takes no writes now."),
    e.PoolerError: _away("pooler", _DATABASE),
    e.MissingPrivilegeError: _away("missing-privilege", _DATABASE),
    e.UnreadableEventError: Problem(
        500, "unreadable-event", "A stored event cannot be read by this version.", is_told=False
    ),
    e.ProjectionError: _away("projection-failed", "A projection cannot go on."),
    e.LogClosedError: _away("log-closed", "The server is shutting down."),
    e.WrongProcessError: Problem(500, "wrong-process", "The log was opened in another process.", is_told=False),
    e.WrongLoopError: Problem(500, "wrong-loop", "The log was opened on another event loop.", is_told=False),
    e.EmbeddedServersError: _away("embedded-servers", "An embedded server did not start."),
    e.EmbeddedServersMissingError: _away("embedded-servers-missing", "The embedded servers are not installed."),
}
"""What becomes of each error. A test holds this table to the tree of errors."""

MALFORMED = Problem(400, "malformed", "The request cannot be read.")
UNAUTHENTICATED = Problem(401, "unauthenticated", "It is not known who asks.")
FORBIDDEN = Problem(403, "forbidden", "This is for the system alone.")
READ_ONLY = Problem(403, "read-only", "This server shows the log, and takes nothing.")
NOT_FOUND = Problem(404, "not-found", "There is nothing at this address.")
NO_METRICS = Problem(404, "no-metrics", "There are no metrics here: telemetry is not installed, or they go elsewhere.")
METHOD = Problem(405, "method-not-allowed", "This address takes other methods.")
TOO_LARGE = Problem(413, "body-too-large", "The body is larger than is taken.")
MEDIA = Problem(415, "unsupported-media-type", "The body is of a type that is not taken here.")
INVALID = Problem(422, "invalid-request", "Something in the request is not valid.")
SAID = Problem(409, "already-said", "What was said stays.")
NO_ANSWER = Problem(501, "no-answer", "This server does not answer by itself.")
FAILED = Problem(500, "internal", "The server has failed.")

OF_REQUESTS = (
    MALFORMED, UNAUTHENTICATED, FORBIDDEN, READ_ONLY, NOT_FOUND, NO_METRICS, METHOD, TOO_LARGE, MEDIA, INVALID, SAID,
    NO_ANSWER, FAILED,
)  # fmt: skip
"""Problems of requests that do not get as far as the log."""

_BY_STATUS = {problem.status: problem for problem in reversed(OF_REQUESTS)}


class RefusedError(HTTPException):
    """A request that is refused before the log is asked."""

    def __init__(self, problem: Problem, detail: str = "", **fields: Any) -> None:
        super().__init__(problem.status, detail)
        self.problem = problem
        self.fields = fields


def problem_of(error: e.TurnlogError) -> Problem:
    """The row of an error, or that of the nearest class above it."""
    return next(PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)


def of_error(error: e.TurnlogError) -> Response:
    """The answer to what the log has refused."""
    problem = problem_of(error)
    detail = str(error) if problem.is_told else ""
    return answer(problem, detail, {name: getattr(error, name) for name in problem.fields})


def of_exception(error: Exception) -> Response:
    """The answer to what was refused with an HTTPException of FastAPI's or Starlette's."""
    if isinstance(error, RefusedError):
        return answer(error.problem, error.detail, error.fields)
    status = getattr(error, "status_code", 500)
    problem = _BY_STATUS.get(status) or Problem(status, "refused", "This was refused.")
    detail, headers = getattr(error, "detail", ""), getattr(error, "headers", None)
    return answer(problem, detail if isinstance(detail, str) else "", headers=headers)


def of_validation(found: list[Any]) -> Response:
    """The answer to a request whose parts are not of the types that they have to be. What was sent is not repeated."""
    faults = [{"field": ".".join(map(str, one["loc"])), "reason": str(one["msg"])} for one in found]
    return answer(INVALID, "; ".join(f"{one['field']}: {one['reason']}" for one in faults[:3]), {"errors": faults})


def body(problem: Problem, detail: str = "", fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The members of the problem."""
    said: dict[str, Any] = {"type": problem.type, "title": problem.title, "status": problem.status}
    if detail:
        said["detail"] = detail
    return said | {name: value for name, value in (fields or {}).items() if value is not None}


def answer(
    problem: Problem,
    detail: str = "",
    fields: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem as a response."""
    sent = dict(headers or {})
    if problem.status == 401:
        sent.setdefault("WWW-Authenticate", "Bearer")
    if problem.status == 503:
        sent.setdefault("Retry-After", str(_RETRY))
    # In ASCII, because what is quoted may hold half a character.
    text = json.dumps(body(problem, detail, fields), default=_written)
    return Response(text, problem.status, sent, MEDIA_TYPE)


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
