"""What is recorded of an exception: its text, and what the provider said."""

from __future__ import annotations

from typing import Any

from turnlog.domain.limits import MAX_REASON_LENGTH
from turnlog.domain.quoting import cut
from turnlog.domain.values import JsonObject


def said(error: BaseException) -> str:
    """An exception as the text that is recorded. Its own text may be long, and may not even be had."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 whatever its __str__ does
        text = "(it cannot be shown)"
    return cut(f"{type(error).__name__}: {text}", MAX_REASON_LENGTH)


def failure_of(error: BaseException) -> JsonObject | None:
    """The HTTP `status` of a provider's refusal, and the `type`, `code` and `message` of its error, as far as there are
    any. They stand so in the errors of the openai and anthropic packages. None for any other error."""
    status = getattr(error, "status_code", None)
    found = {"type": _field(error, "type"), "code": _field(error, "code"), "message": _field(error, "message")}
    failure: JsonObject = {name: cut(value, MAX_REASON_LENGTH) for name, value in found.items() if value is not None}
    if isinstance(status, int):
        return {"status": status, **failure}
    return failure if "type" in failure or "code" in failure else None


def _field(error: BaseException, name: str) -> str | None:
    try:
        value: Any = getattr(error, name, None)
    except Exception:  # noqa: BLE001 it may be a property that raises
        return None
    return value if isinstance(value, str) and value else None
