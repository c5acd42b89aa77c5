"""Where a reader goes on."""

from __future__ import annotations

from typing import Any

import pytest

from turnlog import InvalidInputError
from turnlog.domain.recorded import Cursor


@pytest.mark.parametrize(
    ("value", "cursor"), [(0, (0, None)), (2**53, (2**53, None)), ("0-0", (0, 0)), ("17-3fa9c2", (17, 0x3FA9C2))]
)
def test_a_cursor_is_a_position_or_a_text(value: int | str, cursor: tuple[int, int | None]) -> None:
    assert Cursor.of(value) == cursor


@pytest.mark.parametrize("value", [-1, -(2**53), 2**53 + 1, True, f"{2**53 + 1}-0", f"{'1' * 40}-0"])
def test_a_position_is_one_that_an_event_can_have(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^after: "):
        Cursor.of(value)


@pytest.mark.parametrize("text", ["8-0x1", "1--3", "-1-0", "+1-2", " 1-2", "1_0-2", "1-F", "1-2\n", "17"])
def test_a_text_is_a_cursor_as_it_was_given(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^after: .*is no position and no cursor"):
        Cursor.of(text)
