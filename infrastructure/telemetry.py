"""Whether a log tells OpenTelemetry what it does, of which nothing is imported before that is known to be wanted."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.observer import SILENT, Observer
from turnlog.infrastructure.settings import Settings


def observer_for(settings: Settings) -> Observer:
    """What is told of the log. Raises InvalidInputError where telemetry is wanted and not installed."""
    wanted = is_set_up() if settings.telemetry is None else settings.telemetry
    if not wanted:
        return SILENT
    try:
        from turnlog.infrastructure.otel.otel_observer import OtelObserver  # noqa: PLC0415 an extra
    except ModuleNotFoundError as error:
        raise InvalidInputError("telemetry", 'needs OpenTelemetry: pip install "turnlog[otel]"') from error
    return OtelObserver(content=settings.telemetry_content)


class Exposition(Protocol):
    """The metrics of a server, as Prometheus reads them."""

    async def text(self) -> bytes:
        """All metrics now."""


RunningExposition: TypeAlias = AbstractAsyncContextManager[Exposition]
"""It runs for as long as the server does."""


def exposition_for(settings: Settings, folder: Path | None) -> RunningExposition | None:
    """What a server gives to Prometheus; None where its extra is not installed, or telemetry is turned off, or the
    metrics go elsewhere already. It sets up OpenTelemetry's metrics, so that a log that is opened afterwards tells of
    itself. `folder` is that of the processes of the server, if there are several."""
    if settings.telemetry is False or is_set_up():
        return None
    try:
        from turnlog.infrastructure.otel import prometheus  # noqa: PLC0415 an extra
    except ModuleNotFoundError:
        return None
    prometheus.set_up()
    return prometheus.Exposition(folder)


def is_set_up() -> bool:
    """Whether the application has set up OpenTelemetry's SDK, for spans or for metrics."""
    return _is_of_the_sdk("trace", "TracerProvider", "get_tracer_provider") or _is_of_the_sdk(
        "metrics", "MeterProvider", "get_meter_provider"
    )


def _is_of_the_sdk(signal: str, provider: str, find: str) -> bool:
    api, sdk = sys.modules.get(f"opentelemetry.{signal}"), sys.modules.get(f"opentelemetry.sdk.{signal}")
    return api is not None and sdk is not None and isinstance(getattr(api, find)(), getattr(sdk, provider))
