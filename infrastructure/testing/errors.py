"""The one error that the provider answers with, in the shape that OpenAI gives its errors."""

from __future__ import annotations

from http import HTTPStatus


class RequestRefusedError(Exception):
    """A request that is not answered with a stream.

    Takes the provider's wording, the field that is wrong (`param`), OpenAI's short `code` and the HTTP status.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status

    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON object to answer with: `{"error": {message, type, param, code}}`."""
        error = {"message": self.message, "type": "invalid_request_error", "param": self.param, "code": self.code}
        return {"error": error}
