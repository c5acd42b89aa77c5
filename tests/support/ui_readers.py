"""Streams as the AI SDK's own reader has them, in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from tests.support.histories import History
from tests.support.pages import ROOT
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.projector import Projector
from turnlog.projections.ui_messages import gathered
from turnlog.projections.ui_stream import UiStream

Json = dict[str, Any]
PROGRAMS = ROOT / "tests" / "server" / "ai" / "node"
NODE = shutil.which("node")
needs_ai_sdk = pytest.mark.skipif(
    NODE is None or not (PROGRAMS / "node_modules" / "ai").is_dir(), reason="make test-node-ai installs the AI SDK"
)


class Read(NamedTuple):
    """What became of a stream."""

    message: Json | None
    wrong: list[str]


class Reader:
    """A process of Node that reads streams, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self, chunks: Sequence[Json]) -> Read:
        """The message that the package makes of the chunks, each checked against the package's schema."""
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        text = "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks)
        asked.write(json.dumps({"text": f"{text}data: [DONE]\n\n"}) + "\n")
        asked.flush()
        return Read(**json.loads(answered.readline()))


@contextmanager
def ai_sdk_reader() -> Iterator[Reader]:
    """The reader, while the block runs."""
    assert NODE is not None
    pipe = subprocess.PIPE
    command = [NODE, str(PROGRAMS / "ui_stream.mjs")]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8") as process:
        yield Reader(process)


def streamed(history: History, cut: int, after: int, step: int = 1) -> tuple[list[Json], int]:
    """The chunks for somebody who comes when so many events are there: the answer to what is at the position `after`,
    and its changes, where so many events are there together. And how many events there were at its end."""
    before = _folded(history[:cut])
    turns = before.raw_turns()
    stream = UiStream(before, after)
    chunks = stream.opened(turns)
    for first in range(cut, len(history), step):
        if stream.is_over:
            return chunks, first
        for recorded in history[first : first + step]:
            if (chunk := stream.take(recorded)) is not None:
                chunks.append(chunk)
        chunks += stream.settled()
    return chunks, len(history)


def _folded(events: Sequence[RecordedEvent]) -> Projector:
    return Projector(events[0].session_id).apply_all(events)


def answer_in(history: History, after: int) -> Json | None:
    """The answer to what is at this position, as whole messages have it."""
    found = gathered(_folded(history).raw_turns(), after)
    return next((one.shown() for one in found if one.role == "assistant" and one.steps), None)


def comparable(message: Json | None) -> Json | None:
    """A message without what only streams have, or only whole messages."""
    if message is None:
        return None
    metadata = {name: value for name, value in message["metadata"].items() if value is not None}
    parts = [_comparable(part) for part in message["parts"]]
    if parts and parts[-1]["type"] == "step-start":  # the reader shows it with what follows
        parts.pop()
    return {**message, "metadata": metadata, "parts": parts}


def _comparable(part: Json) -> Json:
    if part["type"] == "reasoning":
        return {name: value for name, value in part.items() if name != "id"}  # which the reader has made of a chunk's
    if part["type"] == "file":
        return {name: value for name, value in part.items() if name != "filename"}  # of which there is no chunk
    if part.get("state") == "input-streaming":
        return {name: value for name, value in part.items() if name != "input"}  # the reader completes what is there
    return part
