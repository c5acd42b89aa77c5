"""What a provider behind the Chat Completions API would refuse about messages, by its rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from turnlog.domain.values import JsonObject
from turnlog.projections.prompt.dialect import Dialect

Place = tuple[int, str]
"""The index of a message, and the kind of fault there."""


class Fault(NamedTuple):
    """What is wrong, for people, and what a provider answers."""

    text: str
    provider_error: str


CHAT_FAULTS = {
    "leading_assistant": Fault(
        "the assistant speaks first",
        "After the (optional) system message(s), user or tool message(s) should alternate with assistant message(s)",
    ),
    "consecutive_roles": Fault(
        "two user messages follow each other", "Conversation roles must alternate user/assistant/user/assistant/..."
    ),
    "user_after_tool": Fault(
        "a user's message follows the results of tools directly", "Unexpected role 'user' after role 'tool'"
    ),
    "late_system": Fault("a system message comes after others", "System message must be at the beginning"),
    "developer_role": Fault(
        "there is no role developer",
        "unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`",
    ),
    "function_role": Fault("there are no functions, but only tools", "function is not one of ['system', 'user', ...]"),
    "message_name": Fault("messages of this role have no name", "Only messages of role 'user' can have a name"),
    "call_id": Fault(
        "a call id is not one of the provider's form",
        "Tool call id has to be defined in serving mode ... must be a-z, A-Z, 0-9, with a length of 9",
    ),
    "tool_name": Fault(
        "a tool's name does not begin as it has to",
        "function name is invalid, must start with a letter and can contain letters, numbers, underscores, and dashes",
    ),
    "custom_tool": Fault("there are no custom tools", "Input should be 'function'"),
    "parallel_calls": Fault("a message has several calls", "This model only supports single tool-calls at once!"),
    "missing_signature": Fault(
        "the first call of a message has no thought signature",
        "Function call is missing a thought_signature in functionCall parts",
    ),
    "missing_reasoning": Fault(
        "an answer with calls does not say what was thought before, which a model that thinks wants back",
        "Missing `reasoning_content` field in the assistant message",
    ),
    "unknown_field": Fault("a message or a call has a field that is not known", "Extra inputs are not permitted"),
    "null_content": Fault("the content is null", "Each message must have at least one content element"),
    "content_list": Fault("the content is a list", "value must be a string"),
    "content_part": Fault("the content has a part that is not known", "unknown variant `image_url`, expected `text`"),
}
"""By kind."""


def chat_faults(messages: Sequence[JsonObject], dialect: Dialect) -> Iterator[Place]:
    """The faults of the messages for a provider. One of a kind is found once in a message, or more than once."""
    yield from _of_the_order(messages, dialect)
    in_turn = max((index for index, one in enumerate(messages) if one["role"] == "user"), default=-1)
    for index, message in enumerate(messages):
        for is_wrong, kind in _CHECKS:
            if is_wrong(message, dialect):
                yield index, kind
        # 'the current turn': what came before it is not looked at
        if index > in_turn and _is_unsigned(message, dialect):
            yield index, "missing_signature"


def _of_the_order(messages: Sequence[JsonObject], dialect: Dialect) -> Iterator[Place]:
    rules = dialect.chat
    spoken = [(index, one["role"]) for index, one in enumerate(messages) if one["role"] not in _SYSTEM]
    if spoken and spoken[0][1] == "assistant" and not rules.assistant_first:
        yield spoken[0][0], "leading_assistant"
    for (_, first), (index, second) in pairwise(spoken):
        if first == second == "user" and not rules.users_together:
            yield index, "consecutive_roles"
        if (first, second) == ("tool", "user") and not rules.user_after_tool:
            yield index, "user_after_tool"
    for index, message in enumerate(messages):
        if message["role"] in _SYSTEM and not rules.late_system and spoken and index > spoken[0][0]:
            yield index, "late_system"


_SYSTEM = ("system", "developer")


def _calls(message: JsonObject) -> Sequence[JsonObject]:
    return message.get("tool_calls") or ()


def _functions(message: JsonObject) -> Iterator[JsonObject]:
    return (call["function"] for call in _calls(message) if "function" in call)


def _is_unsigned(message: JsonObject, dialect: Dialect) -> bool:
    calls = _calls(message)
    return bool(calls and dialect.chat.unsigned.keys() - calls[0].keys())


def _lacks_thinking(message: JsonObject, dialect: Dialect) -> bool:
    thoughts = dialect.thoughts
    wants = thoughts.sent == "always" and thoughts.fill != "none"
    return wants and bool(_calls(message)) and thoughts.field not in message


def _has_unknown_field(message: JsonObject, dialect: Dialect) -> bool:
    thoughts, rules = dialect.thoughts, dialect.chat
    known = {
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        "function_call",
        *(rules.continued or ()),
        *(dialect.beside or ()),
    }
    known |= {thoughts.field} if thoughts.sent != "never" else set()
    known |= {"reasoning_details"} if thoughts.details != "none" else set()
    known |= {"refusal"} if rules.has_refusals else set()
    known |= {"audio"} if rules.has_audio else set()
    beside = {"id", "type", "function", "custom", *(dialect.beside or ())}
    return bool(message.keys() - known or any(call.keys() - beside for call in _calls(message)))


def _has_unknown_part(message: JsonObject, dialect: Dialect) -> bool:
    content, rules = message.get("content"), dialect.chat
    if not isinstance(content, list):
        return False
    kinds = {"text", *(rules.media if message["role"] == "user" else ())}
    kinds |= {"refusal"} if rules.has_refusals and message["role"] == "assistant" else set()
    kinds |= {"thinking"} if dialect.thoughts.field == "content" else set()
    return any(part["type"] not in kinds or part.keys() - {"type", part["type"], *rules.marks} for part in content)


_CHECKS: tuple[tuple[Callable[[JsonObject, Dialect], bool], str], ...] = (
    (lambda one, of: one["role"] == "developer" and not of.chat.has_developer, "developer_role"),
    (lambda one, of: (one["role"] == "function" or "function_call" in one) and not of.has_functions, "function_role"),
    (lambda one, of: "name" in one and one["role"] not in of.chat.named, "message_name"),
    (lambda one, of: any(not of.call_id.fullmatch(call["id"]) for call in _calls(one)), "call_id"),
    (lambda one, of: any(of.tool_name(f["name"]) != f["name"] for f in _functions(one)), "tool_name"),
    (lambda one, of: any("custom" in call for call in _calls(one)) and not of.has_custom_tools, "custom_tool"),
    (lambda one, of: len(_calls(one)) > 1 and not of.chat.calls_together, "parallel_calls"),
    (lambda one, of: bool(_calls(one)) and one["content"] is None and not of.chat.null_content, "null_content"),
    (lambda one, of: isinstance(one.get("content"), list) and one["role"] not in of.chat.in_parts, "content_list"),
    (_lacks_thinking, "missing_reasoning"),
    (_has_unknown_field, "unknown_field"),
    (_has_unknown_part, "content_part"),
)
