"""Ends of Chat Completions streams are judged: finish reasons, errors in all their shapes, final frames, usage."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chat_streams import Json, delta, events_of, fragment, step_of, view_of
from tests.support.histories import ID
from turnlog import PromptPolicy
from turnlog.domain.evolve import evolve
from turnlog.domain.state import Active, initial_state
from turnlog.domain.turns import turn_status
from turnlog.projections.prompt import build_prompt, chat_prompt

CUT = '{"path": "a.md", "text": "Once upon'
CUT_OFF = ["length", "MAX_TOKENS", "content_filter", "refusal", "model_context_window_exceeded", "something new", None]


@pytest.mark.parametrize("reason", CUT_OFF)
def test_a_call_that_was_cut_off_is_never_pending_and_in_no_prompt(reason: str | None) -> None:
    chunks = [
        delta(content="Writing."),
        fragment(0, "call_1", "read", "{}"),
        fragment(1, "call_2", "write", CUT),
        delta(reason),
    ]

    view = view_of(chunks)
    step = view.turns[-1].steps[-1]

    assert [call.id for call in view.pending_tool_calls] == ["call_1"]
    assert [call.cut_off for call in step.message.tool_calls] == [False, True]
    assert step.message.tool_calls[1].arguments == CUT
    for api in ("chat", "anthropic", "responses"):
        assert "call_2" not in str(build_prompt(view.turns, api))


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_turn_whose_only_call_was_cut_off_has_ended(reason: str) -> None:
    view = view_of([delta(content="Writing."), fragment(0, "call_1", "write", CUT), delta(reason)])

    assert (view.turns[-1].status, view.turns[-1].has_ended) == ("finished", True)
    assert chat_prompt(view.turns)[-1] == {"role": "assistant", "content": "Writing."}


def test_a_list_of_sessions_says_the_same_of_such_a_turn() -> None:
    state = initial_state(ID)
    for event in events_of([fragment(0, "call_1", "write", CUT), delta("length")]):
        state = evolve(state, event)

    assert isinstance(state, Active)
    assert turn_status(state) == "finished"


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "tool_use"])
def test_arguments_that_a_model_has_got_wrong_are_a_call_all_the_same(reason: str) -> None:
    view = view_of([fragment(0, "call_1", "write", "{'path': 1}"), delta(reason)])

    assert [call.id for call in view.pending_tool_calls] == ["call_1"]


def test_a_call_that_was_cut_off_can_be_closed_by_policy() -> None:
    view = view_of([fragment(0, "call_1", "write", CUT), delta("length")])

    prompt = build_prompt(view.turns, "chat", policy=PromptPolicy(unfinished_calls="close"))

    assert [call["id"] for call in prompt[1]["tool_calls"]] == ["call_1"]


def test_of_custom_calls_the_last_one_was_cut_off() -> None:
    entries = [
        {"index": i, "id": f"call_{i}", "type": "custom", "custom": {"name": "sql", "input": "x"}} for i in (0, 1)
    ]

    view = view_of([*[delta(tool_calls=[entry]) for entry in entries], delta("length")])

    assert [call.id for call in view.pending_tool_calls] == ["call_0"]


def test_a_legacy_call_that_was_cut_off_is_in_no_prompt() -> None:
    view = view_of([delta(content="Well."), delta(function_call={"name": "f", "arguments": '{"a'}), delta("length")])

    assert chat_prompt(view.turns)[-1] == {"role": "assistant", "content": "Well."}


FAILED = ["error", "abort", "network_error", "insufficient_system_resource", "ERROR",
          "function_call_filter: MALFORMED_FUNCTION_CALL"]  # fmt: skip


@pytest.mark.parametrize("reason", FAILED)
def test_a_reason_that_says_that_it_has_failed_fails_the_step(reason: str) -> None:
    step = step_of([delta(content="Part"), delta(reason)])

    assert (step.status, step.message.content) == ("failed", "Part")
    assert reason in (step.note or "")
    assert step.failure == {"finish_reason": reason}


def test_the_last_reason_counts_and_the_first_is_kept() -> None:
    step = step_of([delta("error", content="Part"), delta("stop")])

    assert (step.status, step.finish_reason) == ("finished", "stop")
    assert "error" in str(step.message.parts)


ERRORS: dict[str, tuple[Json, str, Json]] = {
    "of vLLM": (
        {"object": "error", "message": "The engine died", "type": "InternalServerError", "param": None, "code": 500},
        "The engine died",
        {"status": 500, "type": "InternalServerError", "message": "The engine died"},
    ),
    "by its type": ({"type": "error", "message": "Too busy"}, "Too busy", {"message": "Too busy"}),
    "of FastAPI": ({"detail": "Model not found"}, "Model not found", {"message": "Model not found"}),
    "of FastAPI, by field": (
        {"detail": [{"loc": ["body"], "msg": "is missing"}]},
        '[{"loc": ["body"], "msg": "is missing"}]',
        {"message": '[{"loc": ["body"], "msg": "is missing"}]'},
    ),
    "with a code of its own": (
        {"error_code": 336100, "error_msg": "try again"},
        "try again",
        {"code": "336100", "message": "try again"},
    ),
    "like HTTP": ({"code": 503, "message": "No server"}, "No server", {"status": 503, "message": "No server"}),
    "of MiniMax": (
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no balance"}},
        "no balance",
        {"code": "1008", "message": "no balance"},
    ),
    "nested": (
        {"error": {"message": "Overloaded", "type": "overloaded_error", "code": 529}},
        "Overloaded",
        {"status": 529, "type": "overloaded_error", "message": "Overloaded"},
    ),
    "a text": ({"error": "boom"}, "boom", {"message": "boom"}),
    "of a choice": (
        {"choices": [{"index": 0, "delta": {"content": ""}, "error": {"code": 502, "message": "upstream"}}]},
        "upstream",
        {"status": 502, "message": "upstream"},
    ),
}


@pytest.mark.parametrize(("error", "text", "failure"), ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("before", [[delta(content="Part")], []], ids=["in mid-stream", "at once"])
def test_an_error_fails_the_step_in_whatever_shape_it_comes(
    before: list[Json], error: Json, text: str, failure: Json
) -> None:
    step = step_of([*before, error])

    assert (step.status, step.note, step.failure) == ("failed", text, failure)


FINE: list[Json] = [
    {**delta(content="Hi"), "code": 0, "message": "success"},
    {**delta(content="Hi"), "base_resp": {"status_code": 0, "status_msg": ""}},
    {**delta(content="Hi"), "error": None, "detail": "fine"},
]


@pytest.mark.parametrize("chunk", FINE)
def test_a_chunk_that_says_that_nothing_is_wrong_is_no_error(chunk: Json) -> None:
    assert step_of([chunk, {"code": 200, "msg": "ok"}, delta("stop")]).status == "finished"


def _final(**message: Any) -> Json:
    return {
        "id": "r-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def test_a_whole_answer_at_the_end_of_a_stream_is_not_said_twice() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chunks = [
        delta(role="assistant", content="High "),
        delta(content="water"),
        delta(tool_calls=[{"index": 0, **call}]),
    ]

    view = view_of([*chunks, _final(content="High water", tool_calls=[call])])

    step = view.turns[-1].steps[-1]
    assert (step.status, step.finish_reason, step.message.content) == ("finished", "stop", "High water")
    assert len(step.message.tool_calls) == 1
    assert view.usage.total_tokens == 10


def test_what_only_the_whole_answer_says_is_recorded() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    step = step_of([delta(content="Hi"), _final(content="Hi", tool_calls=[call], reasoning_content="Greet.")])

    assert (step.message.content, step.message.reasoning) == ("Hi", "Greet.")
    assert [one.name for one in step.message.tool_calls] == ["f"]


@pytest.mark.parametrize("before", [[], [delta(role="assistant", content="")]])
def test_a_whole_answer_in_place_of_deltas_is_the_answer(before: list[Json]) -> None:
    step = step_of([*before, _final(content="Hello")])

    assert (step.status, step.message.content, step.message.layout) == ("finished", "Hello", ())


def _with(place: str, usage: Any) -> Json:
    last = delta("stop")
    if place == "choice":
        last["choices"][0]["usage"] = usage
    elif place == "delta":
        last["choices"][0]["delta"]["usage"] = usage
    else:
        last[place] = usage
    return last


USAGES: dict[str, tuple[str, Json]] = {
    "chunk": ("usage", {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}),
    "Moonshot": ("choice", {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}),
    "delta": ("delta", {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}),
    "Groq": ("x_groq", {"id": "req_1", "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}),
    "Gemini": ("usageMetadata", {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}),
    "Bedrock": ("amazon-bedrock-invocationMetrics", {"inputTokenCount": 7, "outputTokenCount": 3}),
    "llama.cpp": ("timings", {"prompt_n": 7, "predicted_n": 3, "predicted_ms": 12.5}),
    "Cohere": ("usage", {"tokens": {"input_tokens": 7.0, "output_tokens": 3.0}}),
    "message": ("message", {"usage": {"input_tokens": 7, "output_tokens": 3}}),
}


@pytest.mark.parametrize(("place", "usage"), USAGES.values(), ids=USAGES.keys())
def test_usage_is_found_wherever_it_stands(place: str, usage: Json) -> None:
    total = view_of([delta(content="Hi"), _with(place, usage)]).usage

    assert (total.prompt_tokens, total.completion_tokens, total.total_tokens) == (7, 3, 10)


def test_the_latest_counts_are_completed_by_earlier_ones() -> None:
    first, last = {"prompt_tokens": 7, "completion_tokens": 0}, {"completion_tokens": 3, "prompt_tokens": None}

    step = step_of([_with("usage", first), delta(content="Hi"), _with("usage", last)])

    assert step.usage == {"prompt_tokens": 7, "completion_tokens": 3}


def test_usage_by_its_own_name_goes_before_a_vendors() -> None:
    chunk = {**_with("timings", {"prompt_n": 1}), "usage": {"total_tokens": 10}}

    assert step_of([delta(content="Hi"), chunk, delta()]).usage == {"total_tokens": 10}
