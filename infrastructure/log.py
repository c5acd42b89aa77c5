"""The log: starts, finds, lists and deletes sessions."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

from turnlog.domain.commands import AssignOwner, DeleteSession, WithdrawRepair
from turnlog.domain.errors import InvalidInputError, SessionNotFoundError
from turnlog.domain.inputs import (
    check_kind,
    checked_count,
    checked_day,
    checked_id,
    checked_range,
    checked_short,
    checked_start,
    checked_turn_statuses,
)
from turnlog.domain.state import Active
from turnlog.domain.turns import TurnStatus
from turnlog.infrastructure.append.reaper import Reaper
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.composition import opened
from turnlog.infrastructure.follow.session_watcher import FollowStatistics
from turnlog.infrastructure.log_of_turns import LogOfTurns, found_id
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.principal import SYSTEM, Principal, checked_principal
from turnlog.infrastructure.repair.exporting import ExportFormat, checked_export_format, exported
from turnlog.infrastructure.repair.importing import AnyFormat, Conversation, ImportReport, import_conversation
from turnlog.infrastructure.repair.repairing import repair
from turnlog.infrastructure.repair.restoring import each_line, restore
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.list_cursor import Filters, Place, place_of
from turnlog.infrastructure.store.prefixes import Prefixes
from turnlog.infrastructure.tables.projection import Progress
from turnlog.infrastructure.tables.projections import Projections
from turnlog.infrastructure.tables.usage_reports import UsageReports
from turnlog.infrastructure.tasks import cancel_and_wait, spawned
from turnlog.projections.report import ReapedStep, RepairReport
from turnlog.projections.usage_report import DIMENSIONS, Dimension, UsageFilter, UsageReport, checked_dimensions, plain
from turnlog.projections.view import SessionPage

if TYPE_CHECKING:
    from turnlog.infrastructure.store.appends import WriterStatistics

MAX_PAGE = 100
_FIRST_ID = UUID(int=0)

Statuses = TurnStatus | Iterable[TurnStatus] | None


class SessionLog(LogOfTurns):
    """An open log. Use it on the event loop on which it was opened:

        async with SessionLog.open() as log:
            session = await log.start_session(user_id="u1")

    Leaving the block stores all that was accepted, and closes the log.
    """

    def __init__(self, parts: LogParts) -> None:
        super().__init__(parts)
        self._reaper = Reaper(parts.store.leases, parts.aggregate)
        self._usage = UsageReports(parts.store)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings | None = None) -> AsyncIterator[SessionLog]:
        """Opens the log on DATABASE_URL and REDIS_URL, or on embedded servers if a URL is not set.

        Creates the schema if there is none. Everything that was accepted is stored on leaving. The log belongs to this
        process and to the running event loop. Raises StoreUnavailableError, UnfitDatabaseError with a hint,
        SchemaVersionError, EmbeddedServersError, and InvalidInputError for a bad setting.
        """
        check_kind(settings, Settings | None, "settings")
        async with opened(settings or Settings.from_env()) as parts, AsyncExitStack() as stack:
            log = cls(parts)
            if parts.settings.reap_seconds:
                reaping = spawned(log._reaper.keep_reaping(parts.settings.reap_seconds), "reaping")
                stack.push_async_callback(cancel_and_wait, reaping)
            stack.push_async_callback(log._usage.close)
            stack.callback(log._close)
            stack.callback(parts.home.let_go, stack)
            yield log

    @property
    def settings(self) -> Settings:
        """The settings of the log, with the URLs of the embedded servers."""
        return self._parts.settings

    @property
    def projections(self) -> Projections:
        """Projections over the whole log: catches them up, keeps them up to date, rebuilds them."""
        return Projections(self._parts.store, self._parts.settings, self._parts.check_open)

    @property
    def prefixes(self) -> Prefixes:
        """The beginnings of conversations that the recording proxy has seen."""
        self._parts.check_open()
        return self._parts.store.prefixes

    @property
    def writer_statistics(self) -> WriterStatistics:
        """The number of events that this log has stored, and of the commits that it took."""
        return self._parts.group_commit.statistics

    @property
    def follow_statistics(self) -> FollowStatistics:
        """The sessions that are followed through this log, their followers, and the reads that these took."""
        return self._parts.watcher.statistics()

    def traced(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Around what is done for a request with these headers: spans of the log are then part of the trace that
        `traceparent` names, unless there is a span already. Nothing without telemetry."""
        return self._parts.observer.asked_by(headers)

    async def start_session(
        self,
        user_id: str | None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        session_id: UUID | str | None = None,
    ) -> Session:
        """Starts a session that belongs to `user_id` (None: to nobody yet). It is durable when this returns.

        With the `session_id` of a session of the same user, returns that session. Raises SessionExistsError when the
        id is taken by another one, and InvalidInputError.
        """
        command = checked_start(now(), user_id, title, metadata)
        aggregate = await self._parts.begun(session_id, command.user_id)
        await aggregate.execute(command)
        return Session(self._parts, aggregate, command.user_id if command.user_id is not None else SYSTEM)

    async def list_sessions(
        self,
        principal: Principal,
        limit: int = 50,
        offset: int = 0,
        status: Statuses = None,
        *,
        cursor: str | None = None,
        with_total: bool | None = None,
    ) -> SessionPage:
        """A page of the principal's sessions (SYSTEM: all), newest activity first.

        `limit` is from 1 to 100. `cursor`: the `next_cursor` of the page before. It is for the same principal and
        status; a page after it costs what the first one does. Who was active meanwhile is ahead of it. An `offset` is
        for the first few pages: all that it skips is read. `status`: only sessions whose latest turn has this status,
        or one of these. A session in which an older version of turnlog wrote last has no status in lists.

        The page's `total` is known up to 1,000, and without a cursor. `with_total`: count them all, however many there
        are, which reads them all; False: count none. Raises InvalidInputError.
        """
        checked_range(limit, "limit", 1, MAX_PAGE)
        checked_range(offset, "offset", 0, checked_count(2**53, "offset"))
        check_kind(cursor, str | None, "cursor")
        check_kind(with_total, bool | None, "with_total")
        filters = Filters(self._whose(principal), checked_turn_statuses(status))
        if cursor is not None and offset:
            raise InvalidInputError("offset", "must be 0 with a cursor")
        place = Place() if cursor is None else place_of(cursor, filters)
        return await self._parts.store.lists.page(filters, limit, place, offset, with_total)

    def session_ids(self, principal: Principal) -> AsyncIterator[UUID]:
        """The ids of all the principal's sessions (SYSTEM: all), in an order that appends do not change."""
        return self._parts.store.lists.ids(self._whose(principal))

    async def delete_session(self, session_id: UUID | str, principal: Principal) -> bool:
        """Deletes the session: later appends to it are refused. False if the principal has no such session."""
        try:
            session = await self.session(session_id, principal)
            await self._parts.aggregate(session.id).execute(DeleteSession(now()))
        except SessionNotFoundError:
            return False
        self._parts.watcher.steps_ended(session.id)
        await self._parts.forget(session.id)
        return True

    async def assign_owner(self, session_id: UUID | str, user_id: str) -> None:
        """Gives a session without an owner to a user. Raises SessionOwnedError if it has one, SessionNotFoundError, and
        InvalidInputError."""
        user_id = checked_id(user_id, "user_id")
        aggregate = self._parts.aggregate(found_id(session_id))
        await aggregate.execute(AssignOwner(now(), user_id))
        await self._parts.forget(aggregate.session_id)

    async def import_session(
        self,
        messages: Any,
        user_id: str | None,
        session_id: UUID | str | None = None,
        format: AnyFormat = "auto",  # noqa: A002 the public name
        title: str | None = None,
        branches: bool = False,
    ) -> Session:
        """Imports a conversation of another system. Each message becomes one event that keeps it verbatim.

        `messages` are a list of messages, or what an export has of one conversation. Their `format` is seen from them,
        or given: Chat Completions messages (`chat`), Anthropic's (`anthropic`), Responses items, which OpenAI Agents
        keeps, too (`responses`), rows of a relational table (`rows`, sorted by their `sequence` if all have one), or
        what `chatgpt`, `claude_ai`, `claude_code`, `librechat` and `open_webui` export, and messages of the AI SDK
        (`ui`), `langchain`, `pydantic_ai` and `gemini`. Of a tree the branch is imported that is shown; with `branches`
        each other one, too, as a fork. With the `session_id` of an earlier import of the same user, only the messages
        after the imported ones are added. Nothing is repaired: what is wrong with the messages is in the view's
        `faults`.

        Raises SessionExistsError, and InvalidInputError that names the message: for a message that differs from the one
        that was imported with its number before, for messages of no known format, and for those of which nothing could
        be sent.
        """
        conversation = Conversation(messages, user_id, session_id, format, title, branches)
        report = await self.import_conversation(conversation)
        return self.session(report.session_id, SYSTEM if user_id is None else user_id)

    async def import_conversation(self, conversation: Conversation, dry_run: bool = False) -> ImportReport:
        """Like `import_session`, and says which format the messages were read in, and whether the conversation was new,
        extended, or already there. A dry run stores nothing, and raises what the import would raise."""
        check_kind(conversation, Conversation, "conversation")
        check_kind(conversation.branches, bool, "branches")
        check_kind(dry_run, bool, "dry_run")
        return await import_conversation(self._parts, conversation, dry_run)

    async def export_session(
        self,
        session_id: UUID | str,
        principal: Principal,
        format: ExportFormat = "turnlog",  # noqa: A002 the public name
        progress: Progress | None = None,
    ) -> AsyncIterator[str]:
        """The session as lines of JSON, without line breaks, as it is when the first one is asked for.

        `turnlog` is a header and a line an event, which `import_exported` takes back; events are read in pages. Else
        there is one line, with `session_id`, `user_id`, `title`, `started_at` and the `messages`, which for `chat`,
        `anthropic` and `responses` are valid for their API, and for `ui` the UIMessage[] of the AI SDK. Raises
        SessionNotFoundError, and InvalidInputError.
        """
        check_kind(progress, Callable | None, "progress")
        format_ = checked_export_format(format)
        session = await self.session(session_id, principal)
        async for line in exported(self._parts, session.id, format_, progress or (lambda *_: None)):
            yield line

    async def import_exported(
        self,
        lines: AsyncIterable[str | bytes] | Iterable[str | bytes],
        user_id: str | None = None,
        dry_run: bool = False,
    ) -> ImportReport:
        """Takes back the lines of one session that `export_session` gave in the format `turnlog`, of whichever log: its
        id and its owner, or `user_id` as the owner, and each event with its ids, position and time. It is stored whole
        or not at all. The same again changes nothing. A dry run stores nothing, and raises what the import would raise.

        Raises SessionExistsError where the id is another session's, and InvalidInputError that names the event, for
        one that this version does not know, that does not follow on the one before it, or that is missing.
        """
        check_kind(dry_run, bool, "dry_run")
        if isinstance(lines, str | bytes):
            raise InvalidInputError("lines", "must be lines, and not one text")
        check_kind(lines, AsyncIterable | Iterable, "lines")
        user_id = None if user_id is None else checked_id(user_id, "user_id")
        self._parts.check_open()
        return await restore(self._parts, each_line(lines), user_id, dry_run)

    async def repair(self, session_id: UUID | str, principal: Principal, dry_run: bool = False) -> RepairReport:
        """Corrects what is wrong with the session's history, by one event that names each correction.

        Replays the log, whatever is cached. The events stay as they are; the view and the prompt are corrected. A dry
        run appends nothing. Raises SessionNotFoundError.
        """
        check_kind(dry_run, bool, "dry_run")
        session = await self.session(session_id, principal)
        return await repair(self._parts, self._parts.aggregate(session.id), dry_run)

    async def undo_repair(self, session_id: UUID | str, principal: Principal, repair_id: str | None = None) -> bool:
        """Withdraws a repair (None: the latest), so that its corrections no longer apply. False if there is no such
        repair. Raises SessionNotFoundError."""
        session = await self.session(session_id, principal)
        aggregate = self._parts.aggregate(session.id)
        await aggregate.refresh()
        if repair_id is None:
            state = aggregate.state
            repair_id = state.repairs[-1] if isinstance(state, Active) and state.repairs else "none"
        return await aggregate.execute(WithdrawRepair(now(), checked_id(repair_id, "repair_id"))) > 0

    async def usage(
        self,
        principal: Principal,
        *,
        model: str | None = None,
        since: date | str | None = None,
        until: date | str | None = None,
        by: Sequence[Dimension] = DIMENSIONS,
        catch_up: bool = True,
        wait: bool = True,
        progress: Progress | None = None,
    ) -> UsageReport:
        """What the principal's sessions (SYSTEM: all) have used: a row for each user, model and day, or for those of
        the three that `by` names. Deleted sessions count.

        Days are UTC; `since` and `until` are included. Catches the projection up with the log first, which takes a
        while the first time: `progress` is told how far it is. Without `wait` the report comes at once and says how
        many events it lacks, and catching up goes on meanwhile. Without `catch_up` it does not. Raises
        InvalidInputError, ProjectionError and StoreError.
        """
        principal = checked_principal(principal)
        check_kind(progress, Callable | None, "progress")
        check_kind(catch_up, bool, "catch_up")
        check_kind(wait, bool, "wait")
        user_id = None if principal is SYSTEM else principal
        self._parts.check_open()
        model = None if model is None else plain(checked_short(model, "model")) or ""
        wanted = UsageFilter(user_id, model, checked_day(since, "since"), checked_day(until, "until"))
        return await self._usage.report(wanted, checked_dimensions(by), progress, catch_up=catch_up, wait=wait)

    async def rebuild_views(self, progress: Progress | None = None) -> int:
        """Drops the cached and kept views of all sessions, and folds each view anew from its events. Returns the number
        of sessions. Readers fold what they need themselves meanwhile. Lists then know how far the turns are also where
        an older version of turnlog wrote last. Raises StoreError."""
        check_kind(progress, Callable | None, "progress")
        self._parts.check_open()
        total, done = (await self.list_sessions(SYSTEM, 1, with_total=True)).total or 0, 0
        async for session_id in self.session_ids(SYSTEM):
            self._parts.prompts.forget(session_id)
            await self._parts.views.rebuild(session_id)
            done += 1
            if progress is not None:
                progress(done, max(done, total))
        return done

    async def reap(self, dry_run: bool = False) -> tuple[ReapedStep, ...]:
        """Ends the steps of all sessions, and the turns in hand, whose writers' leases have run out, as abandoned, and
        returns them.

        An open log does this by itself: when it is opened, and then every `reap_seconds`. A dry run ends nothing.
        Raises StoreError.
        """
        check_kind(dry_run, bool, "dry_run")
        self._parts.check_open()
        return await self._reaper.reap(dry_run)

    def _close(self) -> None:
        self._parts.is_closed = True
