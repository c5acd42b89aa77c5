"""OpenTelemetry's providers for one test, whose spans and metrics stay in memory; and a log that tells them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.telemetry import Telemetry, set_up
from turnlog import SessionLog, Settings


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """The global providers, as an application sets them up. They are gone after the test."""
    with set_up() as telemetry:
        yield telemetry


@pytest.fixture
async def log(settings: Settings, telemetry: Telemetry) -> AsyncIterator[SessionLog]:
    """A log that was opened after the providers were set up."""
    async with SessionLog.open(settings) as opened:
        yield opened


@pytest.fixture
async def log_with_content(settings: Settings, telemetry: Telemetry) -> AsyncIterator[SessionLog]:
    """The same, whose spans say what was said."""
    async with SessionLog.open(settings.model_copy(update={"telemetry_content": True})) as opened:
        yield opened
