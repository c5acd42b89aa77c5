"""The two pictures are true: the rooms are what the imports say, and a delta goes the way that is drawn."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from importlib import import_module
from types import FrameType
from typing import Any

import pytest

from docs.generate import rooms
from docs.generate.__main__ import PICTURES
from docs.generate.way import AFTER, BEFORE, LANES, OTHER, TEXT, Step
from tests.support.pages import ROOT
from turnlog import Session


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_code_says_now(name: str) -> None:
    drawn = (ROOT / "docs" / "pictures" / name).read_text("utf-8")

    assert drawn == PICTURES[name](), "draw it anew: .venv/bin/python -m docs.generate"
    assert ET.fromstring(drawn).tag.endswith("svg")


def test_every_room_has_a_box_and_no_box_is_of_nothing() -> None:
    inner = {path.name for path in (ROOT / "infrastructure").iterdir() if (path / "__init__.py").exists()}
    drawn = {name for name in rooms.BOXES if name not in {*rooms.MODULES.values(), "domain", "projections"}}

    assert drawn == inner
    assert all((ROOT / "infrastructure" / f"{name}.py").exists() for name in rooms.MODULES)


def test_an_arrow_that_follows_from_others_is_left_out_and_a_cycle_is_refused() -> None:
    assert rooms.reduced({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}
    with pytest.raises(ValueError, match="cycle"):
        rooms.reduced({("a", "b"), ("b", "a")})


def test_each_step_of_the_way_is_in_its_lane() -> None:
    for step in in_code(BEFORE, TEXT, OTHER, AFTER):
        found: Any = import_module(f"turnlog.{step.module}")
        for part in step.name.split("."):
            found = getattr(found, part)
        assert callable(found)
        assert step.lane in step.module.split(".")
        assert step.lane in LANES


@pytest.mark.parametrize(("field", "middle"), [("content", TEXT), ("refusal", OTHER)])
async def test_a_delta_goes_the_way_that_is_drawn(session: Session, field: str, middle: tuple[Step, ...]) -> None:
    await session.say("Hello")
    recording = session.record(_stream(field))
    await anext(recording)  # the step is open, and the first delta is stored
    called: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("turnlog."):
            called.append(f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}")

    sys.setprofile(note)
    try:
        await anext(recording)
    finally:
        sys.setprofile(None)
    await recording.aclose()

    went = iter(called)
    assert [
        step.name for step in in_code(BEFORE, middle, AFTER) if f"turnlog.{step.module}.{step.name}" not in went
    ] == []


def in_code(*parts: tuple[Step, ...]) -> list[Step]:
    return [step for part in parts for step in part if step.module]


async def _stream(field: str) -> AsyncIterator[dict[str, Any]]:
    for text in ("Hel", "lo", "!"):
        yield {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {field: text}}]}


def test_a_page_shows_each_picture() -> None:
    page = (ROOT / "docs" / "explanation" / "index.md").read_text("utf-8")
    assert re.findall(r"\(\.\./pictures/(\w+\.svg)\)", page) == list(PICTURES)
