"""The table of settings, from the class."""

from __future__ import annotations

from pydantic.fields import FieldInfo

from turnlog.infrastructure.settings import Settings, variable

_UNSET = {
    "database_url": "an embedded server",
    "redis_url": "an embedded server",
    "data_dir": "the platform's",
    "telemetry": "where it is set up",
}
"""The default of a setting that has no value."""


def reference() -> str:
    """A Markdown table, a row a setting."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(["| Setting | Variable | Default | Meaning |", "|---|---|---|---|", *rows])


def _row(name: str, field: FieldInfo) -> str:
    default = _UNSET[name] if field.default is None else f"`{_written(field.default)}`"
    return f"| `{name}` | `{variable(name)}` | {default} | {field.description} |"


def _written(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
