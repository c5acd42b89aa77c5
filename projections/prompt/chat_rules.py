"""What a provider behind the Chat Completions API allows of messages."""

from __future__ import annotations

from typing import NamedTuple

from turnlog.domain.values import JsonObject

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
MEDIA = frozenset({"image_url", "input_audio", "file"})


class ChatRules(NamedTuple):
    """The rules of messages. The defaults are those of no provider in particular: of the API as it is documented.

    Roles: `has_developer`; `late_system`, where system messages may stand between others, and not only in front, as one
    message; `assistant_first`; `users_together`; `user_after_tool`. `named` are the roles whose messages may have a
    name, `in_parts` those whose content may be a list. `media` are the parts that a user's message may have, `marks`
    those of the end of a cached prefix. `has_refusals`: the field `refusal`, and parts of that type. `has_audio`: an
    answer in audio goes back as its id. `null_content`: the content beside calls may be null, and need not be a text.
    `calls_together`: a message may have several calls. `unsigned`: what stands beside the first call of a message with
    which nothing came. `continued`: what marks a last message that the provider is to go on with.
    """

    has_developer: bool = True
    late_system: bool = True
    assistant_first: bool = True
    users_together: bool = True
    user_after_tool: bool = True
    named: frozenset[str] = ROLES
    in_parts: frozenset[str] = ROLES
    media: frozenset[str] = MEDIA
    marks: frozenset[str] = frozenset({"prompt_cache_breakpoint", "cache_control"})
    has_refusals: bool = True
    has_audio: bool = True
    null_content: bool = True
    calls_together: bool = True
    unsigned: JsonObject = {}
    continued: JsonObject | None = None
