"""The rules of all three APIs together."""

from __future__ import annotations

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


def check_prompts(view: SessionView) -> None:
    """Asserts that each API would take its prompt of a view; of the dialects of chat prompts one, in turn."""
    for api, check in CHECKS.items():
        check(build_prompt(view.turns, api, view.compaction))
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
