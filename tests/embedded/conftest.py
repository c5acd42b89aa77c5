"""Folders for embedded servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.embedded_servers import folder_for_servers
from turnlog.infrastructure.embedded import EmbeddedServers


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    with folder_for_servers() as path:
        yield path


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A directory in which a pair has run before: the next one starts in a tenth of a second."""
    with folder_for_servers() as path:
        with EmbeddedServers(path):
            pass
        yield path
