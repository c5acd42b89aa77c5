"""Every way into a log, and into what is open on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from tests.support.inputs import NOBODY, PATHS
from tests.support.recording import numbers
from turnlog import SYSTEM, Session, SessionLog, TurnlogError
from turnlog.infrastructure.repair.importing import Conversation
from turnlog.infrastructure.tables.usage import UsageProjection

_TURN = [{"role": "user", "content": "Hello"}]


async def _handle(log: SessionLog) -> Session:
    return log.session(uuid4(), SYSTEM)


async def _worker(log: SessionLog) -> Any:
    return log.projections.worker(UsageProjection())


async def _session_ids(log: SessionLog) -> Any:
    return [session_id async for session_id in log.session_ids(SYSTEM)]


LOG_PATHS: Mapping[str, Callable[[SessionLog], Awaitable[Any]]] = {
    "start_session": lambda log: log.start_session("u1"),
    "session": _handle,
    "list_sessions": lambda log: log.list_sessions(SYSTEM),
    "session_ids": _session_ids,
    "delete_session": lambda log: log.delete_session(uuid4(), SYSTEM),
    "assign_owner": lambda log: log.assign_owner(uuid4(), "u1"),
    "import_session": lambda log: log.import_session(_TURN, "u1"),
    "import_conversation": lambda log: log.import_conversation(Conversation(_TURN, "u1"), dry_run=True),
    "export_session": lambda log: anext(log.export_session(uuid4(), SYSTEM)),
    "import_exported": lambda log: log.import_exported([]),
    "repair": lambda log: log.repair(uuid4(), SYSTEM),
    "undo_repair": lambda log: log.undo_repair(uuid4(), SYSTEM),
    "usage": lambda log: log.usage(SYSTEM),
    "rebuild_views": lambda log: log.rebuild_views(),
    "reap": lambda log: log.reap(),
    "unfinished_turns": lambda log: log.unfinished_turns(SYSTEM),
    "waiting_tool_calls": lambda log: log.waiting_tool_calls(SYSTEM),
    "resume": lambda log: log.resume(lambda session: session.answer(NOBODY, model="m")),
}
"""By its name: each method of a log."""

PROJECTION_PATHS: Mapping[str, Callable[[SessionLog], Awaitable[Any]]] = {
    "catch_up": lambda log: log.projections.catch_up(UsageProjection()),
    "worker": _worker,
    "rebuild": lambda log: log.projections.rebuild(UsageProjection()),
    "drop": lambda log: log.projections.drop("usage"),
}


class Begun:
    """What was begun on a session before it is used elsewhere: a completion, a recording, and a follower."""

    def __init__(self, session: Session, others: list[Session]) -> None:
        self._completion = others[0].completion()
        self._recording = others[1].record(numbers(100, pause=0.01))
        self._following = session.follow()
        self._deltas = session.deltas()

    async def begin(self) -> None:
        """Begins all of them."""
        await self._completion.__aenter__()
        await anext(self._recording)
        await anext(self._following)
        await anext(self._deltas)

    @property
    def paths(self) -> Mapping[str, Callable[[], Awaitable[Any]]]:
        """By its name: what goes on with each."""
        completion = self._completion
        return {
            "text": lambda: completion.text("Hello"),
            "reasoning": lambda: completion.reasoning("Hello"),
            "refusal": lambda: completion.refusal("No"),
            "tool_call": lambda: completion.tool_call("c", "find"),
            "tool_call_delta": lambda: completion.tool_call_delta(0, id="c", name="find"),
            "function_call_delta": lambda: completion.function_call_delta(name="find"),
            "finish": completion.finish,
            "recording": lambda: anext(self._recording),
            "recording.aclose": self._recording.aclose,
            "following": lambda: anext(self._following),
            "deltas": lambda: anext(self._deltas),
        }


async def errors_of(log: SessionLog, session: Session, begun: Begun) -> AsyncIterator[tuple[str, str]]:
    """Tries every way. Gives its name, and the name of the error that it ended with, or "none"."""
    ways: dict[str, Callable[[], Awaitable[Any]]] = dict(begun.paths)
    ways |= {f"log.{name}": lambda path=path: path(log) for name, path in {**LOG_PATHS, **PROJECTION_PATHS}.items()}
    ways |= {f"session.{name}": lambda path=path: path(session) for name, path in PATHS.items()}
    for name, way in ways.items():
        error = "none"
        try:
            await way()
        except TurnlogError as refusal:
            error = type(refusal).__name__
        yield name, error
