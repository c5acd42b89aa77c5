"""Tokens are counted under one set of names, whichever API has reported them."""

from __future__ import annotations

from typing import Any

import pytest

from turnlog.projections.usage import token_counts

REPORTS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Chat Completions": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 80},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
        (100, 20, 120, 80, 5),
    ),
    "Chat Completions, with Anthropic's counts beside": (
        {"prompt_tokens": 100, "completion_tokens": 20, "cache_read_input_tokens": 80},
        (100, 20, 120, 80, 0),
    ),
    "Responses": (
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 80},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 120,
        },
        (100, 20, 120, 80, 5),
    ),
    "Messages": (
        {
            "input_tokens": 8,
            "cache_read_input_tokens": 80,
            "cache_creation_input_tokens": 12,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 5},
        },
        (100, 20, 120, 80, 5),
    ),
    "Messages, without a cache": (
        {"input_tokens": 8, "cache_read_input_tokens": None, "output_tokens": 20},
        (8, 20, 28, 0, 0),
    ),
}


@pytest.mark.parametrize(("usage", "expected"), REPORTS.values(), ids=REPORTS)
def test_tokens_are_counted_as_each_api_names_them(usage: dict[str, Any], expected: tuple[int, ...]) -> None:
    names = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")

    assert token_counts(usage) == dict(zip(names, expected, strict=True))
