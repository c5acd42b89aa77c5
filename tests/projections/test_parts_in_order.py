"""Parts go back to the API that they came from: the same ones, in the same order."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.anthropic_rules import check_anthropic_prompt
from tests.support.histories import AT, folded, imported, recorded
from tests.support.prompt_rules import check_chat_prompt
from tests.support.responses_rules import check_responses_prompt
from turnlog.domain import events as e
from turnlog.projections.prompt import PromptPolicy, build_prompt
from turnlog.projections.view import SessionView, Step

Json = dict[str, Any]
SEND = PromptPolicy(reasoning="send")

words = st.text("abc .", min_size=1, max_size=5).filter(str.strip)
thinking = st.builds(lambda text, proof: {"type": "thinking", "thinking": text, "signature": proof}, words, words)
redacted = st.just({"type": "redacted_thinking", "data": "ENC"})
cited = st.builds(
    lambda text: {"type": "text", "text": text, "citations": [{"type": "page_location", "cited_text": "x"}]}, words
)
texts = st.builds(lambda text: {"type": "text", "text": text}, words) | cited


def search(number: int) -> list[Json]:
    found = [{"type": "web_search_result", "url": "https://example.org", "encrypted_content": "ENC"}]
    call_id = f"srvtoolu_{number}"
    return [
        {"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": call_id, "content": found},
    ]


@st.composite
def anthropic_answers(draw: st.DrawFn, turn: int) -> list[Json]:
    """The blocks of an answer, as the API sends them: calls of ours stand at the end."""
    blocks = draw(st.lists(thinking | redacted, max_size=1))
    for number in range(draw(st.integers(0, 2))):
        blocks += [*search(10 * turn + number), *draw(st.lists(thinking | texts, max_size=2))]
    blocks.append(draw(texts))
    calls = draw(st.integers(0, 2))
    return blocks + [
        {"type": "tool_use", "id": f"toolu_{turn}_{n}", "name": "find", "input": {"n": n}} for n in range(calls)
    ]


@st.composite
def anthropic_histories(draw: st.DrawFn) -> list[Json]:
    messages = list[Json]()
    user: list[Json] = [{"type": "text", "text": "Go."}]
    for turn in range(draw(st.integers(1, 3))):
        answer = draw(anthropic_answers(turn))
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
        calls = [block["id"] for block in answer if block["type"] == "tool_use"]
        user = [{"type": "tool_result", "tool_use_id": call_id, "content": "ok"} for call_id in calls]
        user = user or [{"type": "text", "text": "And?"}]
    return [*messages, {"role": "user", "content": user}]


@given(anthropic_histories())
def test_blocks_come_back_to_anthropic_as_they_came(messages: list[Json]) -> None:
    view = folded(imported(messages, "anthropic")).view()
    prompt = build_prompt(view.turns, "anthropic")
    check_all(view)
    assert prompt["messages"] == messages


@st.composite
def response_items(draw: st.DrawFn, turn: int) -> list[Json]:
    """The items of a response, and the outputs of its calls."""
    items, outputs = list[Json](), list[Json]()
    for number in range(draw(st.integers(0, 2))):
        items += draw(reasoning(turn, number))
        items.append({"type": "web_search_call", "id": f"ws_{turn}_{number}", "status": "completed", "action": {}})
    items += draw(reasoning(turn, 5))
    phase = draw(st.sampled_from([None, "commentary", "final_answer"]))
    said = {"type": "message", "role": "assistant", "content": draw(words)}
    items.append(said if phase is None else {**said, "phase": phase})
    for number in range(draw(st.integers(0, 2))):
        call_id = f"call_{turn}_{number}"
        items += draw(reasoning(turn, 7 + number))
        if draw(st.booleans()):
            items.append({"type": "function_call", "call_id": call_id, "name": "find", "arguments": "{}"})
            outputs.append({"type": "function_call_output", "call_id": call_id, "output": "ok"})
        else:
            items.append({"type": "custom_tool_call", "call_id": call_id, "name": "sql", "input": "select 1"})
            outputs.append({"type": "custom_tool_call_output", "call_id": call_id, "output": "ok"})
    return items + outputs


def reasoning(turn: int, number: int) -> st.SearchStrategy[list[Json]]:
    summary = st.lists(st.builds(lambda text: {"type": "summary_text", "text": text}, words), max_size=2)
    item = {"type": "reasoning", "id": f"rs_{turn}_{number}", "encrypted_content": "ENC"}
    return st.lists(summary.map(lambda parts: {**item, "summary": parts}), max_size=1)


@st.composite
def response_histories(draw: st.DrawFn) -> list[Json]:
    items = list[Json]()
    for turn in range(draw(st.integers(1, 3))):
        items += [{"type": "message", "role": "user", "content": f"{turn}?"}, *draw(response_items(turn))]
    return [*items, {"type": "message", "role": "user", "content": "And?"}]


@given(response_histories())
def test_items_come_back_to_the_responses_api_as_they_came(items: list[Json]) -> None:
    view = folded(imported(items, "responses")).view()
    check_all(view)
    assert build_prompt(view.turns, "responses") == items


def check_all(view: SessionView) -> None:
    check_chat_prompt(build_prompt(view.turns))
    check_anthropic_prompt(build_prompt(view.turns, "anthropic"))
    check_responses_prompt(build_prompt(view.turns, "responses"))


def step_of(*said: e.SessionEvent) -> Step:
    return folded(answered(*said)).view().turns[0].steps[0]


def answered(*said: e.SessionEvent) -> list[Any]:
    return recorded(
        [
            e.SessionStarted(at=AT, user_id="u1"),
            e.MessageAdded(at=AT, message_id="m1", role="user", content="Go."),
            e.CompletionStarted(at=AT, step_id="s1"),
            *said,
            e.CompletionFinished(at=AT, step_id="s1", finish_reason="stop"),
            e.MessageAdded(at=AT, message_id="m2", role="user", content="And?"),
        ]
    )


def part(number: int, kind: Any, api: Any = "anthropic", call: int | None = None, **data: Any) -> e.PartStarted:
    return e.PartStarted(at=AT, step_id="s1", part=number, kind=kind, api=api, call=call, data=data)


def text(value: str) -> e.TextDelta:
    return e.TextDelta(at=AT, step_id="s1", text=value)


def test_an_answer_without_parts_has_one_of_each_kind_in_the_usual_order() -> None:
    step = step_of(
        text("a"),
        e.ToolCallStarted(at=AT, step_id="s1", index=0, id="c1", name="f"),
        e.ReasoningDelta(at=AT, step_id="s1", text="hm"),
        text("b"),
    )
    assert [(one.kind, one.text, one.call) for one in step.message.parts] == [
        ("reasoning", "hm", None),
        ("text", "ab", None),
        ("tool_call", None, 0),
    ]
    assert step.message.layout == ()


def test_texts_belong_to_the_part_that_was_opened_or_extended_last() -> None:
    step = step_of(
        part(1, "text", "responses"),
        text("a"),
        part(2, "opaque", "responses", type="new_item"),
        part(3, "text", "responses"),
        text("b"),
        e.PartExtended(at=AT, step_id="s1", part=1, data={}),
        text("c"),
        e.PartExtended(at=AT, step_id="s1", part=3, data={"annotations": [1]}),
        e.PartExtended(at=AT, step_id="s1", part=3, data={"annotations": [2]}),
        text("d"),
    )
    assert [(one.kind, one.text, one.data) for one in step.message.parts] == [
        ("text", "ac", {}),
        ("opaque", None, {"type": "new_item"}),
        ("text", "bd", {"annotations": [1, 2]}),
    ]
    assert step.message.content == "abcd"


def test_a_text_in_the_data_of_a_part_comes_in_pieces() -> None:
    step = step_of(
        part(1, "audio", "chat", id="audio_1"),
        *(e.PartDelta(at=AT, step_id="s1", part=1, field="transcript", text=piece) for piece in ("Hel", "lo")),
        e.PartExtended(at=AT, step_id="s1", part=1, data={"expires_at": 1}),
    )
    assert [one.data for one in step.message.parts] == [{"id": "audio_1", "transcript": "Hello", "expires_at": 1}]


def test_what_was_said_in_audio_is_sent_as_text() -> None:
    audio = part(1, "audio", "chat", id="audio_1", transcript="Hello")
    turns = folded(answered(audio)).view().turns
    for api in ("chat", "responses"):
        assert build_prompt(turns, api)[1]["content"] == "Hello"
    assert build_prompt(turns, "anthropic")["messages"][1]["content"] == [{"type": "text", "text": "Hello"}]


def test_audio_of_which_nobody_has_written_down_what_was_said_goes_back_by_its_id() -> None:
    turns = folded(answered(part(1, "audio", "chat", id="audio_1"))).view().turns
    assert build_prompt(turns)[1] == {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}
    assert len(build_prompt(turns, "responses")) == 1 + 1


def test_the_signature_beside_a_call_goes_back_only_where_reasoning_is_sent() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "SIG"}}}
    turns = (
        folded(
            answered(
                e.ToolCallStarted(at=AT, step_id="s1", index=0, id="c1", name="f"),
                part(1, "tool_call", "chat", call=0, **signed),
            )
        )
        .view()
        .turns
    )
    assert "SIG" not in json.dumps(build_prompt(turns))
    assert "SIG" in json.dumps(build_prompt(turns, policy=SEND))
    assert "SIG" not in json.dumps(build_prompt(turns, "responses", policy=SEND))


def test_a_servers_call_without_its_result_is_not_sent_unless_the_answer_is_paused() -> None:
    call = part(1, "server_call", type="server_tool_use", id="srvtoolu_1", name="web_search", input={})
    events = answered(call, part(2, "text"), text("Looking."))
    assert [block["type"] for block in blocks_of(events)] == ["text"]

    paused = [
        one._replace(event=one.event.model_copy(update={"finish_reason": "pause_turn"}))
        if isinstance(one.event, e.CompletionFinished)
        else one
        for one in events
    ]
    assert [block["type"] for block in blocks_of(paused[:-1])] == ["server_tool_use", "text"]
    # The user has spoken since: nobody goes on with it.
    assert [block["type"] for block in blocks_of(paused)] == ["text"]


def test_a_call_that_somebody_else_runs_goes_back_with_its_output() -> None:
    said = {"type": "message", "role": "assistant", "content": "Look."}
    call = {"type": "computer_call", "id": "cu_1", "call_id": "call_1", "action": {"type": "screenshot"}}
    shot = {"type": "computer_call_output", "call_id": "call_1", "output": {"type": "computer_screenshot"}}
    asked, and_now = ({"type": "message", "role": "user", "content": text} for text in ("Go.", "And?"))
    for items, sent in (
        ([asked, call, shot, said, and_now], [asked, call, shot, said, and_now]),
        ([asked, call, said, and_now], [asked, said, and_now]),
        ([asked, shot, said, and_now], [asked, said, and_now]),
    ):
        assert build_prompt(folded(imported(items, "responses")).view().turns, "responses") == sent


def test_an_item_that_nobody_knows_is_no_text_though_it_has_a_role() -> None:
    said = {"type": "message", "role": "assistant", "content": "Look."}
    unknown = {"type": "sketch", "role": "assistant", "content": [{"line": 1}]}
    asked = {"type": "message", "role": "user", "content": "Draw."}
    for items in ([asked, unknown, said], [asked, said, unknown], [asked, unknown, unknown, said, asked]):
        view = folded(imported(items, "responses")).view()
        for _ in range(2):  # what is stored is not changed
            assert build_prompt(view.turns, "responses") == items


def test_an_empty_summary_is_not_sent() -> None:
    compacted = e.ContextCompacted(at=AT, summary="", upto=1)
    view = folded([*answered(text("Hello.")), *recorded([compacted], 100)]).view()
    for api in ("chat", "anthropic", "responses"):
        prompt = build_prompt(view.turns, api, view.compaction)
        assert not any(one.get("content") == "" for one in (prompt["messages"] if api == "anthropic" else prompt))


def blocks_of(events: list[Any]) -> list[Json]:
    return build_prompt(folded(events).view().turns, "anthropic")["messages"][1]["content"]


def test_another_api_has_the_text_and_the_calls() -> None:
    events = answered(
        part(1, "reasoning", type="thinking", signature="S"),
        e.ReasoningDelta(at=AT, step_id="s1", text="hm"),
        part(2, "server_call", type="server_tool_use", id="srvtoolu_1", name="web_search", input={}),
        part(3, "server_result", type="web_search_tool_result", tool_use_id="srvtoolu_1", content=[]),
        part(4, "text", citations=[{"type": "x"}]),
        text("It opens at six."),
    )
    view = folded(events).view()
    check_all(view)
    assert build_prompt(view.turns)[1] == {"role": "assistant", "content": "It opens at six."}
    assert [block["type"] for block in blocks_of(events)] == [
        "thinking",
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]


def test_a_block_of_a_user_that_nobody_knows_goes_back_to_its_own_api() -> None:
    upload, asked = {"type": "container_upload", "file_id": "file_1"}, {"type": "text", "text": "Read it."}
    view = folded(imported([{"role": "user", "content": [upload, asked]}], "anthropic")).view()
    assert build_prompt(view.turns, "anthropic")["messages"] == [{"role": "user", "content": [upload, asked]}]
    note = {"type": "text", "text": "(part left out: this API does not take it)"}
    assert build_prompt(view.turns) == [{"role": "user", "content": [note, asked]}]
    assert view.faults == ()


def test_thinking_does_not_come_behind_the_text_of_another_answer() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "S"}
    said = [{"type": "text", "text": text} for text in ("There.", "Here.")]
    messages = [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": [said[0]]},
        {"role": "assistant", "content": [thought, said[1]]},
        {"role": "user", "content": "And?"},
    ]
    prompt = build_prompt(folded(imported(messages, "anthropic")).view().turns, "anthropic")
    assert prompt["messages"][1]["content"] == said
