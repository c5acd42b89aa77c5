"""Inputs that atheris makes. `running` starts this as a process of its own, which atheris ends."""

from __future__ import annotations

import json
import os
import sys
import time
from base64 import b64encode
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # need not be installed

with atheris.instrument_imports(include=["turnlog.domain", "turnlog.projections", "turnlog.infrastructure"]):
    from tests.fuzz.fuzzing import CORPUS, found_by  # what is imported here is watched

MOST_FOUND = 1_000
LONGEST = 4096
"""Bytes of an input."""


class Counted:
    """What atheris calls with each input. Ends the process after the last one, with a report."""

    def __init__(self, name: str, inputs: int, until: float, report: Path) -> None:
        self._name, self._inputs, self._until, self._report = name, inputs, until, report
        self._done = 0
        self._found: list[tuple[str, str, str]] = []

    def __call__(self, data: bytes) -> None:
        """Tries one input."""
        self._done += 1
        found = found_by(self._name, data)
        if found is not None and len(self._found) < MOST_FOUND:
            self._found.append((b64encode(data).decode(), found.error, found.where))
        if self._done >= self._inputs or (self._done % 64 == 0 and time.monotonic() > self._until):
            self._report.write_text(json.dumps([self._done, self._found]))
            os._exit(0)


def main() -> None:
    """Fuzzes as the JSON list in the first argument says; new inputs are kept in the folder of the second one."""
    name, seed, inputs, until, report = json.loads(sys.argv[1])
    known = CORPUS / name
    folders = [sys.argv[2], *([str(known)] if known.exists() else [])]
    options = [f"-seed={seed or 1}", f"-max_len={LONGEST}", "-timeout=60", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *options, *folders], Counted(name, inputs, until, Path(report)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
