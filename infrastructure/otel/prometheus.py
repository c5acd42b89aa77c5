"""Metrics as Prometheus reads them: of this process, or of all processes of one server.

Processes of one server share a port, so a scrape comes to any of them. Each writes what it has counted into a folder,
every few seconds; whichever is asked answers for all of them, with the process as a label.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Self

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from turnlog.infrastructure.tasks import cancel_and_wait, spawned

SNAPSHOT_SECONDS = 5.0
"""Seconds between two times that a process writes its metrics for the others."""

_ENDING = ".prom"


def set_up() -> None:
    """Sets the global meter provider to one that Prometheus reads. Only where none is set: the API sets one once."""
    set_meter_provider(MeterProvider([PrometheusMetricReader(disable_target_info=True)]))


class Exposition:
    """The metrics of the server that this process belongs to. `folder` is that of its processes; None if there is but
    one."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._writing: asyncio.Task[None] | None = None
        self._lock = Lock()
        self._is_closed = False

    async def text(self) -> bytes:
        """All metrics now, and of other processes as they were a few seconds ago."""
        # On a thread: what is observed is asked for there, and many series take a while.
        return await asyncio.to_thread(self._text)

    async def __aenter__(self) -> Self:
        if self._folder is not None:
            self._writing = spawned(self._keep_writing(), "writing metrics")
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel_and_wait(self._writing)
        if self._folder is not None:
            await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        with self._lock:  # a thread may still be writing, whose task was cancelled
            self._is_closed = True
            self._file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        assert self._folder is not None  # noqa: S101 asked only where there are several processes
        return self._folder / f"{os.getpid()}{_ENDING}"

    def _text(self) -> bytes:
        if self._folder is None:
            return generate_latest(REGISTRY)
        self._write()
        return merged(_snapshots(self._folder))

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.to_thread(self._write)
            await asyncio.sleep(SNAPSHOT_SECONDS)

    def _write(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            new = self._file.with_suffix(".new")
            new.write_bytes(generate_latest(REGISTRY))
            new.replace(self._file)


def merged(texts: Mapping[str, str]) -> bytes:
    """Expositions of several processes as one: each series with the label `process`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(texts))
    return generate_latest(registry)


class _Merged:
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        families = dict[str, Metric]()
        for process, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                held = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    held.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
        return families.values()


def _snapshots(folder: Path) -> dict[str, str]:
    return {path.stem: text for path, text in _read(folder) if _is_alive(int(path.stem))}


def _read(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.glob(f"*{_ENDING}")):
        with suppress(FileNotFoundError):  # it has ended meanwhile
            yield path, path.read_text("utf-8")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
