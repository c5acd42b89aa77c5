"""What a conversation says, as digests of its beginnings: so the same beginning is known wherever it is met again.

Clients send an answer back in words of their own: with other fields, with its arguments written anew, as one text or
as parts, without its reasoning. A digest is of what all of them keep: the texts, the calls and the results. What the
system says in front has a digest of its own, because many applications write it anew for every request.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from turnlog.domain.foreign import ForeignFormat, ForeignMessage, ForeignResult, read_foreign
from turnlog.domain.values import JsonObject

SIZE = 16
MOST_BOUNDARIES = 64
"""Beginnings of one request that are looked for: the longest."""


class Said(NamedTuple):
    """What an answer says: its texts, and its calls with id, name and arguments."""

    texts: tuple[str, ...]
    calls: tuple[tuple[str, str, str], ...] = ()


class Boundary(NamedTuple):
    """Behind an answer: a beginning of so many messages, which ends with what a model said."""

    fingerprint: bytes
    length: int


class Trail:
    """The digests of a conversation of this scope: whoever has another one comes to others."""

    def __init__(self, *scope: Any) -> None:
        self._hash = blake2b(_written(scope), digest_size=SIZE)
        self._system = blake2b(digest_size=SIZE)
        self._run: list[Said] = []
        self._count = 0
        self._has_begun = False
        self.boundaries: list[Boundary] = []
        self.ids: list[str] = []
        """Of each message: an id that the same message has in the same place."""

    def take(self, format_: ForeignFormat, messages: Iterable[JsonObject]) -> None:
        """Goes on with these messages."""
        for message in messages:
            for item in read_foreign(format_, message).items:
                self._take(item)
            self._count += 1
            self.ids.append(blake2b(self.end + b"%d" % self._count, digest_size=SIZE).hexdigest())

    @property
    def end(self) -> bytes:
        """The digest of all."""
        return self._after(self._run)

    @property
    def system(self) -> bytes:
        """The digest of what the system says in front of all."""
        return self._system.digest()

    def answered(self, said: Said) -> bytes:
        """The digest of all, and this answer."""
        return self._after([*self._run, said])

    def _after(self, run: Sequence[Said]) -> bytes:
        digest = self._hash.copy()
        if run:
            digest.update(_run(run))
        return digest.digest()

    def _take(self, item: ForeignMessage | ForeignResult) -> None:
        if isinstance(item, ForeignMessage) and item.role == "assistant":
            self._has_begun = True
            self._run.append(said_by(item.content, item.refusal, item.calls, item.function_call))
            return
        self._end_run()
        if isinstance(item, ForeignResult):
            self._add(["result", item.call_id, _stripped(item.content), item.is_error])
        elif item.role in ("system", "developer") and not self._has_begun:
            self._system.update(_written(["system", _stripped(item.content)]))
        else:
            self._has_begun = True
            self._add([item.role, item.name, _stripped(item.content)])

    def _end_run(self) -> None:
        if self._run:
            self._hash.update(_run(self._run))
            self._run = []
            self.boundaries = [*self.boundaries[1 - MOST_BOUNDARIES :], Boundary(self._hash.digest(), self._count)]

    def _add(self, entry: list[Any]) -> None:
        self._hash.update(_written(entry))


def said_by(content: Any, refusal: str | None, calls: Iterable[Any], function_call: Any = None) -> Said:
    """What an assistant message says. `calls` have an id, a name and arguments."""
    given = _content(content)
    texts = tuple(text for text in (given if isinstance(given, str) else _written(given).decode(), refusal) if text)
    made = [(call.id, call.name, _arguments(call.arguments)) for call in calls]
    if function_call is not None:
        name, arguments = function_call
        made.append(("", name, _arguments(arguments)))
    return Said(texts, tuple(made))


def _run(run: Sequence[Said]) -> bytes:
    text = "".join(text for said in run for text in said.texts).strip()
    return _written(["assistant", text, [call for said in run for call in said.calls]])


def _content(content: Any) -> Any:
    """The content as one text where it is text, and else its parts, without what only says how they are cached."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = _uncached(list(content))
    if all(set(part) >= {"type", "text"} and part["type"] == "text" for part in parts):
        return "".join(str(part["text"]) for part in parts)
    return parts


def _uncached(value: Any) -> Any:
    if isinstance(value, list):
        return [_uncached(item) for item in value]
    if isinstance(value, dict):
        return {key: _uncached(item) for key, item in value.items() if key != "cache_control"}
    return value


def _stripped(content: Any) -> Any:
    given = _content(content)
    return given.strip() if isinstance(given, str) else given


def _arguments(text: str) -> str:
    try:
        return _written(json.loads(text)).decode()
    except (ValueError, RecursionError):
        return text.strip()


def _written(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
