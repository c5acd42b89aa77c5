"""Telling OpenTelemetry what a log does: spans and metrics, by its API's global providers. It needs the extra `otel`.

This room alone imports OpenTelemetry, and is imported where telemetry is wanted and not before.
"""
