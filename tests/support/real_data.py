"""The recorded streams, conversations and corrupt histories of real systems, read where they lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from turnlog.infrastructure.testing import Stream, load_streams

REAL_DATA = Path(os.environ.get("TURNLOG_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))

needs_real_data = pytest.mark.skipif(  # they are not ours to copy; the repository's own corpus has each of their shapes
    not REAL_DATA.is_dir(), reason=f"the real data is not in {REAL_DATA}"
)

Case = TypeVar("Case")


def real_corpus() -> list[Stream]:
    """The streams recorded from real providers; none where the real data is not."""
    return load_streams(REAL_DATA / "streams") if REAL_DATA.is_dir() else []


SAMPLE = 8


def evenly(cases: Sequence[Case], count: int) -> Sequence[Case]:
    """At least so many of them, from all over, and all where there are fewer than twice as many."""
    return cases[:: max(1, len(cases) // count)]


each_sample = pytest.mark.parametrize(
    "count", [pytest.param(SAMPLE, id="sample"), pytest.param(10**6, id="all", marks=pytest.mark.long)]
)
"""How many of the real cases a test takes: some by `make test`, all by `make test-long`."""
