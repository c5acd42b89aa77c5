"""The rules of all three APIs together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from tests.support.anthropic_rules import check_anthropic_prompt
from tests.support.dialect_rules import check_dialect
from tests.support.prompt_rules import check_chat_prompt
from tests.support.responses_rules import check_responses_prompt
from turnlog import Session, SessionView
from turnlog.projections.prompt import Api, build_prompt
from turnlog.projections.prompt.dialects import DIALECTS

CHECKS: dict[Api, Any] = {
    "chat": check_chat_prompt,
    "anthropic": check_anthropic_prompt,
    "responses": check_responses_prompt,
}
"""By API: asserts that it would take a prompt."""
_DIALECTS = list(DIALECTS)


def types_in(value: Any) -> Iterator[str]:
    """The types that blocks and items have, anywhere in a JSON value: an API is assumed to know what its own history
    has, though nobody here knows it."""
    if isinstance(value, dict):
        if isinstance(kind := value.get("type"), str) and re.fullmatch("[a-z][a-z0-9_]*", kind):
            yield kind
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from types_in(each)


def check_prompts(view: SessionView, known: Collection[str] = ()) -> None:
    """Asserts that each API would take its prompt of a view, and that it knows blocks and items of the types `known`;
    of the dialects of chat prompts one, in turn."""
    check_chat_prompt(build_prompt(view.turns, "chat", view.compaction))
    check_anthropic_prompt(build_prompt(view.turns, "anthropic", view.compaction), known)
    check_responses_prompt(build_prompt(view.turns, "responses", view.compaction), known)
    dialect = _DIALECTS[view.version % len(_DIALECTS)]
    check_dialect(dialect, build_prompt(view.turns, compaction=view.compaction, dialect=dialect))


async def check_prompts_of(session: Session) -> None:
    """Asserts that each API would take the prompt that the session gives it."""
    for api, check in CHECKS.items():
        check(await session.prompt(api))


def refuses(api: Api, messages: Any) -> bool:
    """Whether the rules of an API refuse these messages."""
    try:
        CHECKS[api]({"system": "", "messages": messages} if api == "anthropic" else messages)
    except (AssertionError, KeyError, TypeError):
        return True
    return False
