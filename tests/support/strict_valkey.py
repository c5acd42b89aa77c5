"""A Valkey that refuses something, as servers in production do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnlog.infrastructure.embedded.valkey import Valkey


class StrictValkey(Valkey):
    """With options of its own, which come after those of an embedded one."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        super().__init__(folder)
        self._options = options

    def _arguments(self) -> list[str]:
        return [*super()._arguments(), *self._options]


@contextmanager
def strict_valkey(folder: Path, *options: str) -> Iterator[str]:
    """The URL of a Valkey with these options, which runs meanwhile."""
    server = StrictValkey(folder / "valkey", list(options))
    try:
        yield server.ensure()
    finally:
        server.stop()
