"""An event in a line."""

from __future__ import annotations

import json
from typing import Any

from turnlog.domain.events import SessionEvent


def body(event: SessionEvent) -> str:
    """What the event says, but for its time: `name=value` for each field that says something."""
    fields = event.model_dump(mode="json", exclude={"at"})
    # The step's id tells least and is longest, so it comes last, where a line is cut.
    fields["step_id"] = fields.pop("step_id", None)
    return " ".join(
        f"{name}={_value(name, value)}" for name, value in fields.items() if value not in (None, "", [], {})
    )


def _value(name: str, value: Any) -> str:
    return value if name.endswith("id") else json.dumps(value, ensure_ascii=False)
