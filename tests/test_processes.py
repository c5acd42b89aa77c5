"""Several processes on one log: they append at once, are killed, frozen, taken over, and lose their server."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from tests import programs
from tests.processes import Child
from turnlog import Session, Settings


@pytest.mark.parametrize("processes", [2, 4, 16])
async def test_processes_that_append_to_one_session_at_once_get_one_order_and_no_error(
    session: Session, settings: Settings, processes: int
) -> None:
    count = 96 // processes
    names = [chr(ord("a") + number) for number in range(processes)]
    with ExitStack() as stack:
        children = [stack.enter_context(Child(programs.append, settings, session.id, name, count)) for name in names]
        assert await asyncio.gather(*(child.hear() for child in children)) == ["ready"] * processes
        for child in children:
            child.say("go")
        assert await asyncio.gather(*(child.hear() for child in children)) == ["done"] * processes
    events = [event async for event in session.events()]
    assert [event.position for event in events] == list(range(1, 2 + 2 * processes * count))
    assert [event.log_position for event in events] == sorted(event.log_position for event in events)
    view = await session.view()
    assert view.counters == {"said": dict.fromkeys(names, count)}
    said = [str(message["content"]) for message in view.messages]
    for name in names:
        assert [text for text in said if text.startswith(name)] == [f"{name}-{number}" for number in range(count)]
