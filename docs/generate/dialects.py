"""The table of dialects, from the rows that prompts are made by."""

from __future__ import annotations

import re
from collections.abc import Iterator

from turnlog.projections.prompt.chat_rules import MEDIA, ROLES
from turnlog.projections.prompt.dialect import ANY_ID, Dialect
from turnlog.projections.prompt.dialects import DIALECTS

_KINDS = {"image_url": "images", "input_audio": "audio", "file": "files"}
_SENT = {"always": "always", "by_policy": "by policy"}
_FILL = {"all": "on all answers", "with_calls": "on answers with calls", "none": "where something was thought"}


def reference() -> str:
    """A Markdown table, a row a dialect, and the sources of each."""
    own = [name for name, row in DIALECTS.items() if row.dialect.chat.has_developer]
    rest = "have the roles system, user, assistant and tool: functions become tools, and a refusal is text"
    rows = [
        f"| `{name}` | {_of(_calls(row.dialect))} | {_of(_messages(row.dialect))} | {_of(_content(row.dialect))} | "
        f"{_of(_thoughts(row.dialect))} |"
        for name, row in DIALECTS.items()
    ]
    head = ["| Dialect | Calls | Messages | Content | Thinking |", "|---|---|---|---|---|"]
    sources = [f"* `{name}`: {'; '.join(map(_link, row.sources))}" for name, row in DIALECTS.items()]
    return "\n".join([*head, *rows, "", f"All but {' and '.join(own)} {rest}.", "", "Sources:", "", *sources])


def _of(phrases: Iterator[str]) -> str:
    return "; ".join(phrases)


def _calls(dialect: Dialect) -> Iterator[str]:
    if dialect.call_id is not ANY_ID:
        yield f"ids `{dialect.call_id.pattern}`"
    if dialect.name_start is not None:
        yield f"names begin with `{dialect.name_start.pattern}`"
    if dialect.has_custom_tools:
        yield "custom tools as they came"
    if not dialect.chat.calls_together:
        yield "one in a message"


def _messages(dialect: Dialect) -> Iterator[str]:
    rules = dialect.chat
    if not rules.late_system:
        yield "one system message, in front; a later one is the user's"
    if not rules.assistant_first:
        yield "the user first"
    if not rules.users_together:
        yield "users' messages together are one"
    if not rules.user_after_tool:
        yield "an answer between results and a user's message"
    if rules.named != ROLES:
        yield f"names of {', '.join(sorted(rules.named)) or 'none'}"
    if rules.continued:
        yield f"`{next(iter(rules.continued))}` on a last answer that is to be continued"


def _content(dialect: Dialect) -> Iterator[str]:
    rules = dialect.chat
    if rules.media != MEDIA:
        yield "text" + "".join(f", {_KINDS[kind]}" for kind in sorted(rules.media))
    if rules.in_parts != ROLES:
        yield f"lists of {', '.join(sorted(rules.in_parts))} only"
    if not rules.null_content:
        yield "never null"
    yield from (f"`{mark}`" for mark in sorted(rules.marks))


def _thoughts(dialect: Dialect) -> Iterator[str]:
    thoughts = dialect.thoughts
    if thoughts.sent != "never":
        where = "parts of the content" if thoughts.field == "content" else f"`{thoughts.field}`"
        yield f"{_SENT[thoughts.sent]}, in {where}, {_FILL[thoughts.fill]}"
        if thoughts.details != "none":
            yield f"or `reasoning_details` {thoughts.details}"
    yield from (f"`{field}` of calls and of answers, as it came" for field in dialect.beside or ())
    if dialect.chat.unsigned:
        yield "a first call from elsewhere has the documented dummy"


def _link(source: str) -> str:
    """A source, whose address leads there. A colon and a space end an address."""
    address, _, said = source.partition(": ")
    if not re.match(r"https://|github\.com/", address):
        return source
    url = address if address.startswith("https://") else f"https://{address}"
    return f"<{url}>" + (f" ({said})" if said else "")
