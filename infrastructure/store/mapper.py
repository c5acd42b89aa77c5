"""The mapper: events to stored rows and back, by stable topics. A class may be renamed or moved; a topic may not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent

from turnlog.domain.errors import UnreadableEventError
from turnlog.domain.events import EVENT_TYPES, SessionEvent
from turnlog.domain.recorded import RecordedEvent

Upcaster = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]
"""From the fields of an old version to the topic and the fields of the next one."""

UPCASTERS: dict[str, Upcaster] = {}
"""By old topic. Empty as long as every event is at v1; golden files of old versions are never edited."""


class EventMapper(Mapper[UUID]):
    """Writes an event as its topic and its JSON; reads old topics through their upcasters."""

    def __init__(self, upcasters: Mapping[str, Upcaster] = UPCASTERS) -> None:
        super().__init__(JSONTranscoder())
        self._types: dict[str, type[SessionEvent]] = {cls.topic: cls for cls in EVENT_TYPES}
        self._upcasters = upcasters

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The row of a RecordedEvent (its log position is the recorder's to give)."""
        event = domain_event.event
        return StoredEvent(domain_event.session_id, domain_event.position, event.topic, event.to_json())

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The RecordedEvent of a row; `log_position` is that of a Notification, else 0."""
        event = self.event(stored_event.topic, stored_event.state)
        session_id = UUID(str(stored_event.originator_id))
        return RecordedEvent(session_id, stored_event.originator_version, getattr(stored_event, "id", 0), event)

    def event(self, topic: str, state: bytes) -> SessionEvent:
        """The event of a topic and a body. Raises UnreadableEventError."""
        event_type = self._types.get(topic)
        if event_type is None:
            topic, state = self._upcast(topic, state)
            event_type = self._types[topic]
        try:
            return event_type.from_json(state)
        except ValueError as error:
            raise UnreadableEventError(f"a stored {topic} does not parse: {error}") from error

    def _upcast(self, topic: str, state: bytes) -> tuple[str, bytes]:
        fields = json.loads(state.decode("utf-8", "surrogatepass"))
        while topic not in self._types:
            upcaster = self._upcasters.get(topic)
            if upcaster is None:
                raise UnreadableEventError(f"unknown topic {topic!r}: was it written by a newer turnlog?")
            topic, fields = upcaster(fields)
        return topic, json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")
