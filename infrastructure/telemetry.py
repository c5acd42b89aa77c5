"""Whether a log tells OpenTelemetry what it does, of which nothing is imported before that is known to be wanted."""

from __future__ import annotations

import sys

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


def is_set_up() -> bool:
    """Whether the application has set up OpenTelemetry's SDK, for spans or for metrics."""
    return _is_of_the_sdk("trace", "TracerProvider", "get_tracer_provider") or _is_of_the_sdk(
        "metrics", "MeterProvider", "get_meter_provider"
    )


def _is_of_the_sdk(signal: str, provider: str, find: str) -> bool:
    api, sdk = sys.modules.get(f"opentelemetry.{signal}"), sys.modules.get(f"opentelemetry.sdk.{signal}")
    return api is not None and sdk is not None and isinstance(getattr(api, find)(), getattr(sdk, provider))
