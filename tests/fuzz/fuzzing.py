"""One input of one target: it passes, or it is found."""

from __future__ import annotations

import logging
import random
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
STALL_SECONDS = 1.0
"""CPU time of one input beyond which it counts as found."""

logging.getLogger("turnlog").addHandler(logging.NullHandler())  # warnings about odd input would fill the screen


@dataclass(frozen=True, slots=True)
class Found:
    """An input that broke a promise: by which error, and where it was raised."""

    target: str
    data: bytes
    error: str
    where: str = ""

    @property
    def kind(self) -> tuple[str, str, str]:
        """What is the same for inputs that found the same."""
        return self.target, self.error.split(":")[0], self.where


class StalledError(AssertionError):
    """An input took longer than STALL_SECONDS."""


def try_input(target: str, data: bytes) -> None:
    """Runs the target on an input. Raises what it raises, and StalledError."""
    began = time.perf_counter()
    TARGETS[target](data)
    if time.perf_counter() - began > STALL_SECONDS:  # the machine may be busy: once more, and what it took itself
        began = time.thread_time()
        TARGETS[target](data)
        if (taken := time.thread_time() - began) > STALL_SECONDS:
            raise StalledError(f"took {taken:.1f} s for {len(data)} bytes")


def found_by(target: str, data: bytes) -> Found | None:
    """What the input breaks, if anything."""
    try:
        try_input(target, data)
    except (Exception, RecursionError) as error:  # noqa: BLE001 an untyped error is what is looked for
        return Found(target, data, f"{type(error).__name__}: {str(error)[:300]}", _place(error))
    return None


def _place(error: BaseException) -> str:
    """The innermost function of turnlog's, or of these fuzzers, that the error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename and "turnlog" in frame.filename]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.name}"


def kept_inputs(target: str) -> list[Path]:
    """The inputs of the corpus, which were found at some time or are good to begin with."""
    return sorted((CORPUS / target).glob("*"))


def random_inputs(target: str, seed: int) -> Iterator[bytes]:
    """Endless inputs: changed ones of the corpus, and random bytes."""
    known = [path.read_bytes() for path in kept_inputs(target)] or [b""]
    rng = random.Random(f"{target} {seed}")
    while True:
        if rng.random() < 0.4:
            yield rng.randbytes(rng.choice((4, 16, 64, 256, 600)))
        else:
            yield _changed(rng, rng.choice(known))


def _changed(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0 if at < len(changed):
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + rng.randrange(8)]
            case 2:
                changed[at:at] = rng.randbytes(rng.randrange(1, 8))
            case _:
                changed[at:at] = changed[: rng.randrange(1, 40)]
    return bytes(changed)


def minimised(found: Found, tries: int = 4_000) -> Found:
    """A shorter input that breaks the same promise: parts are taken out for as long as the kind of error stays."""
    best, size = found, max(1, len(found.data) // 2)
    while size and tries > 0:
        at = 0
        while at < len(best.data) and tries > 0:
            tries -= 1
            shorter = found_by(found.target, best.data[:at] + best.data[at + size :])
            if shorter is not None and shorter.kind == found.kind:
                best = shorter
            else:
                at += size
        size //= 2
    return best
