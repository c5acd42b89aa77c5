"""The order of chat messages, where a provider wants one: who speaks first, and who may speak after whom.

A message changes only because of the one before it, so that a prompt goes on beginning as it began.
"""

from __future__ import annotations

from turnlog.projections.placeholders import NO_ANSWER, OPENING
from turnlog.projections.prompt.chat_content import as_parts
from turnlog.projections.prompt.dialect import Dialect
from turnlog.projections.prompt.entries import Rendered, last_spoken


def add(rendered: list[Rendered], added: Rendered, dialect: Dialect) -> None:
    """Adds a message, and what has to stand before it; or puts it into the last one."""
    rules, last = dialect.chat, rendered[-1] if rendered else None
    before = None if last is None else last.message["role"]
    if added.message["role"] in _SYSTEM and not rules.late_system and before is not None:
        if before in _SYSTEM:
            rendered[-1] = _joined(rendered[-1], added)
            return
        added = added._replace(message={"role": "user", "content": added.message["content"]})
    role = added.message["role"]
    if role == "assistant" and not rules.assistant_first and last_spoken(rendered) is None:
        rendered.append(Rendered({"role": "user", "content": OPENING}, added.turn, ()))
    elif role == "user" and before == "user" and not rules.users_together:
        rendered[-1] = _joined(rendered[-1], added)
        return
    elif role == "user" and before == "tool" and not rules.user_after_tool:
        rendered.append(Rendered({"role": "assistant", "content": NO_ANSWER}, added.turn, ()))
    rendered.append(added)


_SYSTEM = ("system", "developer")


def _joined(first: Rendered, second: Rendered) -> Rendered:
    """Two messages of one role as one. Their names go: it is of both."""
    one, other = first.message["content"], second.message["content"]
    content = (
        f"{one}\n\n{other}" if isinstance(one, str) and isinstance(other, str) else [*as_parts(one), *as_parts(other)]
    )
    positions = tuple(dict.fromkeys((*first.positions, *second.positions)))
    return Rendered({"role": first.message["role"], "content": content}, first.turn, positions)
