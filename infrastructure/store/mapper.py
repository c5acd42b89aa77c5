"""The mapper: from events to stored rows and back, by topics. Classes may be renamed and moved; topics never change."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent
from pydantic import ValidationError

from turnlog.domain.errors import UnreadableEventError
from turnlog.domain.events import EVENT_TYPES, SessionEvent
from turnlog.domain.quoting import quoted
from turnlog.domain.recorded import RecordedEvent

Upcaster = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]
"""From the fields of an old version to the topic and the fields of the next one."""

UPCASTERS: dict[str, Upcaster] = {}
"""By old topic. There is none as long as every event is at v1. Golden files of old versions are never edited."""


class EventMapper(Mapper[UUID]):
    """Writes an event as its topic and its JSON, and reads old topics through their upcasters."""

    def __init__(self, upcasters: Mapping[str, Upcaster] = UPCASTERS) -> None:
        super().__init__(JSONTranscoder())
        self._types: dict[str, type[SessionEvent]] = {cls.topic: cls for cls in EVENT_TYPES}
        self._upcasters = upcasters

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The row of a RecordedEvent, without its log position, which the database gives."""
        event = domain_event.event
        return StoredEvent(domain_event.session_id, domain_event.position, event.topic, event.to_json())

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The RecordedEvent of a row; its log position is 0 but for a Notification. Raises UnreadableEventError."""
        event = self.event(stored_event.topic, stored_event.state)
        session_id = UUID(str(stored_event.originator_id))
        return RecordedEvent(session_id, stored_event.originator_version, getattr(stored_event, "id", 0), event)

    def event(self, topic: str, state: bytes) -> SessionEvent:
        """The event with this topic and body. Raises UnreadableEventError."""
        event_type = self._types.get(topic)
        if event_type is None:
            topic, state = self._upcast(topic, state)
            event_type = self._types[topic]
        try:
            return event_type.from_json(state)
        except ValueError as error:
            # Without its cause, which quotes what is stored.
            raise UnreadableEventError(f"a stored {topic} does not parse: {_fault(event_type, error)}") from None

    def _upcast(self, topic: str, state: bytes) -> tuple[str, bytes]:
        if topic not in self._upcasters:
            raise UnreadableEventError(f"unknown topic {quoted(topic)}: was it written by a newer turnlog?")
        try:
            fields = json.loads(state.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            raise UnreadableEventError(f"a stored {topic} is not JSON") from None
        while topic not in self._types:
            upcaster = self._upcasters.get(topic)
            if upcaster is None:
                raise UnreadableEventError(f"unknown topic {quoted(topic)}: was it written by a newer turnlog?")
            topic, fields = upcaster(fields)
        return topic, json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _fault(event_type: type[SessionEvent], error: ValueError) -> str:
    """What is wrong with a body, in words that quote nothing of it."""
    if not isinstance(error, ValidationError):
        return type(error).__name__
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = next((str(part) for part in first["loc"][:1] if part in event_type.model_fields), "")
    return f"{field}: {first['type']}" if field else first["type"]
