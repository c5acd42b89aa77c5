"""Every error that turnlog raises.

::

    TurnlogError
    +-- InvalidInputError            what the caller gave cannot be recorded; names the field
    |   +-- LimitExceededError       it is larger than a limit; names the limit
    |   +-- UnknownPositionError     a cursor that the session does not have: begin anew from its view
    +-- SessionNotFoundError         unknown, deleted, or somebody else's: the same error for all three
    +-- SessionExistsError           start_session with an id that is taken
    +-- SessionOwnedError            assign_owner on a session that has an owner
    +-- StepError
    |   +-- TurnInProgressError      a second completion or turn while one is open and alive
    |   +-- StepClosedError          an append to a step that is not open
    |   +-- TurnClosedError          a turn that has ended, or that somebody else owns by now
    |   +-- OwnTurnError             a tool, or the owner of a turn, waits for an answer that waits for this turn
    |   +-- ToolCallConflictError    two different calls with one id in one step
    +-- ToolResultError
    |   +-- UnknownToolCallError     no such call waits for a result, or was ever answered
    |   +-- ToolResultConflictError  a second, different result for an answered call
    |   +-- ToolRunningError         the owner of the turn runs the tool of this call
    +-- PromptError                  the prompt cannot be built as asked
    |   +-- PromptTooLongError       the last turn alone has more tokens than fit
    +-- StoreError
    |   +-- StoreUnavailableError    Postgres did not answer in time; the append may or may not be stored
    |   +-- AppendConflictError      other writers kept taking the position; nothing was stored
    |   +-- AppendRefusedError       Postgres refused what was sent; nothing was stored
    |   +-- SchemaVersionError       the schema is that of another version of turnlog, or missing
    |   +-- UnfitDatabaseError       the database cannot hold a log as it is; `hint` says what to do
    |   |   +-- DatabaseEncodingError    it, or the connection, is not UTF-8
    |   |   +-- DatabaseVersionError     its Postgres is too old
    |   |   +-- ReadOnlyDatabaseError    it is a standby, or read-only
    |   |   +-- PoolerError              the pooler in front of it does not allow transactions
    |   |   +-- MissingPrivilegeError    its user lacks rights
    |   +-- UnreadableEventError     a stored event has an unknown topic or a broken body
    +-- ProjectionError              a projection cannot take an event, or cannot be rebuilt now
    +-- LogClosedError               the SessionLog was closed
    +-- WrongProcessError            the SessionLog was opened before this process was forked
    +-- WrongLoopError               the SessionLog was opened on another event loop
    +-- EmbeddedServersError         an embedded server did not start
        +-- EmbeddedServersMissingError   the extra `embedded` is not installed
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from turnlog.domain.quoting import QUOTED, cut, quoted


class TurnlogError(Exception):
    """The base of every error that turnlog raises."""


class InvalidInputError(TurnlogError, ValueError):
    """Input that cannot be recorded. `field` names it, with the path inside it, such as `metadata.a[1]`."""

    def __init__(self, field: str, reason: str) -> None:
        field = cut(field, 10 * QUOTED)
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class UnknownPositionError(InvalidInputError):
    """A cursor is of another session, or of a past that is gone, as after a restore or a failover. `last` is the
    position of the session's last event. Begin anew: read the view, and go on from its version."""

    def __init__(self, position: int, last: int) -> None:
        super().__init__(
            "after", f"the session has no position {position} that a reader has seen: its last one is {last}"
        )
        self.position = position
        self.last = last


class LimitExceededError(InvalidInputError):
    """Input, or what a provider sent, that is larger than turnlog takes. `limit` is the most that is allowed."""

    def __init__(self, field: str, reason: str, limit: int) -> None:
        super().__init__(field, reason)
        self.limit = limit


class SessionNotFoundError(TurnlogError, LookupError):
    """For this principal there is no such session: it is unknown, deleted, or owned by somebody else."""

    def __init__(self, session_id: object) -> None:
        asked = cut(str(session_id)) if isinstance(session_id, str | UUID) else quoted(session_id)
        super().__init__(f"no session {asked}")
        self.session_id = session_id


class SessionExistsError(TurnlogError):
    """`start_session` was given an id that is already taken."""


class SessionOwnedError(TurnlogError):
    """`assign_owner` on a session that already has an owner."""


class StepError(TurnlogError):
    """An append to a step, or the opening of one, was refused."""


class TurnInProgressError(StepError):
    """A completion or a turn was begun while a step is open, or a turn in hand, and its writer is alive.

    `step_id` is the open step, or the id of the run of the turn in hand; `turn_id` is that turn, None for a step alone.
    `writer` is the id of the writer; `host` and `pid` name the process. `until` is when the writer's lease runs out
    unless it is renewed; None for one of this open log.
    """

    def __init__(
        self,
        step_id: str,
        since: datetime,
        writer: str = "",
        host: str = "",
        pid: int | None = None,
        until: datetime | None = None,
        turn_id: str | None = None,
    ) -> None:
        what = f"step {step_id} has been written" if turn_id is None else f"turn {turn_id} has been in hand"
        where = f", by process {pid} on {host}" if pid is not None else ""
        lease = f"; its lease runs until {until.isoformat()}" if until else ""
        super().__init__(f"{what} since {since.isoformat()}{where}{lease}")
        self.step_id = step_id
        self.turn_id = turn_id
        self.since = since
        self.writer = writer
        self.host = host
        self.pid = pid
        self.until = until


