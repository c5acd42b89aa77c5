"""Digests of conversations: the same however a client writes it, and another one where anything else is said."""

from __future__ import annotations

from typing import Any

import pytest

from turnlog.domain.foreign import ForeignFormat
from turnlog.infrastructure.server.proxy.trail import MOST_BOUNDARIES, Said, Trail

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1, "b": [2]}'}}
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "21 C"},
    {"role": "assistant", "content": "It is warm."},
    {"role": "user", "content": "Thanks"},
]


def trail(messages: list[dict[str, Any]], format_: ForeignFormat = "chat", scope: str = "u1") -> Trail:
    """The trail of a conversation."""
    made = Trail(scope)
    made.take(format_, messages)
    return made


def changed(number: int, **fields: Any) -> list[dict[str, Any]]:
    """The conversation with another message in this place."""
    return [message | fields if at == number else message for at, message in enumerate(TALK)]


@pytest.mark.parametrize(
    "same",
    [
        changed(1, content=[{"type": "text", "text": "Hello"}]),
        changed(2, content=[{"type": "text", "text": "I "}, {"type": "text", "text": "look."}]),
        changed(2, tool_calls=[{**CALL, "function": {"name": "f", "arguments": '{"b":[2],"a":1}'}, "index": 0}]),
        changed(2, refusal=None, annotations=[], audio=None, reasoning_content="hm"),
        changed(4, content="It is warm.\n"),
        changed(0, content="Be brief. It is noon."),
    ],
)
def test_a_conversation_is_the_same_however_it_is_written(same: list[dict[str, Any]]) -> None:
    assert trail(same).end == trail(TALK).end
    assert trail(same).boundaries == trail(TALK).boundaries


@pytest.mark.parametrize(
    "other",
    [
        changed(1, content="Hello?"),
        changed(2, content="I looked."),
        changed(2, tool_calls=[{**CALL, "id": "c2"}]),
        changed(2, tool_calls=[{**CALL, "function": {"name": "g", "arguments": '{"a": 1, "b": [2]}'}}]),
        changed(2, tool_calls=[{**CALL, "function": {"name": "f", "arguments": '{"a": 2, "b": [2]}'}}]),
        changed(2, tool_calls=None),
        changed(3, content="22 C"),
        changed(3, tool_call_id="c2"),
        changed(5, content=[{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]),
        changed(1, role="assistant"),
        TALK[:-1],
        [*TALK, {"role": "user", "content": ""}],
        [TALK[0], *TALK[2:]],
        [*TALK[:4], TALK[5], TALK[4]],
    ],
)
def test_a_conversation_is_another_one_where_anything_else_is_said(other: list[dict[str, Any]]) -> None:
    assert trail(other).end != trail(TALK).end


def test_what_the_system_says_has_a_digest_of_its_own() -> None:
    other = trail(changed(0, content="Be long."))
    assert (other.end, other.system != trail(TALK).system) == (trail(TALK).end, True)


def test_where_a_cache_ends_is_not_what_is_said() -> None:
    found = {"type": "search_result", "source": "a", "title": "b", "content": [{"type": "text", "text": "c"}]}
    marked = {**found, "cache_control": {"type": "ephemeral"}}
    plain, cached = ([{"role": "user", "content": [one, {"type": "text", "text": "?"}]}] for one in (found, marked))
    assert trail(plain, "anthropic").end == trail(cached, "anthropic").end


def test_somebody_else_comes_to_other_digests() -> None:
    assert trail(TALK, scope="u2").end != trail(TALK).end


def test_an_answer_ends_at_the_boundary_that_the_next_request_has() -> None:
    asked, whole = trail(TALK[:2]), trail(TALK)
    assert asked.boundaries == []
    assert [one.length for one in whole.boundaries] == [3, 5]
    assert asked.answered(Said(("I look.",), (("c1", "f", '{"a":1,"b":[2]}'),))) == whole.boundaries[0].fingerprint
    assert trail(TALK[:4]).answered(Said(("It ", "is warm."))) == whole.boundaries[1].fingerprint


def test_the_three_apis_say_the_same() -> None:
    anthropic: list[dict[str, Any]] = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"b": [2], "a": 1}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "21 C"}]},
        {"role": "assistant", "content": "It is warm."},
        {"role": "user", "content": "Thanks"},
    ]  # fmt: skip
    responses: list[dict[str, Any]] = [
        {"role": "user", "content": "Hello"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1,"b":[2]}'},
        {"type": "function_call_output", "call_id": "c1", "output": "21 C"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is warm."}]},
        {"role": "user", "content": "Thanks"},
    ]
    assert trail(anthropic, "anthropic").end == trail(responses, "responses").end == trail(TALK).end


def test_the_longest_beginnings_are_looked_for_and_no_more() -> None:
    long = [{"role": role, "content": str(number)} for number in range(200) for role in ("user", "assistant")]
    found = trail([*long, {"role": "user", "content": "end"}]).boundaries
    assert len(found) == MOST_BOUNDARIES
    assert found[-1].length == 400


def test_ids_tell_a_message_from_the_same_one_elsewhere() -> None:
    twice = [{"role": "user", "content": "yes"}, {"role": "assistant", "content": "ok"}] * 2
    ids = trail(twice).ids
    assert len(set(ids)) == 4
    assert trail(twice[:3]).ids == ids[:3]
