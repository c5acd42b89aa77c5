"""The keys under which the store remembers what was accepted. Digests, for ids may hold any text."""

from __future__ import annotations

import hashlib


def message_key(message_id: str) -> bytes:
    """The key of a message."""
    return _key("message", message_id)


def result_key(call_id: str) -> bytes:
    """The key of the final result of a call."""
    return _key("result", call_id)


def _key(kind: str, value: str) -> bytes:
    return hashlib.blake2b(f"{kind}:{value}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
