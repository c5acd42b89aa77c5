"""Texts that stand where a tool's result should: systems that mend a history in flight store them."""

from __future__ import annotations

import re

from turnlog.domain.events import Content

NO_RESULT = "No result is available for this tool call."

_LONGEST = 200
_PHRASES = re.compile(
    r"\b(abort(ed)?|cancell?ed|interrupted|not (been )?(executed|run)|no result|was skipped|never (ran|executed))\b",
    re.IGNORECASE,
)


def is_placeholder(content: Content) -> bool:
    """Whether the result is short and says only that there is none."""
    return isinstance(content, str) and len(content) <= _LONGEST and _PHRASES.search(content) is not None
