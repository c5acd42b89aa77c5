"""Another principal's session cannot be told from one that is not there: not by the answer, not by what is done for it,
and not by the time that it takes."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.inputs import NOBODY, PATHS
from tests.support.sessions import answer, talked
from turnlog import Session, SessionLog, SessionNotFoundError, Settings, TurnlogError

Ask = Callable[[SessionLog, UUID], Awaitable[Any]]


def _of(method: Callable[[Session], Awaitable[Any]]) -> Ask:
    return lambda log, session_id: method(log.session(session_id, "mallory"))


MORE: Mapping[str, Callable[[Session], Awaitable[Any]]] = {
    "live page": lambda s: s.live(limit=3).__aenter__(),
    "a small window": lambda s: s.prompt(max_tokens=1),
    "a window of another API": lambda s: s.prompt("anthropic", max_tokens=10),
    "a window that is counted": lambda s: s.prompt(max_tokens=10, count_tokens=_never),
    "a prompt of another API": lambda s: s.prompt("responses"),
    "events after the end": lambda s: anext(s.events(10**9)),
    "events from the middle": lambda s: anext(s.events(3)),
    "following after the end": lambda s: anext(s.follow(10**9)),
    "deltas after the end": lambda s: anext(s.deltas(10**9)),
    "a past that is there": lambda s: s.at(2),
    "a past that is not there": lambda s: s.at(10**9),
    "a fork of what is not there": lambda s: s.fork(10**9),
    "a compaction of what is not there": lambda s: s.compact("x", 10**9),
    "a known call": lambda s: s.add_tool_result("call-1", "21 C", "pending"),
    "a known message": lambda s: s.say("again", message_id="m-1"),
    "an answer to a known message": lambda s: s.answer(NOBODY, model="m", message="again", message_id="m-1"),
    "going on with a turn": lambda s: s.answer(NOBODY, model="m"),
    "the deltas of an answer": lambda s: anext(aiter(s.answer(NOBODY, model="m", message="Hello"))),
    "the turn of a known message": lambda s: s.turn("m-1").__aenter__(),
}
OF_THE_LOG: Mapping[str, Ask] = {
    "session": lambda log, session_id: log.session(session_id, "mallory")._checked(),
    "delete_session": lambda log, session_id: log.delete_session(session_id, "mallory"),
    "repair": lambda log, session_id: log.repair(session_id, "mallory"),
    "repair, tried": lambda log, session_id: log.repair(session_id, "mallory", dry_run=True),
    "undo_repair": lambda log, session_id: log.undo_repair(session_id, "mallory"),
}
ASKS: Mapping[str, Ask] = {**{name: _of(way) for name, way in {**PATHS, **MORE}.items()}, **OF_THE_LOG}


def _never(_: Any) -> int:
    raise AssertionError("a stranger's messages were counted")


async def said(ask: Ask, log: SessionLog, session_id: UUID) -> tuple[str, str]:
    """What a stranger learns, without the id that was asked for."""
    try:
        result = await ask(log, session_id)
    except TurnlogError as error:
        return type(error).__name__, str(error).replace(str(session_id), "the id")
    return "answer", repr(result)


async def a_long_session(log: SessionLog, turns: int) -> Session:
    """A session of somebody else's, which is in the caches of this process and of Redis."""
    session = await talked(await log.start_session("alice"), turns)
    await session.say("known", message_id="m-1")
    await answer(session, *("text " for _ in range(300)))
    async with session.completion() as completion:
        await completion.tool_call("call-1", "find", "{}")
        await completion.finish("tool_calls")
    await session.view(), await session.prompt(), await session.prompt("anthropic")
    return session


@contextmanager
def counted(log: SessionLog, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is asked of Postgres and Redis."""
    asked = list[str]()
    store, calls = log._parts.store, log._parts.views._cache._calls

    def counting(name: str, owner: Any, method: str) -> None:
        inner = getattr(owner, method)

        def count(*args: Any, **options: Any) -> Any:
            asked.append(name)
            return inner(*args, **options)

        patch.setattr(owner, method, count)

    with monkeypatch.context() as patch:
        counting("standing", store.standings, "ask")
        counting("read", store._threads, "run")
        counting("redis", calls, "attempt")
        counting("append", log._parts.group_commit, "put")
        yield asked


def test_every_method_is_asked() -> None:
    methods = {name for name, _ in inspect.getmembers(Session, callable) if not name.startswith("_")}
    assert methods | {"await"} == set(PATHS)


async def test_a_stranger_learns_nothing_and_costs_one_question(
    log: SessionLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await a_long_session(log, 30)
    async with SessionLog.open(settings) as other:  # of which some never saw the session
        for each in (log, other):
            version = (await session.view()).version
            for name, ask in ASKS.items():
                learnt = dict[str, tuple[tuple[str, str], list[str]]]()
                for what, session_id in (("there", session.id), ("unknown", uuid4())):
                    with counted(each, monkeypatch) as asked:
                        learnt[what] = await said(ask, each, session_id), asked
                assert learnt["there"] == learnt["unknown"], name
                assert learnt["there"][1] == ["standing"], name
                expected = ("answer", "False") if name == "delete_session" else (SessionNotFoundError.__name__,)
                assert learnt["there"][0][: len(expected)] == expected, name
            assert (await session.view()).version == version


@pytest.mark.long
async def test_a_stranger_waits_as_long_for_a_long_session_as_for_none(log: SessionLog) -> None:
    session = await a_long_session(log, 2_000)
    for name, ask in ASKS.items():
        for _ in range(3):  # other work on the machine is no fault
            took: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(61):
                for is_there in (True, False):
                    session_id = session.id if is_there else uuid4()
                    began = time.perf_counter()
                    await said(ask, log, session_id)
                    took[is_there].append(time.perf_counter() - began)
            ratio = median(took[True]) / median(took[False])
            if 0.8 < ratio < 1.25:
                break
        assert 0.8 < ratio < 1.25, (name, ratio)
