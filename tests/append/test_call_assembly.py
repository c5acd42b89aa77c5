"""Tool calls of Chat Completions streams: which call a fragment belongs to, and which arguments count."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.chat_streams import Json, calls_of, delta, events_of, fragment, step_of, view_of
from turnlog.domain import events as e

END = delta("tool_calls")

Calls = list[tuple[str, str, str]]

STREAMS: dict[str, tuple[list[Json], Calls]] = {
    "parallel calls of index 0 without ids": (
        [
            fragment(0, "", "rise", '{"day": 1}'),
            fragment(0, "", "rise", '{"day": 2}'),
            fragment(0, "", "set", '{"day": 1}'),
        ],
        [("", "rise", '{"day": 1}'), ("", "rise", '{"day": 2}'), ("", "set", '{"day": 1}')],
    ),
    "parallel calls with neither": (
        [fragment(None, None, "rise", '{"day": 1}'), fragment(None, None, "set", "{}")],
        [("", "rise", '{"day": 1}'), ("", "set", "{}")],
    ),
    "the same in fragments": (
        [
            fragment(0, None, "rise", ""),
            fragment(0, None, None, '{"day":'),
            fragment(0, None, None, " 1}"),
            fragment(0, None, "rise", ""),
            fragment(0, None, None, '{"day": 2}'),
        ],
        [("", "rise", '{"day": 1}'), ("", "rise", '{"day": 2}')],
    ),
    "all in one chunk": (
        [
            delta(
                tool_calls=[
                    {"index": 0, "function": {"name": "rise", "arguments": '{"day": 1}'}},
                    {"index": 0, "function": {"name": "set", "arguments": '{"day": 1}'}},
                ]
            )
        ],
        [("", "rise", '{"day": 1}'), ("", "set", '{"day": 1}')],
    ),
    "one id for all": (
        [
            fragment(0, "call_1", "rise", '{"day": 1}'),
            fragment(0, "call_1", "set", '{"day": 1}'),
            fragment(None, "call_1", "set", '{"day": 2}'),
        ],
        [("call_1", "rise", '{"day": 1}'), ("call_1", "set", '{"day": 1}'), ("call_1", "set", '{"day": 2}')],
    ),
    "a string with brackets is not the end": (
        [fragment(0, None, "say", '{"text": "}\\"{"'), fragment(0, None, "say", ', "x": [1]}')],
        [("", "say", '{"text": "}\\"{", "x": [1]}')],
    ),
    "the name behind the first arguments": (
        [fragment(0, "call_1", None, '{"path":'), fragment(0, None, "read", ' "a.md"}')],
        [("call_1", "read", '{"path": "a.md"}')],
    ),
    "the name behind all arguments": (
        [fragment(0, "call_1", None, '{"path": "a.md"}'), fragment(0, None, "read")],
        [("call_1", "read", '{"path": "a.md"}')],
    ),
    "the name in two behind the first arguments": (
        [fragment(0, "call_1", None, "{"), fragment(0, None, "read_"), fragment(0, None, "file", "}")],
        [("call_1", "read_file", "{}")],
    ),
    "the name in two": (
        [fragment(0, "call_1", "read_"), fragment(0, None, "file"), fragment(0, None, None, "{}")],
        [("call_1", "read_file", "{}")],
    ),
    "all of the name that has come, each time": (
        [fragment(0, "call_1", "read"), fragment(0, "call_1", "read_file"), fragment(0, None, None, "{}")],
        [("call_1", "read_file", "{}")],
    ),
    "the name and the id with each fragment": (
        [fragment(0, "call_1", "read", '{"a"'), fragment(0, "call_1", "read", ": 1}"), fragment(0, "call_1", "read")],
        [("call_1", "read", '{"a": 1}')],
    ),
    "the name once more at the end": (
        [fragment(0, None, "read", '{"a": 1}'), fragment(0, None, "read", "")],
        [("", "read", '{"a": 1}')],
    ),
    "the arguments twice": (
        [fragment(0, "call_1", "read", '{"a": 1}'), fragment(0, "call_1", "read", '{"a": 1}')],
        [("call_1", "read", '{"a": 1}')],
    ),
    "the arguments twice, without the name": (
        [fragment(0, "call_1", "read", '{"a":'), fragment(0, None, None, "1}"), fragment(0, None, None, '{"a":1}')],
        [("call_1", "read", '{"a":1}')],
    ),
    "nothing first, and then the real ones": (
        [fragment(0, "call_1", "read", "{}"), fragment(0, "call_1", "read", '{"a": 1}')],
        [("call_1", "read", '{"a": 1}')],
    ),
    "nothing first, and then the real ones in fragments": (
        [fragment(0, "call_1", "read", "{}"), fragment(0, None, None, '{"a": '), fragment(0, None, None, "1}")],
        [("call_1", "read", '{"a": 1}')],
    ),
    "a part first": (
        [fragment(0, "call_1", "read", '{"a": 1}'), fragment(0, None, None, '{"a": 1, "b": 2}')],
        [("call_1", "read", '{"a": 1, "b": 2}')],
    ),
    "a bracket too many": ([fragment(0, "call_1", "read", '{"a": 1}}')], [("call_1", "read", '{"a": 1}')]),
    "objects of which it cannot be told which counts": (
        [fragment(0, "call_1", "read", '{"a": 1}'), fragment(0, None, None, '{"a": 2}')],
        [("call_1", "read", '{"a": 1}{"a": 2}')],
    ),
}


@pytest.mark.parametrize(("chunks", "calls"), STREAMS.values(), ids=STREAMS.keys())
def test_calls_are_as_the_provider_meant_them(chunks: list[Json], calls: Calls) -> None:
    assert calls_of([*chunks, END]) == calls


@pytest.mark.parametrize("chunks", [chunks for chunks, _ in STREAMS.values()], ids=STREAMS.keys())
def test_the_log_has_the_arguments_as_they_came(chunks: list[Json]) -> None:
    came = [
        entry["function"].get("arguments", "")
        for chunk in chunks
        for entry in chunk["choices"][0]["delta"]["tool_calls"]
    ]

    logged = [event.arguments for event in events_of([*chunks, END]) if isinstance(event, e.ToolCallArgumentsDelta)]

    assert "".join(logged) == "".join(came)


def test_a_custom_tool_has_its_input_as_arguments() -> None:
    chunks = [
        delta(
            tool_calls=[{"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "select "}}]
        ),
        delta(tool_calls=[{"index": 0, "custom": {"input": "1"}}]),
    ]

    (call,) = step_of([*chunks, END]).message.tool_calls

    assert (call.id, call.name, call.arguments, call.custom) == ("call_1", "sql", "select 1", True)


SERVERS: dict[str, dict[str, Any]] = {
    "Anthropic's own search": {"id": "srvtoolu_01"},
    "a tool of an MCP server": {"id": "mcptoolu_01"},
    "one that is marked": {"id": "call_1", "provider_executed": True},
}


@pytest.mark.parametrize("entry", SERVERS.values(), ids=SERVERS.keys())
def test_a_call_that_the_provider_has_run_is_no_call_of_ours(entry: dict[str, Any]) -> None:
    call_id, beside = entry["id"], {key: value for key, value in entry.items() if key != "id"}
    chunks = [
        fragment(0, call_id, "web_search", '{"query": ', **beside),
        fragment(0, None, None, '"tide"}'),
        fragment(1, "call_9", "find", "{}"),
        delta(content="At six."),
        END,
    ]

    view = view_of(chunks)

    message = view.turns[-1].steps[-1].message
    assert [(call.index, call.name) for call in message.tool_calls] == [(0, "find")]
    assert [call.name for call in view.pending_tool_calls] == ["find"]
    (part,) = [part for part in message.parts if part.kind == "server_call"]
    assert (part.data["id"], part.data["name"], part.data["arguments"]) == (call_id, "web_search", '{"query": "tide"}')


def test_a_call_of_a_type_that_only_its_provider_has_is_kept_as_it_came() -> None:
    entry = {"index": 0, "id": "call_1", "type": "code_interpreter", "code_interpreter": {"input": "1 + 1"}}

    (part,) = step_of([delta(tool_calls=[entry]), delta("stop")]).message.parts

    assert part.kind == "server_call"
    assert part.data["code_interpreter"] == {"input": "1 + 1"}


@pytest.mark.parametrize("piece", ['{"a": "', "}", '{"a": 1}', "{"])
def test_a_call_in_thousands_of_named_fragments_takes_a_time_that_grows_with_their_number(piece: str) -> None:
    def seconds(count: int) -> float:
        begun = time.process_time()
        events_of([fragment(0, "call_1", "f", "{"), *[fragment(0, "call_1", "f", piece)] * count])
        return time.process_time() - begun

    seconds(100)
    assert min(seconds(2000) for _ in range(2)) < 8 * max(min(seconds(500) for _ in range(2)), 0.02)
