"""A session as a handler sees it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar
from uuid import UUID

from turnlog.domain.commands import CompactContext, SetMetadata
from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import (
    check_kind,
    checked_object,
    checked_range,
    checked_session_id,
    checked_text,
    checked_version,
)
from turnlog.infrastructure.append.checked_commands import (
    checked_increment,
    checked_message,
    checked_set_title,
    checked_usage,
)
from turnlog.infrastructure.append.message_id import MessageId
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.repair.forking import ForkProgress, make_fork
from turnlog.infrastructure.session_turns import SessionTurns
from turnlog.infrastructure.store.appends import OvertakenError
from turnlog.projections.compacting import check_compaction

Chunk = TypeVar("Chunk")


class Session(SessionTurns):
    """One conversation, as one principal may use it.

    Every method raises SessionNotFoundError when the session is unknown, deleted, or not the principal's, StoreError
    when Postgres cannot do what is asked, and LogClosedError when the log is closed. `await session` checks that the
    session is there.
    """

    def __await__(self) -> Generator[Any, Any, Session]:
        return self._checked().__await__()

    async def _checked(self) -> Session:
        await self._access.standing()
        return self

    def __repr__(self) -> str:
        return f"<Session {self.id}>"

    # Writing

    async def add_message(
        self,
        role: Literal["system", "developer", "user", "assistant", "function"],
        content: str | Sequence[Mapping[str, Any]] | None,
        *,
        message_id: str | None = None,
        name: str | None = None,
        refusal: str | None = None,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        function_call: Mapping[str, Any] | None = None,
    ) -> MessageId:
        """Adds a whole message and returns its id, which says whether the message was new (`is_new`).

        `content` is text or a list of content parts; only an assistant message may have none. `refusal`,
        `tool_calls` and `function_call` are for assistant messages only. A `message_id` that the session has already
        is a retry: nothing is added, and the arguments are not compared with what was stored. Raises
        InvalidInputError.
        """
        limit = self._parts.settings.max_message_bytes
        command = checked_message(role, content, message_id, name, refusal, tool_calls, function_call, limit)
        return MessageId.of(command.message_id, is_new=await self._execute(command) > 0)

    async def set_title(self, title: str, only_if_empty: bool = False) -> None:
        """Sets the title; with `only_if_empty` only if there is none. Raises InvalidInputError for a blank title."""
        await self._execute(checked_set_title(title, only_if_empty))

    async def set_metadata(self, patch: Mapping[str, Any]) -> None:
        """Merges a JSON Merge Patch (RFC 7386) into the metadata: None removes a key. Raises InvalidInputError."""
        await self._execute(SetMetadata(now(), checked_object(patch, "patch")))

    async def increment(
        self,
        counter: str,
        key: str,
        by: int = 1,
        *,
        id: str | None = None,  # noqa: A002 the field's name
    ) -> None:
        """Adds `by` to `counters[counter][key]`. The same `id` again changes nothing. Raises InvalidInputError."""
        await self._execute(checked_increment(counter, key, by, id))

    async def add_usage(
        self,
        usage: Any = None,
        *,
        model: str | None = None,
        id: str | None = None,  # noqa: A002 the field's name
        **tokens: int,
    ) -> None:
        """Reports usage outside of a recorded step: a provider's usage object, kept verbatim, or token counts by name
        (`prompt_tokens=...`). The same `id` again changes nothing. Raises InvalidInputError."""
        await self._execute(checked_usage(usage, model, id, tokens))

    async def compact(self, summary: str, upto: int) -> None:
        """From now on prompts have `summary`, as a message of the user, instead of everything that began at or before
        the position `upto`. System and developer messages stay, and the view and the log keep everything.

        The same compaction again changes nothing. Raises InvalidInputError, also when a step up to `upto` is still
        open or waits for a tool result: the result would lose its call.
        """
        if not checked_text(summary, "summary", self._parts.settings.max_message_bytes).strip():
            raise InvalidInputError("summary", "must not be blank")
        view = await self.view()
        check_compaction(view, checked_range(upto, "upto", 1, view.version))
        await self._execute(CompactContext(now(), summary, upto))

    async def fork(
        self,
        version: int | None = None,
        *,
        session_id: UUID | str | None = None,
        progress: ForkProgress | None = None,
    ) -> Session:
        """A new session with copies of the events up to this position (None: all), and with the same owner. With the
        `session_id` of a session of the principal, returns that session: it is the fork that was made before.

        A step that was open at that position is abandoned in the fork: nobody writes it there. Nobody goes on with a
        turn there unasked: one that somebody would go on with has failed, and queued ones are stopped. A fork is whole
        or not there, however many events it has, and they are copied in bounded memory; `progress` hears of how many
        and of how many there are. Raises InvalidInputError for a position that the session does not have, and
        SessionExistsError when the id is taken by another session.
        """
        check_kind(progress, Callable | None, "progress")
        standing = await self._access.standing()
        upto = checked_version(version, standing.position)
        told = progress or (lambda *_: None)
        if session_id is not None:
            return await self._fork_as(checked_session_id(session_id), standing.user_id, upto, told)
        made = await make_fork(self._parts, self.id, standing.user_id, upto, progress=told)
        return Session(self._parts, made, self._access.principal)

    async def _fork_as(self, session_id: UUID, user_id: str | None, upto: int, told: ForkProgress) -> Session:
        aggregate = await self._parts.begun(session_id, user_id)
        made = Session(self._parts, aggregate, self._access.principal)
        if not (await self._parts.store.standing(session_id)).position:
            with suppress(OvertakenError):  # the same request was made twice at the same time
                await make_fork(self._parts, self.id, user_id, upto, session_id, progress=told)
        return await made
