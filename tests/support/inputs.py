"""Bad input: how a test says that it is refused and leaves no trace, and every way into a session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import pytest

from tests.support.recording import spoken
from turnlog import InvalidInputError, Session, SessionLog
from turnlog.infrastructure.append.exchanged import Sent

LIMIT = 1_000
"""Bytes that a message may have in these tests."""

TOO_LONG = "x" * (LIMIT + 1)
TOO_LONG_IN_BYTES = "\u20ac" * (LIMIT // 3 + 1)  # three bytes a character


async def events_in(log: SessionLog) -> int:
    """How many events the whole log holds."""
    return int((await log._parts.store.schema.statistics())["events"])


@asynccontextmanager
async def nothing_stored(log: SessionLog) -> AsyncIterator[None]:
    before = await events_in(log)
    yield
    assert await events_in(log) == before


@contextmanager
def refused(field: str) -> Iterator[None]:
    """The input is refused, and the error names the field."""
    with pytest.raises(InvalidInputError) as error:
        yield
    assert error.value.field == field
    assert str(error.value).startswith(f"{field}: ")


async def is_taken(attempt: Awaitable[Any]) -> bool:
    try:
        await attempt
    except InvalidInputError:
        return False
    return True


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


async def _awaited(session: Session) -> Session:
    return await session


class _Nobody:
    """A provider's client that nothing may be asked of."""

    @property
    def chat(self) -> Self:
        return self

    @property
    def completions(self) -> Self:
        return self

    async def create(self, **_: Any) -> Any:
        raise AssertionError("a provider was asked")


NOBODY = _Nobody()

EXCHANGED = Sent("chat", [{"role": "user", "content": "Hello"}], ["exchanged-1"])

PATHS: Mapping[str, Callable[[Session], Awaitable[Any]]] = {
    "add_message": lambda s: s.add_message("user", "Hello"),
    "add_tool_result": lambda s: s.add_tool_result("call-1", "21 C"),
    "add_usage": lambda s: s.add_usage(prompt_tokens=1),
    "completion": lambda s: s.completion().__aenter__(),
    "events": lambda s: anext(s.events()),
    "increment": lambda s: s.increment("runs", "key"),
    "prompt": lambda s: s.prompt(),
    "prompt_at": lambda s: s.prompt_at(1),
    "record": lambda s: anext(s.record(spoken("Hello"))),
    "record_exchange": lambda s: anext(s.record_exchange(EXCHANGED, spoken("Hello"))),
    "say": lambda s: s.say("Hello"),
    "set_metadata": lambda s: s.set_metadata({"a": 1}),
    "cancel": lambda s: s.cancel(),
    "deltas": lambda s: anext(aiter(s.deltas())),
    "follow": lambda s: anext(aiter(s.follow())),
    "live": lambda s: s.live().__aenter__(),
    "record_whole": lambda s: s.record_whole({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}),
    "record_in_background": lambda s: s.record_in_background(spoken("Hello")),
    "set_title": lambda s: s.set_title("Mine"),
    "view": lambda s: s.view(),
    "turns": lambda s: s.turns(),
    "ui_chunks": lambda s: s.ui_chunks("m-1").begun(),
    "cursor": lambda s: s.cursor(),
    "explain_prompt": lambda s: s.explain_prompt(),
    "at": lambda s: s.at(1),
    "compact": lambda s: s.compact("So far so good.", 1),
    "fork": lambda s: s.fork(),
    "answer": lambda s: s.answer(NOBODY, model="m", message="Hello"),
    "turn": lambda s: s.turn().__aenter__(),
    "approve": lambda s: s.approve("call-1", by="boss"),
    "refuse": lambda s: s.refuse("call-1", by="boss"),
    "await": _awaited,
}
"""By its name: each way into a session."""
