"""Usage: every report is kept verbatim, and the totals are derived from the reports."""

from __future__ import annotations

from collections.abc import Iterable

from turnlog.domain.values import JsonObject
from turnlog.projections.turn import Turn, Usage, UsageEntry

TOKEN_PATHS: dict[str, tuple[tuple[str, ...], ...]] = {
    # Chat Completions names, then those of the Responses and Messages APIs, then those of vendors: Gemini
    # (promptTokenCount), Bedrock (inputTokenCount of its metrics, inputTokens of Converse), the AI SDK (promptTokens),
    # Ollama (prompt_eval_count), llama.cpp (prompt_n of its timings), Cohere (tokens.input_tokens).
    "prompt_tokens": (
        ("prompt_tokens",),
        ("input_tokens",),
        ("promptTokenCount",),
        ("inputTokenCount",),
        ("inputTokens",),
        ("promptTokens",),
        ("prompt_eval_count",),
        ("prompt_n",),
        ("tokens", "input_tokens"),
    ),
    "completion_tokens": (
        ("completion_tokens",),
        ("output_tokens",),
        ("candidatesTokenCount",),
        ("outputTokenCount",),
        ("outputTokens",),
        ("completionTokens",),
        ("eval_count",),
        ("predicted_n",),
        ("tokens", "output_tokens"),
    ),
    "total_tokens": (("total_tokens",), ("totalTokenCount",), ("totalTokens",)),
    "cached_tokens": (
        ("prompt_tokens_details", "cached_tokens"),
        ("input_tokens_details", "cached_tokens"),
        ("cached_tokens",),  # Moonshot
        ("prompt_cache_hit_tokens",),  # DeepSeek
        ("cache_read_input_tokens",),  # Anthropic
        ("cachedContentTokenCount",),
        ("cacheReadInputTokenCount",),
        ("cacheReadInputTokens",),
        ("cache_n",),
    ),
    "reasoning_tokens": (
        ("completion_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "thinking_tokens"),  # Anthropic
        ("reasoning_tokens",),  # Perplexity, xAI
        ("thoughtsTokenCount",),
        ("reasoningTokens",),
    ),
}
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
"""What the Messages API counts beside `input_tokens`, and the other APIs count in."""


def total_usage(turns: Iterable[Turn]) -> Usage:
    """All usage reports of the turns, in the order of the log, and their totals in tokens."""
    entries = sorted(_entries(turns), key=lambda entry: entry.position)
    counts = [token_counts(entry.usage) for entry in entries]
    return Usage(entries=tuple(entries), **{name: sum(count[name] for count in counts) for name in TOKEN_PATHS})


def token_counts(usage: JsonObject) -> dict[str, int]:
    """The tokens of one report, by the names of TOKEN_PATHS; 0 for what it does not report."""
    return {name: _tokens(usage, name) for name in TOKEN_PATHS}


def _entries(turns: Iterable[Turn]) -> Iterable[UsageEntry]:
    for turn in turns:
        yield from turn.usage_reports
        for step in turn.steps:
            if step.usage:
                yield UsageEntry(step_id=step.step_id, position=step.position, model=step.model, usage=step.usage)


def _tokens(usage: JsonObject, name: str) -> int:
    for path in TOKEN_PATHS[name]:
        if path[0] not in usage:  # most paths are another API's
            continue
        found = _at(usage, path)
        if found is not None:
            return found + (_beside_input(usage) if path == ("input_tokens",) else 0)
    if name == "total_tokens":
        return _tokens(usage, "prompt_tokens") + _tokens(usage, "completion_tokens")
    return 0


def _beside_input(usage: JsonObject) -> int:
    return sum(_at(usage, (name,)) or 0 for name in _BESIDE_INPUT)


def _at(usage: JsonObject, path: tuple[str, ...]) -> int | None:
    value: object = usage
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # Cohere counts so
    return value if isinstance(value, int) and not isinstance(value, bool) else None
