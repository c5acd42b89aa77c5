"""Prompts: what is sent to a provider next, for three APIs, as pure functions of the view."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import check_kind, checked_range
from turnlog.domain.limits import MAX_COUNTER
from turnlog.domain.quoting import quoted
from turnlog.projections.placeholders import NO_RESULT
from turnlog.projections.prompt.anthropic import anthropic_prompt, render_anthropic
from turnlog.projections.prompt.assembly import assemble
from turnlog.projections.prompt.chat import render_chat, with_mark
from turnlog.projections.prompt.dialect import ANTHROPIC, CHAT, RESPONSES, Dialect
from turnlog.projections.prompt.dialects import DialectName, chat_dialect, check_dialect
from turnlog.projections.prompt.entries import PromptEntry, Rendered
from turnlog.projections.prompt.policy import DEFAULT_POLICY, PromptPolicy
from turnlog.projections.prompt.responses import render_responses
from turnlog.projections.prompt.tokens import estimated_tokens
from turnlog.projections.prompt.window import CountTokens, fit
from turnlog.projections.turn import Compaction, Turn

__all__ = [
    "APIS",
    "NO_RESULT",
    "Api",
    "CountTokens",
    "DialectName",
    "PromptPolicy",
    "build_prompt",
    "chat_prompt",
    "check_api",
    "check_prompt",
    "conversation",
    "how_to_make",
]

Api = Literal["chat", "anthropic", "responses"]


class _Render(Protocol):
    def __call__(self, entries: Iterable[PromptEntry], rendered: list[Rendered] | None = None, /) -> list[Rendered]: ...


class _Api(NamedTuple):
    dialect: Dialect
    render: _Render
    finish: Callable[[Sequence[Rendered]], Any]


def _messages(rendered: Sequence[Rendered]) -> list[dict[str, Any]]:
    return [one.message for one in rendered]


APIS: dict[Api, _Api] = {
    "chat": _Api(CHAT, render_chat, _messages),
    "anthropic": _Api(ANTHROPIC, render_anthropic, anthropic_prompt),
    "responses": _Api(RESPONSES, render_responses, _messages),
}


def how_to_make(api: Api, policy: PromptPolicy = DEFAULT_POLICY, dialect: DialectName | None = None) -> _Api:
    """How a prompt is made for an API; for the chat prompt by the rules of a provider, if one is named."""
    if api != "chat" or (dialect is None and policy.tool_media == "note"):
        return APIS[api]
    rules = chat_dialect(dialect)
    render = partial(render_chat, dialect=rules, shows_media=policy.tool_media == "user_message")
    finish = partial(with_mark, dialect=rules) if policy.broken_off == "continue" else _messages
    return _Api(rules, render, finish)


def check_api(api: Any, dialect: Any = None) -> None:
    """Raises InvalidInputError for an unknown API or provider."""
    if not isinstance(api, str) or api not in APIS:
        raise InvalidInputError("api", f"{quoted(api)} is not one of: {', '.join(APIS)}")
    check_dialect(api, dialect)


def check_prompt(api: Any, max_tokens: Any, count_tokens: Any, policy: Any, dialect: Any = None) -> None:
    """Raises InvalidInputError for what no prompt can be made with."""
    check_api(api, dialect)
    if max_tokens is not None:
        checked_range(max_tokens, "max_tokens", 1, MAX_COUNTER)
    check_kind(count_tokens, Callable, "count_tokens")
    check_kind(policy, PromptPolicy | None, "policy")


def build_prompt(
    turns: Sequence[Turn],
    api: Api = "chat",
    compaction: Compaction | None = None,
    policy: PromptPolicy = DEFAULT_POLICY,
    max_tokens: int | None = None,
    count_tokens: CountTokens = estimated_tokens,
    dialect: DialectName | None = None,
) -> Any:
    """What to send next: a list of messages or items; for anthropic a dict of `system` and `messages`.

    Raises PromptTooLongError if the last step alone has more than `max_tokens`; by `policy.windows` the last turn.
    """
    if max_tokens is not None:
        return windowed_prompt(turns, api, compaction, policy, max_tokens, count_tokens, dialect).prompt
    rules, render, finish = how_to_make(api, policy, dialect)
    return finish(render(assemble(turns, rules, compaction, policy)))


class WindowedPrompt(NamedTuple):
    """A prompt that fits, and whether it begins as early as it could among the given turns."""

    prompt: Any
    has_all: bool


def windowed_prompt(
    turns: Sequence[Turn],
    api: Api,
    compaction: Compaction | None,
    policy: PromptPolicy,
    max_tokens: int,
    count_tokens: CountTokens,
    dialect: DialectName | None = None,
) -> WindowedPrompt:
    """The prompt that `build_prompt` makes, and whether more might have fitted, had it been given."""
    rules, render, finish = how_to_make(api, policy, dialect)
    window = fit(
        turns,
        lambda some: assemble(some, rules, compaction, policy),
        render,
        max_tokens,
        count_tokens,
        cuts=policy.windows == "steps",
        joins=api == "anthropic" or dialect is not None,
    )
    return WindowedPrompt(finish(render(window.entries)), window.has_all)


def conversation(turns: Sequence[Turn], api: Api) -> Any:
    """All that was said, in the shape of the API: also what came last and broke off, and what a summary stands for."""
    dialect, render, finish = APIS[api]
    return finish(render(assemble(turns, dialect, is_end=False)))


def chat_prompt(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """The messages to send next through the Chat Completions API."""
    prompt: list[dict[str, Any]] = build_prompt(tuple(turns))
    return prompt
