"""One run of a tool: from the arguments that a model wrote to the result that it reads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from turnlog.infrastructure.answer.tool_context import ToolContext
from turnlog.infrastructure.answer.tool_result import ToolOutcome, outcome_of, refused
from turnlog.infrastructure.answer.tool_signature import Arguments, faults_of, is_async
from turnlog.infrastructure.answer.tools import Tool
from turnlog.infrastructure.tasks import started

logger = logging.getLogger("turnlog")

GRACE_SECONDS = 0.5
"""How long a tool that was cancelled has for its last words."""

_LET_GO = set[asyncio.Task[Any]]()
"""Cancelled tools that go on. The event loop keeps no task by itself."""


async def run_tool(tool: Tool, arguments: str, context: ToolContext) -> ToolOutcome:
    """Runs the tool once. `arguments` is what the model wrote.

    Whatever goes wrong is an outcome that the model can read: arguments that do not fit, an error of the tool, the end
    of its time, a result that is not JSON. Only a cancellation, and what is no Exception (KeyboardInterrupt), is
    raised. A tool that does not end when it is cancelled is let go: it goes on, and its result is dropped.
    """
    try:
        call = _bound(tool, arguments, context)
    except ValueError as error:
        return refused(f"The arguments of {tool.name} are not valid: {faults_of(error)}")
    except Exception as error:  # noqa: BLE001 types and validators may bring code of their own
        return _failed(tool, error)
    work = started(_result(call, is_async(tool.function)), name=f"tool {tool.name}")
    try:
        await asyncio.wait([work], timeout=tool.timeout)
        is_late = not work.done()
    finally:
        await _end(work)
    return _timed_out(tool) if is_late else _outcome(tool, work)


def approval_needed(tool: Tool, arguments: str) -> bool:
    """Whether somebody has to agree before this call is run. Not if its arguments are not valid: then it is not run,
    and the model is told why. A rule that raises asks for approval."""
    rule = tool.needs_approval
    if rule is False:
        return False
    try:
        parsed = _parsed(tool, arguments)
    except ValueError:
        return False
    except Exception:  # noqa: BLE001 types and validators may bring code of their own
        return True
    if rule is True:
        return True
    try:
        return bool(rule({**parsed.others, **parsed.named}))
    except Exception as error:
        logger.warning("the approval rule of tool %s failed, and approval is asked for", tool.name, exc_info=error)
        return True


def _parsed(tool: Tool, arguments: str) -> Arguments:
    if tool.signature is not None:
        return tool.signature.parse(arguments)
    found = json.loads(arguments.strip() or "{}")
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 it is the model's fault, as in `ToolSignature.parse`
    return Arguments(found, {})


def _bound(tool: Tool, arguments: str, context: ToolContext) -> Callable[[], Any]:
    if tool.function is None or tool.signature is None:
        raise TypeError("it has no function here")
    positional, named = tool.signature.bind(tool.signature.parse(arguments), context)
    return partial(tool.function, *positional, **named)


async def _result(call: Callable[[], Any], is_async: bool) -> Any:
    value = call() if is_async else await _on_thread(call)
    return await value if inspect.isawaitable(value) else value


async def _on_thread(call: Callable[[], Any]) -> Any:
    """What the call returns. Its thread is a daemon of its own: the end of a process, or the next tool, waits for no
    tool that was let go."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = context.run(call), None
        except BaseException as error:  # noqa: BLE001 it is raised where the call is awaited
            outcome = None, error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle, ended, outcome)

    threading.Thread(target=run, daemon=True, name="turnlog-tool").start()
    value, error = await ended
    if error is not None:
        raise error
    return value


def _settle(ended: asyncio.Future[Any], outcome: Any) -> None:
    if not ended.done():  # nobody waits any more
        ended.set_result(outcome)


async def _end(work: asyncio.Task[Any]) -> None:
    """Cancels a tool that still runs, and waits for it a little."""
    if work.done():
        return
    work.cancel()
    _LET_GO.add(work)
    work.add_done_callback(_LET_GO.discard)
    await asyncio.wait([work], timeout=GRACE_SECONDS)


def _outcome(tool: Tool, work: asyncio.Task[Any]) -> ToolOutcome:
    if work.cancelled():
        return _failed(tool, asyncio.CancelledError("it cancelled itself"))
    error = work.exception()
    if error is None:
        return outcome_of(tool.name, work.result())
    if not isinstance(error, Exception):
        raise error
    return _failed(tool, error)


def _timed_out(tool: Tool) -> ToolOutcome:
    logger.warning("tool %s did not end within %s seconds", tool.name, tool.timeout)
    return refused(f"{tool.name} did not end within {tool.timeout:g} seconds. It may have had effects.")


def _failed(tool: Tool, error: BaseException) -> ToolOutcome:
    logger.warning("tool %s failed", tool.name, exc_info=error)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 the error is the application's
        message = ""
    return refused(f"{tool.name} failed: {type(error).__name__}" + (f": {message}" if message else ""))
