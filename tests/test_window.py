"""The window: whatever the history and the budget, whole turns from the end, valid for each API, or a typed error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.histories import folded, replayed
from tests.strategies import histories
from tests.test_projector import CHECKS, History, fold
from turnlog import PromptTooLongError
from turnlog.projections.prompt import Api, build_prompt
from turnlog.projections.prompt.window import SHORTENED_TO, estimated_tokens
from turnlog.projections.view import SessionView

Json = dict[str, Any]
MARK = "characters left out]"


def messages_of(prompt: Any) -> list[Json]:
    return list(prompt["messages"]) if isinstance(prompt, dict) else list(prompt)


def windowed(view: SessionView, api: Api, max_tokens: int, count: Any = len) -> Any:
    try:
        return build_prompt(view.turns, api, view.compaction, max_tokens=max_tokens, count_tokens=count)
    except PromptTooLongError:
        return None


@pytest.mark.parametrize("api", CHECKS)
@given(histories, st.integers(1, 12))
def test_a_window_is_valid_and_within_its_budget_or_a_typed_error(api: Api, history: History, budget: int) -> None:
    view = fold(history).view()
    prompt = windowed(view, api, budget)
    if prompt is None:
        return
    CHECKS[api](prompt)
    messages = messages_of(prompt)
    assert len(messages) <= budget
    first = next((m for m in messages if m.get("role") not in ("system", "developer")), {})
    assert first.get("role") != "tool"
    assert first.get("type") != "function_call_output"


@pytest.mark.parametrize("api", CHECKS)
@given(histories)
def test_a_window_that_is_wide_enough_is_the_whole_prompt(api: Api, history: History) -> None:
    view = fold(history).view()
    assert windowed(view, api, 10_000, estimated_tokens) == build_prompt(view.turns, api, view.compaction)


def unmarked(messages: list[Json]) -> list[Json]:
    """The messages without ids, which are renamed for those in the window only."""
    return [{k: v for k, v in m.items() if k not in ("tool_calls", "tool_call_id")} for m in messages]


@given(histories, st.integers(1, 12))
def test_a_window_holds_what_is_pinned_and_the_latest_whole_turns(history: History, budget: int) -> None:
    view = fold(history).view()
    prompt = windowed(view, "chat", budget)
    if prompt is None:
        return
    whole = unmarked(build_prompt(view.turns, compaction=view.compaction))
    pinned = [message for message in whole if message["role"] in ("system", "developer")]
    kept = unmarked(prompt)
    assert [message for message in kept if message["role"] in ("system", "developer")] == pinned
    spoken = [message for message in kept if message["role"] not in ("system", "developer")]
    others = [message for message in whole if message["role"] not in ("system", "developer")]
    summary = 1 if view.compaction and others[: len(spoken)] != spoken else 0
    assert spoken[summary:] == others[len(others) - len(spoken) + summary :]


def long_turn(*results: Any) -> SessionView:
    calls = [{"id": f"c{n}", "function": {"name": "find", "arguments": "{}"}} for n in range(len(results))]
    return folded(
        replayed(
            [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": None, "tool_calls": calls},
                *({"role": "tool", "tool_call_id": f"c{n}", "content": result} for n, result in enumerate(results)),
            ]
        )
    ).view()


def test_of_a_turn_that_is_too_long_the_oldest_results_are_shortened_until_it_fits() -> None:
    view = long_turn("a" * 4_000, "b" * 4_000, "short")
    budget = estimated_tokens(build_prompt(view.turns)) - 500
    contents = [message["content"] for message in windowed(view, "chat", budget, estimated_tokens)[2:]]
    assert contents == [f"{'a' * SHORTENED_TO} [... {4_000 - SHORTENED_TO} {MARK}", "b" * 4_000, "short"]


def test_a_turn_of_many_long_results_is_not_counted_anew_for_each() -> None:
    view = long_turn(*("x" * 4_000 for _ in range(64)))
    whole, counted = estimated_tokens(build_prompt(view.turns)), list[int]()

    def count(messages: list[Json]) -> int:
        counted.append(estimated_tokens(messages))
        return counted[-1]

    prompt = windowed(view, "chat", whole // 2, count)

    assert whole // 2 - 1_000 < counted[-1] <= whole // 2
    short = [MARK in message["content"] for message in prompt[2:]]
    assert short == sorted(short, reverse=True)
    assert 0 < sum(short) < 64
    assert len(counted) < 12


@pytest.mark.parametrize("api", CHECKS)
def test_a_result_of_parts_is_shortened_only_where_that_makes_it_shorter(api: Api) -> None:
    view = long_turn([{"type": "text", "text": "few"}], [{"type": "text", "text": "x" * 4_000}])
    prompt = windowed(view, api, 300, estimated_tokens)
    CHECKS[api](prompt)
    assert str(prompt).count(MARK) == 1
    assert "few" in str(prompt)


@pytest.mark.parametrize("api", CHECKS)
def test_a_turn_that_does_not_fit_when_its_results_are_short_is_a_typed_error(api: Api) -> None:
    view = long_turn("a" * 4_000)
    with pytest.raises(PromptTooLongError) as raised:
        build_prompt(view.turns, api, max_tokens=20)
    assert raised.value.tokens > raised.value.max_tokens == 20
