"""What goes wrong at a fake provider: a request is refused, or its script has come to its end."""

from __future__ import annotations

from turnlog.infrastructure.testing.answers import Failure


class RequestRefusedError(Exception):
    """A request that a real provider refuses. `failure` is what it answers; the text is its message."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class ScriptExhaustedError(AssertionError):
    """There was one more request than the script has answers."""


def refused(message: str, param: str | None = None, code: str | None = None) -> RequestRefusedError:
    """The error for a request that is answered with 400."""
    return RequestRefusedError(Failure(400, message=message, param=param, code=code))


def unknown_url(method: str, path: str) -> RequestRefusedError:
    """The error for a URL that is not there."""
    return RequestRefusedError(Failure(404, message=f"Unknown request URL: {method} {path}.", code="unknown_url"))
