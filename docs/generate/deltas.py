"""The deltas: the kinds and the fields of each, from the classes."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate.fields import table
from turnlog.projections.deltas import Delta


def reference() -> str:
    """A section a model."""
    return "\n\n".join("\n\n".join(_section(delta)) for delta in Delta.__subclasses__())


def _section(delta: type[Delta]) -> Iterator[str]:
    yield f"## {delta.__name__}"
    yield " ".join((delta.__doc__ or "").split())
    yield table(delta, without="position")
