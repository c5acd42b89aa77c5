"""Bytes as a source of choices, so that a fuzzer of bytes makes values: each byte decides one thing, and an exhausted
source always gives the plainest value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

TEXTS = (
    "", "a", "c1", "c2", "find", "{", "}", '{"a":1}', '{"a":', "1}", "[]", "null", "NaN", " ", "\n", "\0", "\ud83d",
    "\ude00", "é", "😀", "\u2028", "user", "assistant", "tool", "text", "image_url", "https://x/y.png", "{}",
    "data:image/png;base64,AA", "0", "-1", "1e999", "2026-01-01T00:00:00Z", "stop", "tool_calls", '"', "\\", "a" * 65,
    "x" * 300,
)  # fmt: skip
NUMBERS = (0, 1, 2, -1, 3, 7, 2**31, 2**53, 2**53 + 1, 2**63, 2**64, 10**400, -(2**70))
FLOATS = (0.0, 0.5, -1.5, 1e300, float("nan"), float("inf"), -0.0, 1e-300)


class Source:
    """Choices out of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether something is left."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """The next byte; 0 at the end."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def rest(self) -> bytes:
        """All that is left."""
        taken, self._at = self._data[self._at :], len(self._data)
        return taken

    def chance(self, one_in: int) -> bool:
        """True about once in so many times, and never at the end."""
        return self.byte() % one_in == one_in - 1

    def pick(self, options: Sequence[T]) -> T:
        """One of these; the first at the end."""
        return options[self.byte() % len(options)]

    def text(self) -> str:
        """A text that means something somewhere, or any short text."""
        number = self.byte()
        if number < 200:
            return TEXTS[number % len(TEXTS)]
        length = number - 200
        taken, self._at = self._data[self._at : self._at + length], self._at + length
        return taken.decode("utf-8", "surrogateescape" if number % 2 else "replace")

    def number(self) -> int:
        """A whole number, large ones among them."""
        return self.pick(NUMBERS)

    def many(self, make: Callable[[], T], most: int) -> list[T]:
        """Up to so many of these; none at the end."""
        return [make() for _ in range(self.byte() % (most + 1))]

    def json(self, keys: Sequence[str], depth: int = 4) -> Any:
        """Any JSON value, and some that JSON does not have. `keys` are those that objects mostly have."""
        kind = self.byte() % 16
        if kind < 6 or depth == 0:
            return self.text()
        if kind < 8:
            return self.pick((None, True, False))
        if kind == 8:
            return self.number()
        if kind == 9:
            return self.pick(FLOATS)
        if kind < 12:
            return self.many(lambda: self.json(keys, depth - 1), 4)
        if kind == 12 and self.chance(32):
            return self._deep()
        return self.object(keys, depth - 1)

    def object(self, keys: Sequence[str], depth: int = 3, most: int = 6) -> dict[str, Any]:
        """An object with some of these keys, and rarely with another."""
        return {
            (self.text() if self.chance(24) else self.pick(keys)): self.json(keys, depth)
            for _ in range(self.byte() % (most + 1))
        }

    def _deep(self) -> Any:
        value: Any = self.text()
        for _ in range(self.pick((50, 101, 900, 1500))):
            value = [value] if self._at % 2 else {"a": value}
        return value
