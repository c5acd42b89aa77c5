"""Recorded streams on disk: a folder of `NAME.jsonl` files, one chunk a line, with an `index.json` about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_STREAMS = Path(__file__).resolve().parent / "streams"


@dataclass(frozen=True, slots=True)
class Stream:
    """One recorded stream.

    `chunks` are the `data:` payloads, byte for byte. `expected` is what they fold to: `choices` by index (each
    `message` and `finish_reason`), `usage`, `errors`. `error_line_indexes` are the chunks that carry an error.
    `delays_ms` is the wait before each chunk, where it is known. `provider` is who sends streams of this shape.
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
    """The streams that ship with turnlog: every shape that real providers were seen to send, with texts of our own."""
    return list(_own().values())


def own_stream(name: str) -> Stream | None:
    """The stream of that name that ships with turnlog, or None."""
    return _own().get(name)


def lines(data: bytes) -> tuple[bytes, ...]:
    """The lines of a JSONL file that are not empty."""
    # Not splitlines(): on text it would also cut at U+2028 and U+0085, which stand raw inside recorded texts.
    return tuple(line for line in data.split(b"\n") if line)


@cache
def _own() -> dict[str, Stream]:
    return {stream.name: stream for stream in load_streams(_STREAMS)}


def _load(folder: Path, entry: Mapping[str, Any]) -> Stream:
    path = folder / str(entry["file"])
    delays = entry.get("delays_ms")
    return Stream(
        name=path.stem,
        path=path,
        chunks=lines(path.read_bytes()),
        expected=entry["expected"],
        error_line_indexes=tuple(entry["error_line_indexes"]),
        delays_ms=None if delays is None else tuple(delays),
        features=tuple(entry["features"]),
        provider=str(entry["provider"]),
    )
