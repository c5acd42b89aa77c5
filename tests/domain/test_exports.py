"""What people really have is read: exports of chat applications, and messages of libraries."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.anthropic_rules import check_anthropic_prompt
from tests.support.exports import NAMES, conversations, export, in_short
from tests.support.foreign_messages import FAULTY, FAULTY_BLOCKS, call, result, said, user
from tests.support.histories import folded, imported, repaired
from tests.support.prompt_rules import check_chat_prompt
from tests.support.responses_rules import check_responses_prompt
from tests.support.rules import types_in
from turnlog.domain.errors import InvalidInputError
from turnlog.domain.foreign import ForeignFormat, conversation_of, conversations_in, detected_format
from turnlog.infrastructure.repair.importing import Conversation, checked_conversation
from turnlog.projections.prompt import build_prompt

LIMIT = 1 << 20
IMAGE_GONE, FILE_GONE = "(image left out: it is not in the export)", "(file left out: it is not in the export)"
SEARCHED = [
    "system: Be brief.",
    "user: Find x",
    'assistant: Let me look. | search{"q":"x"}',
    "tool: found x",
    "assistant: It is x.",
]
KIEL = [
    "user: How warm is it in Kiel?",
    'assistant: One moment. | weather{"city":"Kiel"}',
    "tool: 9 C",
    "assistant: Nine degrees.",
    "user: Thanks",
]

READ: dict[str, tuple[ForeignFormat, list[list[str]]]] = {
    "chatgpt.json": (
        "chatgpt",
        [
            [
                "system: I sail. | Answer briefly.",
                "user: When does the harbour open?",
                'assistant: web_run{"search_query":[{"q":"harbour hours"}]}',
                "tool: The harbour opens at six.\n\nSource: harbour.example",
                "assistant: The harbour opens at six.",
            ],
            [
                f"user: {IMAGE_GONE} | What is this?",
                'assistant: python{"input":"print(2 + 2)"}',
                "tool: 4",
                "assistant: A lighthouse, and four of them.",
            ],
        ],
    ),
    "claude_ai.json": (
        "claude_ai",
        [
            [
                f"user: log.txt\n\nWind from the west. | {FILE_GONE} | Sum this up.",
                'assistant: Let me look. | web_search{"query":"west wind"}',
                "tool: Zephyr.",
                'assistant: repl{"code":"1+1"}',
                "tool: 2",
                "assistant: It was the west wind.",
            ],
            ["user: Hi", "assistant: Hello, the second."],
        ],
    ),
    "claude_code.jsonl": (
        "claude_code",
        [
            [
                "user: Start over: fix the mast",
                'assistant: I look at both files. | Read{"file":"a"} | Read{"file":"b"}',
                "tool: a mast",
                "tool: a boom",
                "user: Mind the boom",
                "assistant: Wrong.",
                "user: No, go on",
                "assistant: Fixed.",
            ]
        ],
    ),
    "librechat-flat.json": ("librechat", [KIEL]),
    "librechat-tree.json": ("librechat", [KIEL]),
    "open_webui.json": (
        "open_webui",
        [
            [
                "system: Be brief.",
                "user: Who rules the tides?",
                'assistant: lookup{"q": "tides"}',
                "tool: The moon & the sun",
                "assistant: The moon.",
                "user: <image_url> | a.txt\n\nebb | And this?",
            ]
        ],
    ),
    "ui-v5.json": (
        "ui",
        [
            [
                "user: Plan my day | <image_url>",
                'assistant: Let me see. | weather{"city":"Kiel"} | calendar{}',
                'tool: {"celsius":9}',
                "tool: no access",
                "assistant: Stay in.",
            ]
        ],
    ),
    "ui-v4.json": (
        "ui",
        [
            [
                "user: Weather? | <image_url>",
                'assistant: weather{"city":"Kiel"}',
                "tool: 9 C",
                "assistant: Nine degrees.",
                "user: And Bremen?",
                'assistant: weather{"city":"Bremen"}',
                "tool: No result is available for this tool call.",
            ]
        ],
    ),
    "ui-model-messages.json": (
        "ui",
        [
            [
                "user: Draw | <image_url>",
                'assistant: draw{"what":"boat"}',
                "tool: done | (image left out: this API does not take it)",
                "assistant: There.",
            ]
        ],
    ),
    "langchain-dumped.json": ("langchain", [SEARCHED]),
    "langchain-serialised.json": ("langchain", [SEARCHED]),
    "langchain-plain.json": ("langchain", [SEARCHED]),
    "agents.json": (
        "responses",
        [["user: Find x", 'assistant: search{"q":"x"}', "tool: found x", "assistant: It is x."]],
    ),
    "pydantic_ai.json": (
        "pydantic_ai",
        [
            [
                "system: Never guess.",
                "system: Be exact.",
                "user: What is on it? | <image_url> | <file>",
                'assistant: Let me see. | look{"at":"a.png"} | read{"n":1}',
                'tool: {"seen":"a boat"}',
                'tool: [{"type":"missing","loc":["n"],"msg":"Field required","input":{}}]',
                "assistant: A boat.",
            ]
        ],
    ),
    "gemini.json": (
        "gemini",
        [
            [
                "system: Be brief.",
                "user: Is it dark in Kiel and Oslo? | <image_url>",
                'assistant: One moment. | sun{"city":"Kiel"} | moon{"city":"Oslo"}',
                "tool: up",
                'tool: {"set":"15:58","ok":true}',
                "assistant: Dark in both.",
            ]
        ],
    ),
    "gemini-snake.json": (
        "gemini",
        [
            [
                "user: Add up",
                'assistant: code_execution{"language":"PYTHON","code":"print(1+1)"}',
                "tool: 2",
                "assistant: Two.",
                "user: Thanks | (file left out: this API does not take it)",
            ]
        ],
    ),
}


def checked_prompts(messages: list[Any], format_: ForeignFormat) -> list[dict[str, Any]]:
    """The prompt for Chat Completions, when those for all APIs are valid, with and without a repair."""
    projector = folded(imported(messages, format_))
    prompt: list[dict[str, Any]] = build_prompt(projector.turns())
    its_own = set(types_in(messages))
    for _ in range(2):
        check_chat_prompt(build_prompt(projector.turns()))
        check_anthropic_prompt(build_prompt(projector.turns(), "anthropic"), its_own)
        check_responses_prompt(build_prompt(projector.turns(), "responses"), its_own)
        repaired(projector)
    return prompt


@pytest.mark.parametrize("name", NAMES)
def test_an_export_is_seen_for_what_it_is_and_read(name: str) -> None:
    format_, expected = READ[name]
    found = conversations(name)
    assert {one.format for one in found} == {format_}
    assert [list(in_short(checked_prompts(one.messages, one.format))) for one in found] == expected


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sound_in_its_own_format_has_no_fault_but_what_is_missing(name: str) -> None:
    for one in conversations(name):
        faults = {fault.kind for fault in folded(imported(one.messages, one.format)).view().faults}
        assert faults <= {"bad_content_block", "unanswered_call"}


@pytest.mark.parametrize(
    ("name", "branches"),
    [
        ("chatgpt.json", ["assistant: At seven, I believe.", "user: Are you sure?"]),
        ("claude_ai.json", ["assistant: Hello, the first."]),
        ("librechat-flat.json", ["assistant: Warm."]),
        ("librechat-tree.json", ["assistant: Warm."]),
        ("open_webui.json", ["assistant: The sea."]),
    ],
)
def test_the_other_branches_are_there_each_from_its_beginning(name: str, branches: list[str]) -> None:
    (branch,) = (branch for one in conversations(name) for branch in one.branches)
    prompt = list(in_short(checked_prompts(branch.messages, READ[name][0])))
    assert prompt[-len(branches) :] == branches
    assert len(prompt) > len(branches)


def test_titles_ids_owners_and_times_of_conversations_are_found() -> None:
    chat, other = conversations("chatgpt.json")
    assert (chat.title, chat.id) == ("Harbour hours", "6a1f0000-1111-2222-3333-444455556666")
    assert chat.started_at == datetime(2024, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert (other.title, other.id) == (None, "6a1f0000-9999-2222-3333-444455556666")
    (tides,) = conversations("open_webui.json")
    assert (tides.title, tides.id, tides.user_id) == ("Tides", "ow-1", "u-9")
    (mast,) = conversations("claude_code.jsonl")
    assert (mast.title, mast.id) == ("Fix the mast", "cc-1")
    assert (mast.started_at, mast.updated_at) == (
        datetime(2026, 1, 15, 9, 0, 1, tzinfo=UTC),
        datetime(2026, 1, 15, 9, 0, 15, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("name", "year", "model"),
    [
        ("chatgpt.json", 2024, "gpt-5"),
        ("claude_ai.json", 2024, None),
        ("claude_code.jsonl", 2026, "claude-opus-4-5"),
        ("librechat-tree.json", 2025, "claude-3-7"),
        ("open_webui.json", 2024, "llama3:70b"),
        ("ui-v5.json", 2025, "gpt-5-mini"),
        ("pydantic_ai.json", 2025, "claude-sonnet-4"),
        ("langchain-dumped.json", 2026, "claude-3-5"),
    ],
)
def test_a_message_keeps_its_time_and_its_model(name: str, year: int, model: str | None) -> None:
    one = conversations(name)[0]
    step = folded(imported(one.messages, one.format)).view().turns[0].steps[0]
    assert (step.started_at.year, step.ended_at, step.model) == (year, step.started_at, model)


@pytest.mark.parametrize(
    "time",
    [
        "2020-01-01T00:00:00Z",
        "2020-01-01 00:00:00+00:00",
        "2020-01-01T01:00:00.000+01:00",
        "2020-01-01",
        1577836800,
        1577836800.0,
        1577836800000,
        "1577836800000",
        1577836800000000,
        {"$date": "2020-01-01T00:00:00.000Z"},
        {"$date": {"$numberLong": "1577836800000"}},
    ],
)
@pytest.mark.parametrize("field", ["created_at", "createdAt", "timestamp", "create_time"])
def test_a_time_is_read_however_it_is_written(time: Any, field: str) -> None:
    (message,) = folded(imported([{**user(), field: time}])).view().turns[0].messages
    assert message.at == datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "time", [True, "", "soon", -1, 12, 2**1000, float(10**300), [1], {}, "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_time_is_none(time: Any) -> None:
    plain, odd = (folded(imported([{**user(), **more}])).view() for more in ({}, {"created_at": time}))
    assert odd.turns[0].messages[0].at == plain.turns[0].messages[0].at


def test_a_result_without_an_id_is_for_the_call_of_its_name() -> None:
    (one,) = conversations("gemini.json")
    step = folded(imported(one.messages, one.format)).view().turns[0].steps[0]
    answers = {call.name: step.results()[call.index].content for call in step.message.tool_calls}
    assert answers == {"sun": '{"set":"15:58","ok":true}', "moon": "up"}


# Which format it is

PLAIN: list[tuple[ForeignFormat | None, list[dict[str, Any]]]] = [
    ("chat", [user(), said("Hello")]),
    ("chat", [user(), said(None, call()), result()]),
    ("chat", [{"role": "human", "content": "hi"}]),
    ("anthropic", FAULTY_BLOCKS["split_results"]),
    ("chat", FAULTY["foreign_block"]),
    ("chat", FAULTY["result_in_wrong_role"]),
    ("responses", [user(), {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}]),
    ("responses", [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]),
    ("rows", [user(), {"role": "tool", "toolCallId": "c1", "content": "x"}]),
    ("rows", [user(), {"role": "assistant", "tool_calls": "[]"}]),
    ("chatgpt", [{"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hi"]}}]),
    ("ui", [{"role": "user", "content": "hi"}, {"role": "assistant", "parts": [{"type": "text", "text": "x"}]}]),
    ("gemini", [{"role": "model", "parts": []}, {"role": "user", "parts": [{"text": "x"}]}]),
    ("claude_code", [{"type": "summary", "summary": "s"}, {"type": "user", "message": user()}]),
    (None, [{"role": "robot", "content": "beep"}]),
    (None, [{"speaker": "me", "words": "hi"}]),
    (None, [{"type": "summary", "summary": "s"}]),
]


@pytest.mark.parametrize(("format_", "messages"), PLAIN)
def test_messages_are_seen_for_what_they_are(format_: ForeignFormat | None, messages: list[dict[str, Any]]) -> None:
    assert detected_format(messages) == format_


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        ([{"speaker": "me", "words": "hi"}], "keys: speaker, words"),
        ([{"role": "robot", "content": "beep"}], "roles: robot"),
        ([{"type": "summary", "leafUuid": "x"}], "types: summary"),
        ({"threads": [], "owner": "x"}, "keys: threads, owner"),
        ({"mapping": {}, "current_node": "a"}, "say nothing in the format chatgpt"),
        ([], "are of no known format"),
        ("hi", "must be a list"),
        ([["hi"]], "must be an object"),
        ([{"mapping": {}}, {"mapping": {}}], "are of 2 conversations"),
        ([{"role": "assistant", "content": ""}], "say nothing in the format chat"),
        ([{"role": "tool", "content": "x", "tool_call_id": "c"}], "say nothing in the format chat"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_was_seen(data: Any, seen: str) -> None:
    with pytest.raises(InvalidInputError, match=seen):
        checked_conversation(Conversation(data, "u1"), LIMIT)


@pytest.mark.parametrize("name", NAMES)
def test_a_format_that_is_given_is_the_one_that_is_read(name: str) -> None:
    one = conversations(name)[0]
    assert checked_conversation(Conversation(one.messages, "u1", format=one.format), LIMIT).format == one.format
    with pytest.raises(InvalidInputError, match="say nothing in the format"):
        checked_conversation(Conversation([{"any": 1}], "u1", format=one.format), LIMIT)


class Unspeakable:
    """What no JSON holds, and nobody may ask anything."""

    def __bool__(self) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]  # it is unspeakable

    def __eq__(self, other: object) -> bool:
        raise RuntimeError


@pytest.mark.parametrize("field", ["role", "type", "content", "parts", "author", "message", "created_at"])
def test_what_is_no_json_is_refused_before_anybody_looks_at_it(field: str) -> None:
    for data in ([{field: Unspeakable()}], {"messages": [{"role": "user", field: Unspeakable()}]}):
        with pytest.raises(InvalidInputError, match=f"{field}: a Unspeakable is not JSON"):
            checked_conversation(Conversation(data, "u1"), LIMIT)


# Nothing that is imported says nothing

ODD = st.sampled_from([None, "", "x", 0, 1.5, True, [], {}, [1], ["x"], {"a": 1}, [{}], [{"type": "text"}], "tool"])


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(one for key, item in inside for one in _paths(item, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """An export in which some values were replaced, or are gone."""
    value = copy.deepcopy(export(draw(st.sampled_from(NAMES))))
    for _ in range(draw(st.integers(1, 4))):
        *path, last = draw(st.sampled_from(_paths(value)[1:] or [(0,)]))
        held = value
        for key in path:
            held = held[key]
        if isinstance(held, dict) and draw(st.booleans()):
            del held[last]
        elif held:
            held[last] = copy.deepcopy(draw(ODD))
    return value


@settings(max_examples=80)
@given(damaged())
def test_no_import_of_anything_has_an_empty_prompt(data: Any) -> None:
    for raw in conversations_in(data):
        try:
            checked = checked_conversation(Conversation(raw, "u1"), LIMIT)
        except InvalidInputError:
            continue
        assert checked_prompts(checked.messages, checked.format)
        for branch in conversation_of(raw).branches:
            checked_prompts(branch.messages, checked.format)
