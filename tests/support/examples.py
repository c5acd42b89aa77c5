"""What the examples of a property were, so that none passes because it looked at hardly any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import event
from hypothesis import strategies as st


def each_kind(telling: st.SearchStrategy[Any], others: st.SearchStrategy[Any], share: float = 0.5) -> Any:
    """Parametrizes a test with examples for it, of which this share has to be telling, and with any others.

    The test takes them as `cases` and `share`.
    """
    kinds = [pytest.param(telling, share, id="telling"), pytest.param(others, 0.0, id="any")]
    return pytest.mark.parametrize(("cases", "share"), kinds)


@contextmanager
def mostly(wanted: str, share: float) -> Iterator[Callable[[str], None]]:
    """Gives a function that counts what an example was. Fails where less than this share of them was what is wanted."""
    seen: Counter[str] = Counter()

    def saw(what: str) -> None:
        seen[what] += 1
        event(what)

    yield saw
    assert seen[wanted] >= share * seen.total(), f"too few examples were {wanted!r}: {dict(seen)}"
