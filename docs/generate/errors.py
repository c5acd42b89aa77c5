"""The tree of errors, and what each says, from the classes."""

from __future__ import annotations

from collections.abc import Iterator

import turnlog
from turnlog import TurnlogError


def reference() -> str:
    """The tree as a list, then a section an error."""
    tree = list(_tree(TurnlogError, 0))
    listed = [f"{'    ' * depth}* [`{error.__name__}`](#turnlog.{error.__name__})" for depth, error in tree]
    return "\n".join([*listed, "", *(f"::: turnlog.{error.__name__}" for _, error in tree)])


def _tree(error: type[Exception], depth: int) -> Iterator[tuple[int, type[Exception]]]:
    yield depth, error
    for below in error.__subclasses__():
        if below.__name__ in turnlog.__all__:
            yield from _tree(below, depth + 1)
