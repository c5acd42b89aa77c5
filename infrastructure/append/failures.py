"""What is recorded of an exception: its text, and what the provider said."""

from __future__ import annotations

from collections.abc import Mapping
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
    status, body = _attribute(error, "status_code"), _body(error)
    found = {name: _text(body.get(name)) or _text(_attribute(error, name)) for name in ("type", "code", "message")}
    failure: JsonObject = {name: cut(value, MAX_REASON_LENGTH) for name, value in found.items() if value is not None}
    if isinstance(status, int):
        return {"status": status, **failure}
    return failure if "type" in failure or "code" in failure else None


def _body(error: BaseException) -> Mapping[str, Any]:
    """What the provider said, as it said it: the packages put words of their own around its message."""
    body = _attribute(error, "body")
    inner = body.get("error") if isinstance(body, Mapping) else None
    found = inner if isinstance(inner, Mapping) else body
    return found if isinstance(found, Mapping) else {}


def _attribute(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 it may be a property that raises
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
