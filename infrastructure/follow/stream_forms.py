"""How a stream of a session is written: of its deltas or its events, as server-sent events or as lines of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.follow.following import Following
from turnlog.infrastructure.follow.live import Deltas
from turnlog.projections.deltas import Delta
from turnlog.projections.view import SessionView

SSE_HEARTBEAT = ":\n\n"
"""A comment, which a browser skips. A proxy closes a connection on which nothing comes, and a server finds out that a
browser is gone when it writes."""
LINE_HEARTBEAT = '{"kind":"heartbeat"}\n'


class Followed(Protocol):
    """What is needed of a Session."""

    def follow(self, after: int | str = 0, until_turn_ends: bool = False) -> Following:
        """See Session."""

    def deltas(self, after: int | str = 0, until_turn_ends: bool = False) -> Deltas:
        """See Session."""

    async def view(self) -> SessionView:
        """See Session."""


Follower = Deltas | Following


@dataclass(frozen=True, slots=True)
class StreamForm:
    """`events`: recorded events, with their topics; else deltas. `lines`: lines of JSON (NDJSON), each with its
    `cursor`; else server-sent events, each with it as the id. `joined`: what is there already is one text, and not one
    for each: then a server sends it at once."""

    events: bool = False
    lines: bool = False
    joined: bool = False

    def follower(self, session: Followed, after: int | str, until_turn_ends: bool) -> Follower:
        """What gives the items of the stream."""
        follow = session.follow if self.events else session.deltas
        return follow(after, until_turn_ends)

    def opening(self, retry_seconds: float) -> str:
        """What the stream begins with."""
        return "" if self.lines else f"retry: {round(retry_seconds * 1000)}\n\n"

    @property
    def heartbeat(self) -> str:
        """What says that nothing has come for a while."""
        return LINE_HEARTBEAT if self.lines else SSE_HEARTBEAT

    def told(self, item: Delta | RecordedEvent, cursor: str) -> str:
        """One delta or event."""
        if self.lines:
            return item_with_cursor(item, cursor) + "\n"
        if isinstance(item, RecordedEvent):
            return f"id: {cursor}\nevent: {item.topic}\ndata: {event_json(item)}\n\n"
        return item.to_sse(cursor)

    def end(self, said: dict[str, Any]) -> str:
        """The last item of the stream. Without a cursor, so that it does not change what a client comes back with."""
        if self.lines:
            return json.dumps({"kind": "end", **said}) + "\n"
        return f"event: end\ndata: {json.dumps(said)}\n\n"


def event_json(recorded: RecordedEvent) -> str:
    """An event with its positions, as JSON."""
    positions = f'"position":{recorded.position},"log_position":{recorded.log_position}'
    return f'{{{positions},"topic":"{recorded.topic}","event":{recorded.event.model_dump_json()}}}'


def item_with_cursor(item: Delta | RecordedEvent, cursor: str) -> str:
    """A delta or an event as JSON, with its cursor in front."""
    text = event_json(item) if isinstance(item, RecordedEvent) else item.model_dump_json()
    return f'{{"cursor":"{cursor}",{text[1:]}'
