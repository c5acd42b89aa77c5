"""Conversations of any length for the benchmarks that read: turns of a question and an answer, every fourth with a
tool call and its result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.systems import Message, call_of, text_of
from benchmarks.workload import Workload

_WORDS = 80  # about 400 characters a message
_WITH_TOOL = 4  # turns from one tool call to the next


class Script:
    """The n-th turn (from 1), the same in every run."""

    def __init__(self, workload: Workload | None = None) -> None:
        self._workload = workload or Workload()

    def turn(self, number: int) -> list[Message]:
        """Its messages: the user's first."""
        question = {"role": "user", "content": self._text(number, 0)}
        answer = {"role": "assistant", "content": self._text(number, 1)}
        if number % _WITH_TOOL:
            return [question, answer]
        call_id, arguments = f"call_{number:08d}", json.dumps({"query": self._text(number, 2)[:60]})
        calling: dict[str, Any] = {**answer, "tool_calls": [call_of(call_id, "search", arguments)]}
        result = {"role": "tool", "tool_call_id": call_id, "content": self._text(number, 3)}
        return [question, calling, result, {"role": "assistant", "content": self._text(number, 4)}]

    def turns(self, count: int) -> list[Message]:
        """The messages of the first `count` turns."""
        return [message for number in range(1, count + 1) for message in self.turn(number)]

    def messages(self, count: int) -> list[Message]:
        """The messages of the fewest whole turns that have as many."""
        messages: list[Message] = []
        number = 0
        while len(messages) < count:
            number += 1
            messages += self.turn(number)
        return messages

    def _text(self, number: int, part: int) -> str:
        first = (number * 8 + part) * _WORDS
        return self._workload.text(0, first, first + _WORDS)


def same(ours: Iterable[Message], theirs: Iterable[Message]) -> bool:
    """Whether two lists say the same to a provider."""
    return [_plain(message) for message in ours] == [_plain(message) for message in theirs]


def _plain(message: Message) -> tuple[Any, ...]:
    calls: Sequence[Any] = message.get("tool_calls") or ()
    called = [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    return message["role"], text_of(message), called, message.get("tool_call_id")
