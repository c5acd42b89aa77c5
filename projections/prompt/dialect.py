"""What the APIs allow: call ids, names, legacy functions, and thinking that goes back."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from turnlog.domain.parts import PartApi
from turnlog.domain.values import as_unicode, fingerprint
from turnlog.projections.prompt.chat_rules import ChatRules

_NOT_IN_TOOL_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_NOT_IN_NAMES = re.compile(r"[\s<|\\/>]")

Sending = Literal["always", "by_policy", "never"]


class Thoughts(NamedTuple):
    """What becomes of thinking in a prompt.

    `sent`: always, or where the policy says so, or never. In the chat prompt `field` is where its text stands; with
    `content` it is a part of the content. `fill`: the messages that have the field although nothing was thought in
    them. `details`: whether reasoning_details go back, beside that field or instead of it.
    """

    sent: Sending = "by_policy"
    field: Literal["reasoning_content", "reasoning", "content"] = "reasoning_content"
    fill: Literal["all", "with_calls", "none"] = "all"
    details: Literal["beside", "instead", "none"] = "beside"


class Dialect(NamedTuple):
    """What one API allows, or one provider behind the Chat Completions API.

    `api` is the one whose parts go back to it as they came. `call_id` matches a legal call id, and `id_form` makes one
    of a digest. `has_functions`: there still are function_call and function messages. `has_custom_tools`: a tool may
    take any text, instead of arguments in JSON. `name_length`: the most characters of a tool's name; `name_start`
    matches a legal first one. `beside`: the fields that go back beside a call, or beside the text of a message;
    None for all of those of calls, by the policy for thinking. `chat` has the rules of messages.
    """

    api: PartApi
    call_id: re.Pattern[str]
    id_form: str = "call_{:.24}"
    has_functions: bool = False
    has_custom_tools: bool = False
    name_length: int = 64
    name_start: re.Pattern[str] | None = None
    thoughts: Thoughts = Thoughts(sent="always")
    beside: tuple[str, ...] | None = None
    chat: ChatRules = ChatRules()

    def tool_name(self, name: str) -> str:
        """The name in the characters that the API accepts, cut to the length that it accepts."""
        legal = _NOT_IN_TOOL_NAMES.sub("_", as_unicode(name))
        if legal and self.name_start is not None and not self.name_start.match(legal):
            legal = f"f_{legal}"
        return legal[: self.name_length]

    def new_id(self, *parts: Any) -> str:
        """A legal call id, which is the same one for the same parts."""
        return self.id_form.format(fingerprint(*parts))


ANY_ID = re.compile(r"(?s).{1,64}")
"""OpenAI used to refuse ids of more than 40 characters. Its own relays make ids of 54, and those are accepted."""
CHAT = Dialect("chat", ANY_ID, has_functions=True, thoughts=Thoughts())
ANTHROPIC = Dialect("anthropic", re.compile(r"[a-zA-Z0-9_-]{1,64}"), name_length=128)
"""'tool_use.name: String should match pattern ^[a-zA-Z0-9_-]{1,128}$', and
'tool_use.id: String should match pattern ^[a-zA-Z0-9_-]+$'"""
RESPONSES = Dialect("responses", ANY_ID, has_custom_tools=True)


def message_name(name: str | None) -> str | None:
    """The name of a message as OpenAI accepts it: 64 characters, without spaces and ``<|\\/>``."""
    return _NOT_IN_NAMES.sub("_", as_unicode(name))[:64] if name else None
