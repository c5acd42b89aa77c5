"""Servers to attack, for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.servers import Servers


@pytest.fixture(scope="session")
def attacked() -> Iterator[Servers]:
    """Servers that every test here may break: they are whole again for the next one."""
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()
