"""Texts that stand for what is missing: ours, and what other systems have stored instead of a tool's result while they
mended a history to send it."""

from __future__ import annotations

import re

from turnlog.domain.events import Content

NO_RESULT = "No result is available for this tool call."
TOOL_INTERRUPTED = "The tool was interrupted before it had a result. It may have had effects."
OPENING = "(The conversation begins with the assistant.)"
"""Goes before a leading assistant message. Bedrock still answers 'first message must use the "user" role'
(anthropics/anthropic-sdk-typescript#622), and so do some providers of chat messages."""
NO_ANSWER = "(No answer.)"
"""Goes between the results of tools and a user's message, where the assistant has to speak in between."""
NOT_ALLOWED_YET = "The tool has not run: somebody has to allow this call first."

_LONGEST = 200
_WHAT = r"(tool|function|call|execution|request|operation|command|user|it|this|result)\b[^.!?\n]{0,60}?\b"
_PHRASE = r"(abort(ed)?|cancell?ed|interrupted|not (been )?(executed|run)|no result|skipped|never (ran|executed))\b"
_AFTER = r"(\W*$| (by|due|because|before|after|since|as|for|is|was|available)\b)"
_PHRASES = re.compile(rf"^\W*(error\W+|the |a |an )*({_WHAT}{_PHRASE}|{_PHRASE}{_AFTER})", re.IGNORECASE)
"""What such a text says about the call, and not about what a tool has done: an order may be cancelled, too."""


def is_placeholder(content: Content) -> bool:
    """Whether the content is short and says only that there is no result."""
    return isinstance(content, str) and len(content) <= _LONGEST and _PHRASES.search(content) is not None
