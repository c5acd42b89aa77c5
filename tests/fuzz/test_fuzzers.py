"""A short cut of the fuzzers: what was ever found, some inputs of each, and that they can find anything."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.fuzzing import CORPUS, found_by, kept_inputs, minimised, random_inputs, try_input
from tests.fuzz.targets import TARGETS
from turnlog.infrastructure.append.chunks import ChatReader

INPUTS = 150
"""Random inputs of each fuzzer."""

KEPT = [path for target in TARGETS for path in kept_inputs(target)]

each_target = pytest.mark.parametrize("target", TARGETS)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_once_is_not_found_again(path: Path) -> None:
    try_input(path.parent.name, path.read_bytes())


@each_target
def test_no_input_leads_to_an_untyped_error_or_an_invalid_result(target: str) -> None:
    for data in islice(random_inputs(target, seed=1), INPUTS):
        assert found_by(target, data) is None


def test_every_folder_of_the_corpus_belongs_to_a_fuzzer() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= set(TARGETS)


def test_a_fuzzer_finds_an_untyped_error_and_makes_its_input_small(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(reader: ChatReader, chunk: Any) -> list[Any]:
        raise TypeError("no") if "c1" in str(chunk) else ValueError("never seen")

    monkeypatch.setattr(ChatReader, "read", read)
    inputs = (found_by("chunks", data) for data in random_inputs("chunks", seed=1))
    found = next(one for one in inputs if one is not None and one.error == "TypeError: no")
    small = minimised(found)

    assert small.kind == found.kind
    assert len(small.data) < len(found.data)


def test_a_fuzzer_finds_what_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: bytes) -> None:
        began = time.thread_time()
        while time.thread_time() < began + 0.02:
            pass

    monkeypatch.setitem(TARGETS, "chunks", slow)
    monkeypatch.setattr("tests.fuzz.fuzzing.STALL_SECONDS", 0.01)
    found = found_by("chunks", b"")
    assert found is not None
    assert found.error.startswith("StalledError")
