"""A share of the inputs of one target, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from base64 import b64decode
from pathlib import Path

from tests.fuzz.fuzzing import Found, found_by, random_inputs

Outcome = tuple[str, int, float, list[Found]]
"""A target, how many inputs it was given in how many seconds, and what was found."""


def run_random(name: str, seed: int, inputs: int, until: float) -> Outcome:
    """Random inputs, until there were so many or it is so late (on the monotonic clock)."""
    began, found, done = time.perf_counter(), list[Found](), 0
    for data in random_inputs(name, seed):
        if done >= inputs or time.monotonic() > until:
            break
        done += 1
        if (one := found_by(name, data)) is not None:
            found.append(one)
    return name, done, time.perf_counter() - began, found


def run_guided(folder: str, name: str, seed: int, inputs: int, until: float) -> Outcome:
    """Inputs that atheris makes, which looks for those that reach new code. It ends its process: hence another one.
    What it has learned is in the folder, for the next share of the same target."""
    began = time.perf_counter()
    report, learned = Path(folder) / f"{name}-{seed}.json", Path(folder) / name
    learned.mkdir(exist_ok=True)
    arguments = json.dumps([name, seed, inputs, until, str(report)])
    command = [sys.executable, "-m", "tests.fuzz.guided", arguments, str(learned)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not report.exists():
        return name, 0, time.perf_counter() - began, [Found(name, b"", "CrashedError: the process ended early")]
    done, found = json.loads(report.read_text())
    kept = [Found(name, b64decode(data), error, where) for data, error, where in found]
    return name, done, time.perf_counter() - began, kept
