"""Turns that are cut into segments after every step that allows it, so that short histories have some, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from turnlog.projections import turn_fold
from turnlog.projections.projector import Projector


@contextmanager
def short_segments(steps: int = 1) -> Iterator[None]:
    """Inside, a segment has so many steps at most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turn_fold, "SEGMENT_STEPS", steps)
        yield


class Uncut(Projector):
    """A projector that holds every turn in one piece."""

    cuts_turns = False
