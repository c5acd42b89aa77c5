"""What the APIs allow: call ids, names, legacy functions, and thinking that goes back."""

from __future__ import annotations

import re
from typing import NamedTuple

from turnlog.domain.parts import PartApi
from turnlog.domain.values import as_unicode

_NOT_IN_TOOL_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_NOT_IN_NAMES = re.compile(r"[\s<|\\/>]")


class Dialect(NamedTuple):
    """What one API allows.

    `api` is the one whose parts go back to it as they came. `call_id` matches a legal call id. `has_functions`: the API
    still has function_call and function messages. `has_thinking`: thinking goes back in a form of its own.
    `has_custom_tools`: a tool may take any text, instead of arguments in JSON. `name_length`: the most characters of a
    tool's name.
    """

    api: PartApi
    call_id: re.Pattern[str]
    has_functions: bool = False
    has_thinking: bool = True
    has_custom_tools: bool = False
    name_length: int = 64

    def tool_name(self, name: str) -> str:
        """The name in the characters that the API accepts, cut to the length that it accepts."""
        return _NOT_IN_TOOL_NAMES.sub("_", as_unicode(name))[: self.name_length]


CHAT = Dialect("chat", re.compile(r"(?s).{1,64}"), has_functions=True, has_thinking=False)
"""OpenAI used to refuse ids of more than 40 characters. Its own relays make ids of 54, and those are accepted."""
ANTHROPIC = Dialect("anthropic", re.compile(r"[a-zA-Z0-9_-]{1,64}"), name_length=128)
"""'tool_use.name: String should match pattern ^[a-zA-Z0-9_-]{1,128}$', and
'tool_use.id: String should match pattern ^[a-zA-Z0-9_-]+$'"""
RESPONSES = Dialect("responses", re.compile(r"(?s).{1,64}"), has_custom_tools=True)


def message_name(name: str | None) -> str | None:
    """The name of a message as OpenAI accepts it: 64 characters, without spaces and ``<|\\/>``."""
    return _NOT_IN_NAMES.sub("_", as_unicode(name))[:64] if name else None
