"""What the client gets: the provider's answer as it came, or an error of ours in the provider's own shape."""

from __future__ import annotations

import json
from typing import Any

import httpx
from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send

from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.server import problems
from turnlog.infrastructure.server.problems import RefusedError
from turnlog.infrastructure.server.proxy.answer import Answer, Head
from turnlog.infrastructure.server.proxy.apis import refusal
from turnlog.infrastructure.tasks import cancel_and_wait, started


class ProxiedResponse(Response):
    """An answer as its provider gives it: status, headers, and bytes. A client that leaves ends nothing. An answer that
    breaks off is broken off here, too: the client is not told that it was whole."""

    def __init__(self, answer: Answer, *, anthropic: bool) -> None:
        super().__init__()
        self._answer = answer
        self._is_anthropic = anthropic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it as it comes."""
        leaving = started(self._watch(receive))
        try:
            head = await self._answer.head
            if head.waits:
                await self._answer.outlet.settled()
                if self._answer.error is not None:
                    raise self._answer.error
        except Exception as error:  # noqa: BLE001 whatever kept the answer from coming
            await refused(error, anthropic=self._is_anthropic)(scope, receive, send)
        else:
            await self._send(head, send)
        finally:
            self._answer.leave()
            await cancel_and_wait(leaving)

    async def _send(self, head: Head, send: Send) -> None:
        ours = [] if head.session_id is None else [(b"x-turnlog-session", head.session_id.encode())]
        await send({"type": "http.response.start", "status": head.status, "headers": [*head.headers, *ours]})
        async for part in self._answer.outlet.parts():
            await send(_body(part, more=True))
        if self._answer.outlet.is_whole:
            await send(_body(b"", more=False))

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._answer.leave()


def _body(part: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": part, "more_body": more}


def refused(error: Exception, *, anthropic: bool) -> Response:
    """An error of ours, as the provider's packages read it. Like a problem it names no host and no process."""
    status, code, message = _told(error)
    body = refusal(anthropic=anthropic, status=status, code=code, message=message)
    headers = {"Retry-After": "1"} if status == 503 else {}
    return Response(json.dumps(body), status, headers, "application/json")


def _told(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, TurnlogError):
        return _told_by(problems.problem_of(error), str(error))
    if isinstance(error, RefusedError):
        return _told_by(error.problem, error.detail)
    if isinstance(error, httpx.TimeoutException):
        return 504, "upstream-timeout", "The provider did not answer in time."
    return 502, "upstream-failed", "The provider could not be reached, or broke off."


def _told_by(problem: problems.Problem, detail: str) -> tuple[int, str, str]:
    said: Any = f"{problem.title} {detail}".strip() if problem.is_told else problem.title
    return problem.status, problem.name, f"turnlog: {said}"
