"""The window: whatever the history and the budget, whole steps from the end, valid for each API, or a typed error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import each_kind, mostly
from tests.support.histories import History, folded, imported, replayed
from tests.support.rules import CHECKS
from tests.support.strategies import histories
from tests.support.talks import histories_of_long_turns, long_histories, mixed_histories
from turnlog import PromptTooLongError
from turnlog.projections.prompt import Api, PromptPolicy, build_prompt
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.prompt.window import SHORTENED_TO, estimated_tokens
from turnlog.projections.view import SessionView

Json = dict[str, Any]
MARK = "characters left out]"


def messages_of(prompt: Any) -> list[Json]:
    return list(prompt["messages"]) if isinstance(prompt, dict) else list(prompt)


WHOLE_TURNS = PromptPolicy(windows="turns")


def windowed(
    view: SessionView, api: Api, max_tokens: int, count: Any = len, policy: PromptPolicy = DEFAULT_POLICY
) -> Any:
    try:
        return build_prompt(view.turns, api, view.compaction, policy, max_tokens, count)
    except PromptTooLongError:
        return None


@pytest.mark.parametrize("api", CHECKS)
@each_kind(long_histories, histories, share=0.25)
def test_a_window_is_valid_and_within_its_budget_or_a_typed_error(
    api: Api, cases: st.SearchStrategy[History], share: float
) -> None:
    with mostly("some of the messages", share) as saw:

        @given(cases, st.integers(0, 8))
        def check(history: History, eighths: int) -> None:
            view = folded(history).view()
            whole = messages_of(build_prompt(view.turns, api, view.compaction))
            budget = 1 + len(whole) * eighths // 8
            prompt = windowed(view, api, budget)
            if prompt is None:
                return saw("nothing fits")
            CHECKS[api](prompt)
            messages = messages_of(prompt)
            assert len(messages) <= budget
            first = next((m for m in messages if m.get("role") not in ("system", "developer")), {})
            assert first.get("role") != "tool"
            assert first.get("type") != "function_call_output"
            return saw("some of the messages" if len(messages) < len(whole) else "all messages")

        check()


@pytest.mark.parametrize("api", CHECKS)
@given(mixed_histories)
def test_a_window_that_is_wide_enough_is_the_whole_prompt(api: Api, history: History) -> None:
    view = folded(history).view()
    assert windowed(view, api, 10_000, estimated_tokens) == build_prompt(view.turns, api, view.compaction)


def unmarked(messages: list[Json]) -> list[Json]:
    """The messages without ids, which are renamed for those in the window only."""
    return [{k: v for k, v in m.items() if k not in ("tool_calls", "tool_call_id")} for m in messages]


@each_kind(long_histories, histories, share=0.25)
def test_a_window_holds_what_is_pinned_and_the_latest_whole_turns(
    cases: st.SearchStrategy[History], share: float
) -> None:
    with mostly("some of the messages", share) as saw:

        @given(cases, st.integers(0, 8))
        def check(history: History, eighths: int) -> None:
            view = folded(history).view()
            whole = build_prompt(view.turns, compaction=view.compaction)
            prompt = windowed(view, "chat", 1 + len(whole) * eighths // 8, policy=WHOLE_TURNS)
            if prompt is None:
                return saw("nothing fits")
            check_latest_turns(prompt, whole, has_summary=view.compaction is not None)
            return saw("some of the messages" if len(prompt) < len(whole) else "all messages")

        check()


def check_latest_turns(prompt: list[Json], whole_prompt: list[Json], *, has_summary: bool) -> None:
    """The window is what is pinned, the summary if there is one, and the end of the whole prompt."""
    whole = unmarked(whole_prompt)
    pinned = [message for message in whole if message["role"] in ("system", "developer")]
    kept = unmarked(prompt)
    assert [message for message in kept if message["role"] in ("system", "developer")] == pinned
    spoken = [message for message in kept if message["role"] not in ("system", "developer")]
    others = [message for message in whole if message["role"] not in ("system", "developer")]
    if has_summary:
        summary, *others = others
        assert spoken.pop(0) == summary
    # Shorter by one where a function message has its call in a turn before: then neither of them is sent.
    starts = (len(others) - len(spoken) - cut for cut in (0, 1))
    assert any(spoken == without_leading_function(others, start) for start in starts)


@given(histories_of_long_turns, st.integers(0, 8))
def test_a_window_that_begins_inside_a_turn_has_its_question_and_the_latest_whole_steps(
    history: History, eighths: int
) -> None:
    view = folded(history).view()
    whole = build_prompt(view.turns, compaction=view.compaction)
    budget = 1 + len(whole) * eighths // 8
    prompt, of_turns = windowed(view, "chat", budget), windowed(view, "chat", budget, policy=WHOLE_TURNS)
    if of_turns is not None:
        assert prompt is not None
        assert len(of_turns) <= len(prompt)
    if prompt is None or prompt == of_turns or view.compaction is not None:
        return
    heads = [message for message in prompt if message["role"] in ("system", "developer")]
    spoken = [message for message in unmarked(prompt) if message["role"] not in ("system", "developer")]
    others = [message for message in unmarked(whole) if message["role"] not in ("system", "developer")]
    first = next(n for n, message in enumerate(spoken) if message["role"] != "user")
    question, steps = spoken[:first], spoken[first:]
    assert steps == others[len(others) - len(steps) :]
    assert question
    assert heads == [message for message in whole if message["role"] in ("system", "developer")]


def without_leading_function(messages: list[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    """The messages from there on, without a function message whose call is before them."""
    called = next((m for m in reversed(messages[:start]) if m["role"] == "assistant"), {}).get("function_call")
    tail = messages[start:]
    leading = next((n for n, message in enumerate(tail) if message["role"] in ("assistant", "function")), None)
    if called is None or leading is None or tail[leading]["role"] != "function":
        return tail
    return tail[:leading] + tail[leading + 1 :]


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


def test_the_oldest_results_of_a_turn_are_shortened_until_it_fits() -> None:
    view = long_turn("a" * 4_000, "b" * 4_000, "short")
    budget = estimated_tokens(build_prompt(view.turns)) - 200
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


IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 4_000}"}}
NOTE = "(image left out: the prompt is too long)"


def text(length: int) -> Json:
    return {"type": "text", "text": "x" * length}


TEXTS = [
    ([text(9), text(4_000)], f"{'x' * 9}\n{'x' * 190} [... 3810 {MARK}"),
    ([text(300), text(300)], f"{'x' * SHORTENED_TO} [... 401 {MARK}"),
    ([IMAGE, text(4_000)], f"{'x' * SHORTENED_TO} [... 3800 {MARK}\n{NOTE}"),
]
IMAGES = [([IMAGE, text(9)], f"{'x' * 9}\n{NOTE}"), ([IMAGE], NOTE)]
"""What the chat API does not take of a tool, so that it is no reason for it to shorten anything."""


@pytest.mark.parametrize(
    ("api", "parts", "short"),
    [
        *((api, *case) for api in CHECKS for case in TEXTS),
        *((api, *case) for api in ("anthropic", "responses") for case in IMAGES),
    ],
)
def test_the_text_of_a_result_of_parts_is_shortened_and_the_rest_noted(api: Api, parts: list[Json], short: str) -> None:
    prompt = windowed(long_turn(parts), api, 80, estimated_tokens)
    CHECKS[api](prompt)
    last = messages_of(prompt)[-1]
    result = last["content"][0] if api == "anthropic" else last
    assert result.get("content", result.get("output")) == short


def test_a_long_function_message_is_shortened_as_a_result() -> None:
    calling = {"role": "assistant", "content": None, "function_call": {"name": "find", "arguments": "{}"}}
    messages = [{"role": "user", "content": "hi"}, calling, {"role": "function", "name": "find", "content": "x" * 999}]
    prompt = windowed(folded(imported(messages)).view(), "chat", 120, estimated_tokens)
    CHECKS["chat"](prompt)
    assert prompt[-1]["content"] == f"{'x' * SHORTENED_TO} [... 799 {MARK}"


@pytest.mark.parametrize("api", CHECKS)
def test_a_turn_that_does_not_fit_when_its_results_are_short_is_a_typed_error(api: Api) -> None:
    view = long_turn("a" * 4_000)
    with pytest.raises(PromptTooLongError) as raised:
        build_prompt(view.turns, api, max_tokens=20)
    assert raised.value.tokens > raised.value.max_tokens == 20


def test_a_window_that_is_exactly_wide_enough_for_a_turn_begins_with_it() -> None:
    messages = [{"role": role, "content": f"{role} {n}"} for n in range(4) for role in ("user", "assistant")]
    view = folded(replayed(messages)).view()
    whole = build_prompt(view.turns)
    for budget in range(2, 9):
        assert windowed(view, "chat", budget) == whole[-(budget - budget % 2) :]


def test_a_result_that_would_hardly_become_shorter_is_left_whole() -> None:
    view = long_turn("a" * 2 * SHORTENED_TO, "b" * 4_000)
    budget = estimated_tokens(build_prompt(view.turns)) - 200
    contents = [message["content"] for message in windowed(view, "chat", budget, estimated_tokens)[2:]]
    assert contents[0] == "a" * 2 * SHORTENED_TO
    assert MARK in contents[1]


def test_a_turn_that_fits_exactly_when_its_results_are_short_is_sent() -> None:
    view = long_turn("a" * 4_000, "b" * 4_000)
    short = windowed(view, "chat", 400, estimated_tokens)
    assert windowed(view, "chat", estimated_tokens(short), estimated_tokens) == short
    assert windowed(view, "chat", estimated_tokens(short) - 1, estimated_tokens) is None


def test_what_is_pinned_alone_is_no_window() -> None:
    messages = [
        {"role": "user", "content": "a long question"},
        {"role": "assistant", "content": "a long answer"},
        {"role": "user", "content": ""},
        {"role": "system", "content": "be short"},
    ]
    view = folded(imported(messages)).view()
    assert windowed(view, "chat", 2) is None
    assert len(windowed(view, "chat", 3)) == 3
