"""The keys under which the store remembers what was accepted. Digests, for ids may hold any text."""

from __future__ import annotations

import hashlib


def message_key(message_id: str) -> bytes:
    """The key of a message."""
    return _key("message", message_id)


def result_key(call_id: str, step_id: str | None = None) -> bytes:
    """The key of the final result of a call: of this step's, or of the latest one of the id."""
    return _key("result", call_id) if step_id is None else _key(f"result of {step_id}", call_id)


def increment_key(id: str) -> bytes:  # noqa: A002 the field's name
    """The key of an increment."""
    return _key("increment", id)


def usage_key(id: str) -> bytes:  # noqa: A002 the field's name
    """The key of a usage report."""
    return _key("usage", id)


def _key(kind: str, value: str) -> bytes:
    return hashlib.blake2b(f"{kind}:{value}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
