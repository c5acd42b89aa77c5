"""Conversations, message by message: the repository's own, and those of real systems where they lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.real_data import REAL_DATA, needs_real_data

Messages = list[dict[str, Any]]

OWN = Path(__file__).parents[1] / "data" / "conversations"
FOLDERS = [
    pytest.param(OWN, id="own"),
    pytest.param(REAL_DATA / "conversations", id="real", marks=needs_real_data),
]


def lines_of(path: Path) -> list[Any]:
    """What the lines of a JSONL file hold. Texts may hold what Python takes for the end of a line."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def conversations(folder: Path, name: str) -> list[Messages]:
    return [line["messages"] for line in lines_of(folder / f"{name}.jsonl")]
