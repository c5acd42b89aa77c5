"""Whether a prompt goes on where the one before it ended: what a provider has cached of it is paid for once."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

Prefix = Literal["first", "extended", "broken"]

MAX_PROMPTS = 10_000
"""Prompts that are remembered, the latest of each session and API: two numbers of each."""


class _Seen(NamedTuple):
    messages: int
    digest: bytes


class Prefixes:
    """Remembers of each prompt how many messages it had, and their digest."""

    def __init__(self, limit: int = MAX_PROMPTS) -> None:
        self._limit = limit
        self._seen: OrderedDict[tuple[UUID, str], _Seen] = OrderedDict()

    def of(self, session_id: UUID, api: str, prompt: Any) -> Prefix:
        """What this prompt is to the one before it, which was of the same session and API."""
        key = session_id, api
        before = self._seen.pop(key, None)
        messages = _messages(prompt)
        digest, is_extended = hashlib.blake2b(digest_size=16), False
        for number, message in enumerate(messages, 1):
            digest.update(json.dumps(message, default=str).encode())
            if before is not None and number == before.messages:
                is_extended = digest.digest() == before.digest
        self._seen[key] = _Seen(len(messages), digest.digest())
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        if before is None:
            return "first"
        return "extended" if is_extended else "broken"


def _messages(prompt: Any) -> Sequence[Any]:
    if isinstance(prompt, dict):  # Anthropic's: the system's words come first
        return [prompt.get("system"), *prompt.get("messages", ())]
    return prompt if isinstance(prompt, list) else [prompt]
