"""The lines of an exported session: a header, and an event a line. Written by the export, read by the import."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from math import isfinite
from typing import Any, NoReturn
from uuid import UUID

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.quoting import cut, quoted
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import Frozen, Text

FORMAT = 1
"""The version of the lines. A later one is refused: what this version does not know would be lost."""
MARK = "turnlog_export"
LINE = "line"


class ExportHeader(Frozen):
    """The first line: whose session it is, and the position of its last event, which is the number of lines to come."""

    turnlog_export: int = FORMAT
    session_id: UUID
    user_id: str | None
    title: Text | None
    started_at: datetime
    version: int


class ExportedEvent(Frozen):
    """Any other line. `event` is the event's JSON."""

    position: int
    topic: str
    event: bytes


def event_line(recorded: RecordedEvent) -> str:
    """The line of an event."""
    event = recorded.event.model_dump_json()
    return f'{{"position":{recorded.position},"topic":"{recorded.topic}","event":{event}}}'


def is_header(line: str | bytes) -> bool:
    """Whether a session begins with this line. It is not parsed: an event's line begins with its position."""
    start = (line if isinstance(line, bytes) else line[:100].encode("utf-8", "replace")).lstrip()
    return start.startswith((f'{{"{MARK}"'.encode(), f'{{ "{MARK}"'.encode()))


def parsed_header(line: str | bytes) -> ExportHeader:
    """The header in this line. Raises InvalidInputError."""
    fields = _parsed(line)
    if not isinstance(fields, dict) or MARK not in fields:
        raise InvalidInputError(LINE, f"is no header of an exported session: it has no {MARK}")
    if fields[MARK] != FORMAT:
        raise InvalidInputError(MARK, f"format {quoted(fields[MARK])} is not known: was it written by a newer turnlog?")
    try:
        return ExportHeader.model_validate_json(json.dumps(fields))
    except ValueError:
        raise InvalidInputError(LINE, "is no header of an exported session: a field is missing or wrong") from None


def parsed_events(lines: Iterable[str | bytes], after: int) -> list[ExportedEvent]:
    """The events in these lines, the first of them at the position after `after`. Raises InvalidInputError for what is
    no event, and for a gap."""
    return [_parsed_event(line, position) for position, line in enumerate(lines, after + 1)]


def _parsed_event(line: str | bytes, position: int) -> ExportedEvent:
    fields, where = _parsed(line), f"event {position}"
    if not isinstance(fields, dict) or not isinstance(fields.get("event"), dict):
        raise InvalidInputError(where, "is no event of an exported session")
    if fields.get("position") != position or isinstance(fields["position"], bool):
        raise InvalidInputError(where, f"has the position {quoted(fields.get('position'))}")
    if not isinstance(fields.get("topic"), str):
        raise InvalidInputError(where, "has no topic")
    body = json.dumps(fields["event"], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return ExportedEvent(position=position, topic=fields["topic"], event=body)


def _parsed(line: str | bytes) -> Any:
    try:
        return json.loads(line, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(LINE, f"is not JSON: {error}") from None


def _finite(text: str) -> float:
    return number if isfinite(number := float(text)) else _refused(text)


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{cut(constant)} is no finite number")
