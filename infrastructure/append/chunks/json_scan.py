"""Whether a text that comes in pieces is whole JSON objects by now, in a time that grows with its length."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')


class JsonScan:
    """Follows the brackets and strings of a text. It looks at each piece once."""

    def __init__(self) -> None:
        self._depth = self._closed = 0
        self._in_string = self._is_escaped = False

    @property
    def is_whole(self) -> bool:
        """Whether there is an object or a list, and each that was opened is closed."""
        return self._closed > 0 and self._depth == 0 and not self._in_string

    def feed(self, piece: str) -> None:
        """Takes what comes next."""
        at = 0
        while at < len(piece):
            if self._is_escaped:
                self._is_escaped = False
                at += 1
                continue
            found = (_INSIDE if self._in_string else _OUTSIDE).search(piece, at)
            if found is None:
                return
            self._take(found[0])
            at = found.end()

    def _take(self, mark: str) -> None:
        if mark == "\\":
            self._is_escaped = True
        elif mark == '"':
            self._in_string = not self._in_string
        elif mark in "{[":
            self._depth += 1
        elif self._depth:
            self._depth -= 1
            self._closed += 1
