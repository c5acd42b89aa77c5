"""An event in one line."""

from __future__ import annotations

import json
from typing import Any

from turnlog.domain.events import SessionEvent


def body(event: SessionEvent) -> str:
    """The fields of the event that are not empty, as `name=value`, without its time."""
    fields = event.model_dump(mode="json", exclude={"at"})
    # The step's id is long and says little, so it comes last, where the line may be cut off.
    fields["step_id"] = fields.pop("step_id", None)
    return " ".join(
        f"{name}={_value(name, value)}" for name, value in fields.items() if value not in (None, "", [], {})
    )


def _value(name: str, value: Any) -> str:
    return value if name.endswith("id") else json.dumps(value, ensure_ascii=False)
