"""An export: a session as lines of JSON, for turnlog itself or for others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal, get_args
from uuid import UUID

from turnlog.domain.errors import InvalidInputError, SessionNotFoundError
from turnlog.domain.quoting import quoted
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import Active
from turnlog.domain.values import as_unicode
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.repair.exported_lines import ExportHeader, event_line
from turnlog.infrastructure.tasks import off_loop
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import conversation
from turnlog.projections.ui_messages import ui_messages

ExportFormat = Literal["turnlog", "chat", "anthropic", "responses", "ui"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

ExportProgress = Callable[[int, int], None]
"""Called with the number of events that are written, and with how many there are."""

EXPORT_PAGE_EVENTS = 1_000
"""Events that are held at once."""


def checked_export_format(format_: Any) -> ExportFormat:
    """The format. Raises InvalidInputError for an unknown one."""
    if not isinstance(format_, str) or format_ not in EXPORT_FORMATS:
        raise InvalidInputError("format", f"{quoted(format_)} is not one of: {', '.join(EXPORT_FORMATS)}")
    return format_


async def exported(
    parts: LogParts, session_id: UUID, format_: ExportFormat, progress: ExportProgress
) -> AsyncIterator[str]:
    """The lines of the session as it is now. Raises SessionNotFoundError and StoreError."""
    if format_ != "turnlog":
        projector = await parts.views.load(session_id)
        yield await off_loop(projector.is_large, _conversation_line, projector, format_)
        progress(projector.version, projector.version)
        return
    state, version, *_ = await parts.views.states.load(session_id)
    if not isinstance(state, Active):
        raise SessionNotFoundError(session_id)
    header = ExportHeader(
        session_id=session_id, user_id=state.user_id, title=state.title, started_at=state.started_at, version=version
    )
    yield header.model_dump_json()
    async for page in parts.store.events.pages(session_id, upto=version, size=EXPORT_PAGE_EVENTS):
        for line in await asyncio.to_thread(_lines, page):
            yield line
        progress(page[-1].position, version)


def _lines(page: Sequence[RecordedEvent]) -> list[str]:
    return [event_line(recorded) for recorded in page]


def _conversation_line(projector: Projector, format_: ExportFormat) -> str:
    """The conversation as one object. `turnlog import` takes it, too, as one of another system."""
    state = projector.state
    if not isinstance(state, Active):
        raise SessionNotFoundError(projector.session_id)
    fields: dict[str, Any] = {
        "session_id": str(projector.session_id),
        "user_id": state.user_id,
        "title": None if state.title is None else as_unicode(state.title),
        "started_at": state.started_at.isoformat(),
    }
    turns = projector.turns()
    if format_ == "ui":
        fields["messages"] = ui_messages(turns)
    elif format_ != "turnlog":
        found = conversation(turns, format_)
        fields |= {"format": format_, **(found if isinstance(found, dict) else {"messages": found})}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
