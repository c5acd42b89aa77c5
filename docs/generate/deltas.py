"""The deltas: the kinds and the fields of each, from the classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel

from docs.generate.fields import table
from turnlog.projections.deltas import Delta


def reference() -> str:
    """A section a model."""
    return "\n\n".join("\n\n".join(_section(delta)) for delta in get_args(Delta))


def _section(delta: type[BaseModel]) -> Iterator[str]:
    yield f"::: turnlog.{delta.__name__}"
    yield table(delta, without="position")
