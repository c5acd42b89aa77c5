"""The events: topics, fields and an example of each, from the classes and the golden files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from docs.generate.fields import table
from turnlog.domain.events import EVENT_TYPES, SessionEvent

_GOLDEN = Path(__file__).parents[2] / "tests" / "data" / "golden"


def reference() -> str:
    """A section an event, in the order of the union."""
    return "\n\n".join("\n\n".join(_section(event)) for event in EVENT_TYPES)


def _section(event: type[SessionEvent]) -> Iterator[str]:
    yield f"## {event.topic} {{ #{event.topic.replace('.', '-')} }}"
    yield f"Class `{event.__name__}`. {' '.join((event.__doc__ or '').split())}".rstrip()
    yield table(event, without="at")
    golden = json.loads((_GOLDEN / f"{event.topic}.json").read_bytes())
    written = json.dumps(golden, ensure_ascii=False)
    yield f"```json\n{written if len(written) < 90 else json.dumps(golden, ensure_ascii=False, indent=2)}\n```"
