"""Messages of other systems, read from any of the formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.foreign_messages import IMAGE, Json, call, said, user
from tests.support.histories import folded, imported
from turnlog.domain.foreign import ForeignMessage, read_foreign
from turnlog.domain.inputs import checked_foreign
from turnlog.projections.prompt import build_prompt

# Calls


SAME = ['{"a":1,"b":[2]}', '{ "b": [2], "a": 1 }', '{"a":1.0,"b":[2]}']
OTHER = ['{"a":1,"b":2}', '{"a":1}', '["a"]', '"a"', "a", "", '{"a":1e999}', '{"a":[["b",[2]]]}']


def test_a_call_twice_in_a_message_is_one_however_its_arguments_are_written() -> None:
    calls = [call(arguments=arguments) for arguments in (*SAME, *OTHER, *OTHER)]
    (step,) = folded(imported([user(), said(None, *calls)])).raw_turns()[0].steps
    assert [c.arguments for c in step.message.tool_calls] == [SAME[0], *OTHER]


def test_calls_of_one_id_whose_arguments_are_no_json_and_differ_are_two() -> None:
    reading = read_foreign("chat", said(None, call(arguments="{"), call(arguments="[")))
    assert len(reading.items[0].calls) == 2  # type: ignore[union-attr]


def test_calls_are_one_only_where_their_arguments_say_the_same() -> None:
    def count(*arguments: str) -> int:
        calls = [call(arguments=text) for text in arguments]
        return len(read_foreign("chat", said(None, *calls)).items[0].calls)  # type: ignore[union-attr]

    assert count('{"a":1,"b":2}', '{"b": 2, "a": 1}', '{"a":1,"b":2}') == 1
    assert count('{"a":1}', '{"a":true}', '{"a":[]}', '{"a":{}}') == 4


# Rows of a table


@pytest.mark.parametrize("places", [("2", "1"), (2.0, 1.0), ("10", "9"), (10, "9")])
@pytest.mark.parametrize("name", ["sequence", "Sequence", "position", "messageIndex"])
def test_rows_are_in_the_order_of_their_numbers_however_these_are_written(name: str, places: tuple[Any, Any]) -> None:
    rows = [{name: place, "role": "user", "content": str(place)} for place in places]
    assert checked_foreign(rows, "rows", 1_000) == rows[::-1]


@pytest.mark.parametrize("places", [(2, None), (2, "one"), (2, True), (2, "nan")])
def test_rows_of_which_one_has_no_number_stay_as_they_are(places: tuple[Any, Any]) -> None:
    rows = [{"sequence": place, "role": "user", "content": str(place)} for place in places]
    assert checked_foreign(rows, "rows", 1_000) == rows


@pytest.mark.parametrize("spelt", [str.lower, str.upper, str.title])
def test_columns_are_known_however_they_are_spelt(spelt: Callable[[str], str]) -> None:
    rows: list[Json] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "toolcalls": [call()]},
        {"role": "tool", "toolcallid": "c1", "content": "found"},
    ]
    events = imported([{spelt(name): value for name, value in row.items()} for row in rows], "rows")
    assert [message["role"] for message in build_prompt(folded(events).turns())] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    "ids", [{"toolCallId": None, "tool_call_id": "c1"}, {"tool_call_id": "c1", "toolCallId": "c9"}]
)
def test_of_two_columns_of_one_name_the_first_that_is_filled_is_read(ids: Json) -> None:
    (found,) = read_foreign("rows", {"role": "tool", "content": "found", **ids}).items
    assert found.call_id == "c1"  # type: ignore[union-attr]


LISTS = ['[{"type":"file","path":"/a"}]', '[{"type":"paragraph","text":"x"}]', '[{"type":"text"}]', "[]", "[1]"]


@pytest.mark.parametrize("text", LISTS)
def test_a_row_that_says_a_list_is_a_text_unless_it_is_content_by_blocks(text: str) -> None:
    rows = [
        {"role": "user", "content": text},
        {"role": "assistant", "tool_calls": [call()]},
        {"role": "tool", "tool_call_id": "c1", "content": text},
    ]
    prompt = build_prompt(folded(imported(rows, "rows")).turns())
    assert [prompt[0]["content"], prompt[2]["content"]] == [text, text]
    parts = [{"type": "text", "text": "so"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    (shown,) = build_prompt(folded(imported([{"role": "user", "content": json.dumps(parts)}], "rows")).turns())
    assert shown["content"] == parts


def test_a_json_column_that_no_event_could_hold_is_a_flaw_and_not_an_error() -> None:
    for column in ("[" * 400 + "]" * 400, "[NaN]", '[{"a": 1e999}]', "[" * 100_000, '["\\ud800": 1]'):
        reading = read_foreign("rows", {"role": "assistant", "content": "x", "toolCalls": column})
        assert [flaw.kind for flaw in reading.flaws] == ["bad_field"]
        assert isinstance(reading.items[0], ForeignMessage)
        assert reading.items[0].content == "x"


def test_an_empty_json_column_is_no_flaw() -> None:
    for column in ("", " "):
        assert read_foreign("rows", {"role": "assistant", "content": "x", "tool_calls": column}).flaws == ()


# Content


def test_an_image_where_no_api_takes_one_is_a_fault() -> None:
    for role in ("assistant", "system"):
        flaws = read_foreign("chat", {"role": role, "content": [{"type": "text", "text": "x"}, IMAGE]}).flaws
        assert [flaw.kind for flaw in flaws] == ["bad_content_block"]
    tool = {"role": "tool", "tool_call_id": "c1", "content": [IMAGE]}
    assert [flaw.kind for flaw in read_foreign("chat", tool).flaws] == ["bad_content_block"]
    block = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "image", "source": {"type": "url"}}]}
    assert read_foreign("anthropic", {"role": "user", "content": [block]}).flaws != ()
    block["content"] = [{"type": "image", "source": {"type": "url", "url": "https://x"}}]
    assert read_foreign("anthropic", {"role": "user", "content": [block]}).flaws == ()


def test_an_empty_text_alone_is_an_empty_message_and_no_empty_block() -> None:
    assert read_foreign("anthropic", {"role": "user", "content": [{"type": "text", "text": ""}]}).flaws == ()


def test_a_signature_without_a_thought_is_no_thinking() -> None:
    block = {"type": "thinking", "thinking": "", "signature": "s"}
    reading = read_foreign("anthropic", {"role": "assistant", "content": [block, {"type": "text", "text": "x"}]})
    assert [flaw.kind for flaw in reading.flaws] == ["unsigned_thinking"]
    assert reading.items[0].details == ()  # type: ignore[union-attr]


def test_an_answer_that_was_audio_is_what_was_said() -> None:
    audio = {"id": "audio_1", "data": "", "expires_at": 1, "transcript": "Hello there"}
    spoken = {"role": "assistant", "content": None, "audio": audio}
    projector = folded(imported([user(), spoken, user("And?")]))
    assert [message["content"] for message in build_prompt(projector.turns())] == ["hi", "Hello there", "And?"]
    assert projector.view().faults == ()


@pytest.mark.parametrize("given", [{"args": {"a": 1}}, {"arguments": '{"a":1}'}])
def test_a_call_has_its_name_and_arguments_in_itself_as_in_langchain(given: Json) -> None:
    messages: list[Json] = [
        {"role": "human", "content": "Hi"},
        {"role": "ai", "content": "", "tool_calls": [{"name": "f", **given, "id": "c1", "type": "tool_call"}]},
        {"role": "tool", "content": "ok", "tool_call_id": "c1", "name": "f"},
    ]
    prompt = build_prompt(folded(imported(messages)).turns())
    assert [message["role"] for message in prompt] == ["user", "assistant", "tool"]
    assert prompt[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