class StepClosedError(StepError):
    """The step has ended, was taken over, or was never opened: nothing can be appended to it.

    `reason` says why it was cancelled or abandoned, if somebody else ended it.
    """

    def __init__(self, step_id: str, reason: str | None = None) -> None:
        super().__init__(f"step {step_id} is not open" + (f": {reason}" if reason else ""))
        self.step_id = step_id
        self.reason = reason


class TurnClosedError(StepError):
    """The turn has ended, or somebody else owns it by now: its earlier owner can append nothing to it."""

    def __init__(self, turn_id: str, reason: str) -> None:
        super().__init__(f"turn {turn_id} {reason}")
        self.turn_id = turn_id
        self.reason = reason


class OwnTurnError(StepError):
    """A tool, or the block that has a turn in hand, waits for an answer that has to wait until this turn has ended."""

    def __init__(self, turn_id: str) -> None:
        super().__init__(
            f"turn {turn_id} cannot wait for itself: the answer comes after it. Leave it, or only say the message"
        )
        self.turn_id = turn_id


class ToolCallConflictError(StepError):
    """Two different calls in one step were given the same id."""


class ToolResultError(TurnlogError):
    """A tool result was refused."""


class UnknownToolCallError(ToolResultError):
    """No call with this id waits for a result, and none was ever answered."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"call_id: no tool call {quoted(call_id)} in this session")
        self.call_id = call_id


class ToolResultConflictError(ToolResultError):
    """The call already has a final result, and this one is different."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"content: tool call {quoted(call_id)} already has another final result")
        self.call_id = call_id


class ToolRunningError(ToolResultError):
    """The owner of the turn runs the tool of this call, and its result is the one that counts."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"the tool of call {quoted(call_id)} is run by the owner of the turn, who brings its result")
        self.call_id = call_id


class PromptError(TurnlogError):
    """The prompt cannot be built as asked."""


class PromptTooLongError(PromptError):
    """The last turn alone, with its tool results shortened, has more tokens than `max_tokens`."""

    def __init__(self, tokens: int, max_tokens: int) -> None:
        super().__init__(f"the last turn has {tokens} tokens, the window {max_tokens}")
        self.tokens = tokens
        self.max_tokens = max_tokens


class StoreError(TurnlogError):
    """The event store could not do what was asked."""


class StoreUnavailableError(StoreError):
    """Postgres could not be reached in time. An append that was under way may or may not be stored. A retry with the
    same message_id or call id finds out, and changes nothing if it is."""


class AppendConflictError(StoreError):
    """Other writers kept taking the position. Nothing was stored."""


class AppendRefusedError(StoreError):
    """Postgres refused what was sent. Nothing was stored."""


class SchemaVersionError(StoreError):
    """The database holds the schema of another version of turnlog, or none."""


class UnfitDatabaseError(StoreError):
    """The database, or the way to it, cannot hold a log as it is. `hint` says what to do about it."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class DatabaseEncodingError(UnfitDatabaseError):
    """The database, or the connection to it, is in an encoding other than UTF-8."""


class DatabaseVersionError(UnfitDatabaseError):
    """The database is of a Postgres that is too old."""


class ReadOnlyDatabaseError(UnfitDatabaseError):
    """The database takes no writes: it is a standby, or its transactions are read-only."""


class PoolerError(UnfitDatabaseError):
    """The pooler in front of the database does not allow transactions."""


class MissingPrivilegeError(UnfitDatabaseError):
    """The user of the database may not do what a log needs. `hint` has the statements that grant it."""


class UnreadableEventError(StoreError):
    """A stored event has a topic that this version does not know, or a body that does not parse."""


class ProjectionError(TurnlogError):
    """A projection cannot go on, and keeps its position. `log_position` is that of the event that it cannot apply; None
    if no event is to blame."""

    def __init__(self, projection: str, reason: str, log_position: int | None = None) -> None:
        where = "" if log_position is None else f", log position {log_position}"
        super().__init__(f"projection {projection}{where}: {reason}")
        self.projection = projection
        self.log_position = log_position


class LogClosedError(TurnlogError):
    """The SessionLog was closed."""


class WrongProcessError(TurnlogError):
    """The SessionLog was opened by the process that this one was forked from. Each process opens a log of its own."""


class WrongLoopError(TurnlogError):
    """The SessionLog was opened on another event loop. Each loop opens a log of its own."""


class EmbeddedServersError(TurnlogError):
    """An embedded server did not start."""


class EmbeddedServersMissingError(EmbeddedServersError):
    """The packages of the extra `embedded` are not installed."""
