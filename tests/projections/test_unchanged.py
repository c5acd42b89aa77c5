"""What was valid comes out as it went in, but for the normalisations that docs/prompts.md lists."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.support.conversations import FOLDERS, conversations
from tests.support.histories import alike, folded, imported, replayed
from tests.support.prompt_rules import check_chat_prompt
from turnlog.projections.prompt import build_prompt

Json = dict[str, Any]
FIELDS = ("role", "content", "name", "refusal", "function_call", "tool_calls", "tool_call_id")


def normalised(messages: list[Json], ids: bool = True) -> list[Json]:
    """The messages with the listed normalisations made, and no other."""
    said = [_message(message) for message in messages]
    renamed, places = dict[str, str](), (f"call {number}" for number in count())
    for message in [] if ids else said:
        _by_place(message, renamed, places)
    return said


def _message(message: Json) -> Json:
    said = {key: message[key] for key in FIELDS if message.get(key) is not None}  # fields that are null or unknown go
    if said["role"] == "tool":
        said.pop("name", None)  # a tool message has none
    if said["role"] == "assistant":
        said["content"] = said.get("content") or None  # an empty text beside calls is none
        said |= {"tool_calls": [_call(call) for call in said["tool_calls"]]} if said.get("tool_calls") else {}
    return said


def _call(call: Json) -> Json:
    function = call["function"]
    return {
        "id": call["id"],
        "type": "function",
        "function": {"name": function["name"], "arguments": function["arguments"] or "{}"},
    }


def _by_place(said: Json, renamed: dict[str, str], places: Iterator[str]) -> None:
    """An id that comes back is another one: the latest call of an id is the one that a result means."""
    for call in said.get("tool_calls") or ():
        place = next(places)
        renamed[call["id"]] = place
        call["id"] = place
    if "tool_call_id" in said:
        said["tool_call_id"] = renamed[said["tool_call_id"]]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("history", [imported, replayed])
def test_a_valid_conversation_comes_out_unchanged_but_for_what_is_listed(folder: Any, history: Any) -> None:
    for messages in conversations(folder, "valid"):
        view = folded(history(messages)).view()
        prompt = build_prompt(view.turns)

        check_chat_prompt(prompt)
        assert prompt == normalised(messages)
        assert view.faults == ()


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("history", [imported, replayed])
def test_of_a_conversation_whose_ids_come_back_the_ids_alone_are_changed(folder: Any, history: Any) -> None:
    for messages in conversations(folder, "valid_reused_ids"):
        prompt = build_prompt(folded(history(messages)).view().turns)

        check_chat_prompt(prompt)
        assert normalised(prompt, ids=False) == normalised(messages, ids=False)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("api", ["anthropic", "responses"])
def test_a_valid_prompt_of_another_api_comes_out_unchanged(folder: Any, api: Any) -> None:
    for messages in conversations(folder, "valid"):
        prompt = build_prompt(folded(imported(messages)).view().turns, api)
        given = prompt["messages"] if api == "anthropic" else prompt
        view = folded(imported(given, api)).view()
        again = build_prompt(view.turns, api)

        assert alike(again["messages"] if api == "anthropic" else again) == alike(given)
        assert view.faults == ()
