"""Which reply answers a request: the fake provider without its sockets."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any

from turnlog.infrastructure.testing.answers import Answer, Failure, Recorded, Reply, Request, Scripted
from turnlog.infrastructure.testing.apis import CHAT, FAKE_APIS, FakeApi
from turnlog.infrastructure.testing.default_answer import default_answer
from turnlog.infrastructure.testing.errors import RequestRefusedError, ScriptExhaustedError, refused, unknown_url
from turnlog.infrastructure.testing.playback import Playback, failed, playback, timed_stream

OnReply = Callable[[Request, Reply], None]


class Playbook:
    """The script, and what was asked, lost and done wrong; safe to use from several threads."""

    def __init__(
        self,
        answers: Iterable[Scripted] | Callable[[Request], Reply] | None,
        *,
        pace: float,
        strict: bool,
        on_reply: OnReply | None,
    ) -> None:
        self._pace = pace
        self._strict = strict
        self._on_reply = on_reply
        self._lock = Lock()
        self._script: deque[Scripted] = deque()
        self._otherwise = default_answer if answers is None else answers if callable(answers) else _exhausted
        self.requests: list[Request] = []
        self.errors: list[Exception] = []
        self.disconnects = 0
        if answers is not None and not callable(answers):
            self.add(answers)

    def add(self, answers: Iterable[Scripted]) -> None:
        """Appends to the script. Raises ValueError for a stream that is not there, TypeError for what is no answer."""
        added = list(answers)
        for answer in added:
            if isinstance(answer, Recorded):
                timed_stream(answer)
            elif not callable(answer):
                _checked(answer)
        with self._lock:
            self._script.extend(added)

    def count_disconnect(self) -> None:
        """One more client went away."""
        with self._lock:
            self.disconnects += 1

    def play(self, method: str, path: str, headers: Mapping[str, str], data: bytes) -> Playback:
        """The response to a request, whatever it is. What goes wrong in the script becomes one, and is kept."""
        body = _json_object(data)
        request, api = Request(body, headers), FAKE_APIS.get(path)
        try:
            if api is None:
                raise unknown_url(method, path)
            if body is None:
                raise refused("We could not parse the JSON body of your request.")
            reply, number = self._reply(request, api)
            played = playback(reply, request, api, number=number, pace=self._pace)
        except RequestRefusedError as refusal:
            reply, played = refusal.failure, failed(refusal.failure, api or CHAT)
        except Exception as error:  # noqa: BLE001  # the script's own functions may raise anything
            reply = self._broken(error)
            played = failed(reply, api or CHAT)
        if self._on_reply is not None:
            self._on_reply(request, reply)
        return played

    def raise_errors(self, error: BaseException | None) -> None:
        """Raises what went wrong in the script, or notes it on the error that is being raised already."""
        for each in self.errors:
            if error is None:
                raise each
            error.add_note(f"fake provider: {_in_words(each)}")

    def _reply(self, request: Request, api: FakeApi) -> tuple[Reply, int]:
        """The reply, and the number of the request. Raises RequestRefusedError."""
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
        api.check(request, self._strict)
        with self._lock:
            scripted = self._script.popleft() if self._script else self._otherwise
        return _checked(scripted(request) if callable(scripted) else scripted), number

    def _broken(self, error: Exception) -> Failure:
        with self._lock:
            self.errors.append(error)
        # The header keeps openai's client from trying again what can only fail again.
        return Failure(message=f"fake provider: {_in_words(error)}", headers={"x-should-retry": "false"})


def _exhausted(_: Request) -> Reply:
    raise ScriptExhaustedError("there was one more request than the script has answers")


def _checked(reply: Any) -> Reply:
    if isinstance(reply, Answer | Failure | Recorded):
        return reply
    raise TypeError(f"a reply is an Answer, a Failure or a Recorded, not {reply!r}")


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, ScriptExhaustedError) else f"the script raised {error!r}"


def _json_object(data: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(data)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
