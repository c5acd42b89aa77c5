"""Values that no caller should give, and the public methods that get them: found by reflection, so that a new method or
argument is among them."""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import date
from typing import Any
from uuid import UUID

from turnlog import SYSTEM, Completion, Session, SessionLog


def nest(kind: str, depth: int) -> Any:
    """A list or a dict in itself, this deep."""
    value: Any = "core"
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


def _in_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Unspeakable:
    """Cannot be shown, compared or measured."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __len__(self) -> int:
        raise RuntimeError("no")


HOSTILE: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "a negative number": lambda: -1,
    "a large number": lambda: 2**64,
    "a number of 5,000 digits": lambda: 10**5_000,
    "a fraction": lambda: 1.5,
    "not a number": lambda: math.nan,
    "infinity": lambda: math.inf,
    "the empty text": lambda: "",
    "a blank": lambda: " \n",
    "NUL": lambda: "a\0b",
    "half a character": lambda: "\ud83d",
    "a text of a megabyte": lambda: "k" * 1_000_000,
    "bytes": lambda: b"\xff\x00",
    "an empty list": list,
    "a list": lambda: ["a"],
    "a deep list": lambda: nest("list", 5_000),
    "a list in itself": _in_itself,
    "a list of the number": lambda: [10**5_000],
    "an empty dict": dict,
    "a deep dict": lambda: nest("dict", 5_000),
    "a long key": lambda: {"k" * 1_000_000: 1},
    "a key that is no text": lambda: {1: 2},
    "half a character as a key": lambda: {"\ud83d": 1},
    "not a number in a dict": lambda: {"a": math.nan},
    "a number of 5,000 digits in a dict": lambda: {"a": 10**5_000},
    "an object in a dict": lambda: {"a": object()},
    "a set": lambda: {1},
    "an object": object,
    "something unspeakable": Unspeakable,
    "a function": lambda: lambda *_: "x",
    "a very long range": lambda: range(10**12),
    "a UUID": lambda: UUID(int=7),
    "a day": lambda: date(2026, 1, 1),
    "a class": lambda: ValueError,
}


async def no_chunks() -> AsyncIterator[dict[str, Any]]:
    for chunk in list[dict[str, Any]]():
        yield chunk


class Client:
    """A provider's client whose model has nothing to say."""

    def __init__(self) -> None:
        self.chat = self.completions = self

    async def create(self, **_: Any) -> AsyncIterator[Any]:
        """A stream without chunks."""
        return no_chunks()


GOOD: dict[str, Callable[[], Any]] = {
    "user_id": lambda: "u1",
    "principal": lambda: SYSTEM,
    "role": lambda: "user",
    "content": lambda: "hello",
    "stream": no_chunks,
    "call_id": lambda: "c1",
    "title": lambda: "a title",
    "patch": lambda: {"a": 1},
    "counter": lambda: "clicks",
    "key": lambda: "k",
    "usage": lambda: {"prompt_tokens": 1},
    "summary": lambda: "in short",
    "upto": lambda: 1,
    "version": lambda: 1,
    "messages": lambda: [{"role": "user", "content": "hi"}],
    "lines": list,
    "response": lambda: {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "hi"}}]},
    "text": lambda: "hello",
    "id": lambda: "c1",
    "name": lambda: "find",
    "index": lambda: 0,
    "client": Client,
    "model": lambda: "m",
    "answer": lambda: lambda session: None,
    "by": lambda: "ada",
    "conversation": lambda: None,  # anything: whatever it is, it must not raise what is not an error of turnlog
}
"""What is given for the arguments that a call must have, apart from the session's id."""


def methods() -> Iterator[tuple[str, str, list[inspect.Parameter]]]:
    """The class, the name and the parameters of each public method that takes something."""
    for owner in (SessionLog, Session, Completion):
        for name, function in inspect.getmembers(owner, callable):
            if name.startswith("_") or name == "open":  # its errors are about settings
                continue
            parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
            if parameters:
                yield owner.__name__, name, parameters


def arguments(
    parameters: list[inspect.Parameter], hostile: dict[str, Any], session_id: UUID
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the named arguments: good ones, but for those that are given here."""
    positional, named = list[Any](), dict[str, Any]()
    for parameter in parameters:
        if parameter.name in hostile:
            value = hostile[parameter.name]
        elif parameter.name == "session_id":
            value = session_id
        elif parameter.default is inspect.Parameter.empty and parameter.kind is not parameter.VAR_KEYWORD:
            value = GOOD[parameter.name]()  # a new argument gets a good value there
        else:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            named["prompt_tokens"] = value
        elif parameter.kind is parameter.KEYWORD_ONLY or positional_gap(parameters, parameter, positional):
            named[parameter.name] = value
        else:
            positional.append(value)
    return positional, named


def positional_gap(parameters: list[inspect.Parameter], parameter: inspect.Parameter, given: list[Any]) -> bool:
    """Whether a parameter before this one was left out."""
    return parameters.index(parameter) != len(given)


async def outcome(result: Any) -> None:
    """Waits for what a call gives, or for the first thing of it."""
    if hasattr(result, "__aenter__"):
        async with result:
            pass
    elif isinstance(result, Awaitable):
        await result
    elif hasattr(result, "__aiter__"):
        try:
            await anext(aiter(result))
        except StopAsyncIteration:
            pass
        finally:
            await result.aclose()
