"""The provider of `answer`, in a process of its own: what it costs is nobody's who is measured.

It says its URL as a line of JSON on stdout, and ends when its stdin does.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

from benchmarks.loops.provider import answer_text, delay_of
from benchmarks.loops.tools import CITY, RESULTS, TOOLS
from benchmarks.systems import Message, call_of
from turnlog.infrastructure.testing.answers import Failure, Recorded, Reply, Request
from turnlog.infrastructure.testing.provider import FakeProvider

_USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


def main(chunks: int) -> None:
    """Answers until there is nobody to tell when to stop."""

    def reply(request: Request) -> Reply:
        return _reply(request, chunks)

    with FakeProvider(reply) as provider:
        sys.stdout.write(json.dumps({"base_url": provider.base_url}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


def _reply(request: Request, chunks: int) -> Reply:
    """Two calls; and when their results are there, the text. The results are looked at: whoever runs no tools has no
    answer."""
    messages = request["messages"]
    turn = sum(message["role"] == "user" for message in messages)
    results = _last_results(messages)
    if results and results != RESULTS:
        return Failure(400, message=f"The results of the tools are {results}")
    return Recorded(_stream(request["model"], turn, chunks if results else 0), delay=delay_of(request["model"]))


def _last_results(messages: list[Message]) -> list[Any]:
    results = list[Any]()
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, message["content"])
    return results


@cache
def _stream(model: str, turn: int, chunks: int) -> tuple[bytes, ...]:
    deltas: list[Message] = [{"content": text} for text in answer_text(turn, chunks)] if chunks else _calls(turn)
    first: Message = {"role": "assistant", "content": None}
    deltas[0] = {**first, **deltas[0]}
    choices: list[Message] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    reason = "stop" if chunks else "tool_calls"
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason})
    head: Message = {
        "id": f"chatcmpl-{turn}",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
    }
    parts = [*({**head, "choices": [choice]} for choice in choices), {**head, "choices": [], "usage": _USAGE}]
    return tuple(json.dumps(part).encode() for part in parts)


def _calls(turn: int) -> list[Message]:
    """A chunk that opens each call, and two with its arguments."""
    arguments = json.dumps({"city": CITY})
    parts = list[Message]()
    for index, name in enumerate(TOOLS):
        opened = {"index": index, **call_of(f"call_{turn}_{index}", name, "")}
        more = [{"index": index, "function": {"arguments": part}} for part in (arguments[:6], arguments[6:])]
        parts += [{"tool_calls": [part]} for part in (opened, *more)]
    return parts


if __name__ == "__main__":
    main(int(sys.argv[1]))
