"""Projections by name: the built-in ones, and `module:Class` for others."""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import isabstract
from pathlib import Path

import click

from turnlog.infrastructure.tables.projection import Projection
from turnlog.infrastructure.tables.usage import UsageProjection

BUILT_IN: dict[str, type[Projection]] = {UsageProjection.name: UsageProjection}


def find_projection(name: str) -> Projection:
    """The projection of this name. Its module may be in the working directory. Raises BadParameter."""
    if name in BUILT_IN:
        return BUILT_IN[name]()
    module, _, attribute = name.partition(":")
    if not attribute:
        raise click.BadParameter(f"{name!r} is not one of: {', '.join(BUILT_IN)}; one of your own is module:Class")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise click.BadParameter(f"{name!r} cannot be imported: {_text(error)}") from error
    if not (isinstance(found, type) and issubclass(found, Projection)) or isabstract(found):
        raise click.BadParameter(f"{name!r} is no subclass of turnlog.Projection with a `process`")
    for wanted in ("name", "tables"):
        if not isinstance(getattr(found, wanted, None), str):
            raise click.BadParameter(f"{name!r} has no `{wanted}`: it is a class variable, a string")
    try:
        return found()
    except Exception as error:
        raise click.BadParameter(f"{name!r} cannot be made without arguments: {_text(error)}") from error


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
