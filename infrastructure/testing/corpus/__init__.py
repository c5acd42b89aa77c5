"""Recorded streams on disk: a folder of `NAME.jsonl` files, one chunk a line, with an `index.json` about them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_STREAMS = _HERE / "streams"
_CHECKOUT = _HERE.parents[2]


@dataclass(frozen=True, slots=True)
class Stream:
    """One recorded stream.

    `chunks` are the `data:` payloads, byte for byte. `expected` is what they fold to: `choices` by index (each
    `message` and `finish_reason`), `usage`, `errors`. `error_line_indexes` are the chunks that carry an error.
    `delays_ms`, where known, is the wait before each chunk.
    """

    name: str
    path: Path
    chunks: tuple[bytes, ...]
    expected: Mapping[str, Any] = field(hash=False)
    error_line_indexes: tuple[int, ...] = ()
    delays_ms: tuple[float, ...] | None = None
    features: tuple[str, ...] = ()
    provider: str = "unknown"

    def parsed(self) -> list[dict[str, Any]]:
        """The chunks as JSON objects, in order. Raises `json.JSONDecodeError` when a line is not JSON."""
        return [json.loads(chunk) for chunk in self.chunks]


def load_streams(folder: Path) -> list[Stream]:
    """The streams that `folder/index.json` lists, in its order.

    Raises `FileNotFoundError` when the index or a listed file is missing, `KeyError` when an entry lacks a field.
    """
    index = json.loads((folder / "index.json").read_bytes())
    return [_load(folder, entry) for entry in index["streams"]]


def own_corpus() -> list[Stream]:
    """The streams that ship with the package: every shape seen in the field, with texts of our own."""
    return load_streams(_STREAMS)


def real_corpus() -> list[Stream] | None:
    """The streams recorded from real providers, or None where they are not.

    They are looked for in the folder that `TURNLOG_REAL_DATA` names, else in `../shared/data` as seen from the
    current directory, else as seen from the checkout.
    """
    named = os.environ.get("TURNLOG_REAL_DATA")
    beside = (base.parent / "shared" / "data" for base in (Path.cwd(), _CHECKOUT))
    for data in [Path(named)] if named else beside:
        if (data / "streams" / "index.json").is_file():
            return load_streams(data / "streams")
    return None


def _load(folder: Path, entry: Mapping[str, Any]) -> Stream:
    path = folder / str(entry["file"])
    delays = entry.get("delays_ms")
    return Stream(
        name=path.stem,
        path=path,
        chunks=_lines(path.read_bytes()),
        expected=entry["expected"],
        error_line_indexes=tuple(entry["error_line_indexes"]),
        delays_ms=None if delays is None else tuple(delays),
        features=tuple(entry["features"]),
        provider=str(entry["provider"]),
    )


def _lines(data: bytes) -> tuple[bytes, ...]:
    # Not splitlines(): on text it would also cut at U+2028 and U+0085, which stand raw inside recorded texts.
    return tuple(line for line in data.split(b"\n") if line)
