"""A log belongs to the process and to the event loop that opened it."""

from __future__ import annotations

import asyncio
import inspect
import threading

from tests.support.forks import fork_and_go_on
from tests.support.log_paths import LOG_PATHS, PROJECTION_PATHS, Begun, errors_of
from tests.support.processes import Child
from turnlog import Session, SessionLog, Settings
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.tables.projections import Projections

_INERT = {"open", "step_id", "traced"}
"""Names that do nothing with an open log."""


def methods(cls: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(cls, callable) if not name.startswith("_")} - _INERT


async def test_every_way_into_a_log_is_tried(log: SessionLog, session: Session) -> None:
    assert methods(SessionLog) == set(LOG_PATHS), "a new method belongs into LOG_PATHS"
    assert methods(Projections) == set(PROJECTION_PATHS), "a new method belongs into PROJECTION_PATHS"
    assert methods(Completion) <= set(Begun(session, [session, session]).paths), "a new method belongs into Begun"


async def test_a_forked_child_is_refused_at_once_and_the_parent_goes_on_undisturbed(settings: Settings) -> None:
    with Child(fork_and_go_on, settings) as parent:
        seen, is_whole, lost = await parent.hear()
        assert await parent.left() == 0
    assert {name for name, error in seen if error != "WrongProcessError"} == set()
    assert len(seen) > 40
    assert is_whole
    assert lost == []


async def test_another_event_loop_is_refused_at_once(log: SessionLog, session: Session) -> None:
    begun = Begun(session, [await log.start_session("u1") for _ in range(2)])
    await begun.begin()
    seen: list[tuple[str, str]] = []

    async def elsewhere() -> None:
        async with asyncio.timeout(20):
            seen.extend([each async for each in errors_of(log, session, begun)])

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert {name for name, error in seen if error != "WrongLoopError"} == set()
    await session.say("still here")
    await begun.paths["text"]()
