"""Tasks that fail: whoever awaits one is told, and where nobody does it is logged. Nothing is lost in a task."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from tests.support.recording import SOON
from turnlog import Settings, Tool
from turnlog.infrastructure.answer.tool_run import run_tool
from turnlog.infrastructure.channels import Channels
from turnlog.infrastructure.composition import redis_client
from turnlog.infrastructure.redis_calls import RedisCalls
from turnlog.infrastructure.tasks import Background, Drain, Shared, cancel_and_wait, spawned, started


@pytest.fixture
async def unseen() -> AsyncIterator[list[dict[str, Any]]]:
    """What the loop says of tasks and futures that nobody has looked at."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    yield found
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)
    assert found == []


async def fail() -> None:
    await asyncio.sleep(0)
    raise OSError(errno.EMFILE, "Too many open files")


async def left() -> None:
    """Somebody awaits the task, and is cancelled before it has ended."""
    task = started(fail())
    waiting = asyncio.ensure_future(asyncio.shield(task))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([task, waiting])


async def shared() -> None:
    tasks = Shared[str, None]()
    waiting = asyncio.ensure_future(tasks.run("a key", fail))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await tasks.close()


async def ended_already() -> None:
    task = started(fail())
    await asyncio.wait([task])
    await cancel_and_wait(task)


@pytest.mark.parametrize("leave", [left, shared, ended_already])
async def test_what_a_task_raises_is_dropped_with_whoever_waited_for_it(
    unseen: list[Any], leave: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    await leave()
    assert caplog.records == []


async def in_background() -> None:
    tasks = Background()
    tasks.spawn(fail())
    await tasks.close()


async def drained() -> None:
    gathered = [1]
    tasks = Drain(gathered, fail)
    tasks.start()
    await tasks.close()


async def alone() -> None:
    await asyncio.wait([spawned(fail(), "counting")])


@pytest.mark.parametrize("work", [in_background, drained, alone])
async def test_what_nobody_waits_for_is_logged_when_it_fails(
    unseen: list[Any], work: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    await work()
    await asyncio.sleep(0)
    assert ["Too many open files" in record.getMessage() for record in caplog.records] == [True]
    assert caplog.records[0].levelno >= logging.WARNING


async def test_a_tool_that_fails_while_its_turn_is_cancelled_leaves_nothing_behind(unseen: list[Any]) -> None:
    running: list[asyncio.Task[Any]] = []

    async def find() -> None:
        running[0].cancel()
        raise ValueError("nothing there")

    tool: Any = Tool(find)
    running.append(asyncio.ensure_future(run_tool(tool, "{}", context=None)))  # type: ignore[arg-type]
    with suppress(asyncio.CancelledError):
        await running[0]


async def test_a_listener_that_cannot_begin_tries_again(settings: Settings, unseen: list[Any]) -> None:
    """As where a process has no descriptor left when it makes the client."""
    failures = 3

    def connect() -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError(errno.EMFILE, "Too many open files")
        return redis_client(settings)

    heard = asyncio.Event()
    listener = Channels(RedisCalls(None), connect).listener("a channel", lambda _: None, heard.set)
    listener.start()
    await asyncio.wait_for(heard.wait(), SOON)
    assert listener.hears
    await listener.stop()


async def test_a_listener_without_a_server_ends(unseen: list[Any]) -> None:
    none = partial(redis_client, Settings(redis_url="none"))
    listener = Channels(RedisCalls(None), none).listener("a channel", lambda _: None, lambda: None)
    listener.start()
    assert listener._task is not None
    await asyncio.wait_for(listener._task, SOON)
    await listener.stop()
