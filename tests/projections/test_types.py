"""The types are for users, too: a program of theirs passes a strict check.

`make lint` checks that program with all the rest. Here it is checked as its users do, without turnlog's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import turnlog
from turnlog.projections import deltas

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_a_program_with_live_deltas_and_prompts_passes_mypy_strict() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "user"), str(Path(__file__).with_name("typed_program.py"))]

    done = subprocess.run(
        command, check=False, cwd=ROOT, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True
    )

    assert (done.stdout, done.returncode) == ("Success: no issues found in 1 source file\n", 0)


def test_every_delta_can_be_imported_from_turnlog() -> None:
    names = {model.__name__ for model in deltas.Delta.__args__}

    assert names | {"Delta"} <= set(turnlog.__all__)
    assert all(getattr(turnlog, name) is getattr(deltas, name) for name in names)
