"""The picture of the way of one delta, from the provider's socket to whoever is shown it.

A test records a delta and holds the steps to what was called, in this order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from docs.generate.svg import Box, arrow, drawing, text

LANES = {"outside": 20, "append": 216, "domain": 412, "store": 608}
"""By layer or room: where its boxes begin."""
_WIDTH, _HEIGHT, _ROW = 180, 48, 64
_KINDS = {"append": "append", "domain": "inner", "store": "read"}


class Step(NamedTuple):
    """A step on the way. `module` is below `turnlog`, and empty where it is not code of ours."""

    lane: str
    name: str
    note: str
    module: str = ""


STEPS = (
    Step("outside", "the provider's socket", "a chunk of the answer"),
    Step("append", "StreamRecorder._record", "reads ahead, a little", "infrastructure.append.stream_recorder"),
    Step("append", "ChunkReader.read", "chunk -> AppendText", "infrastructure.append.chunk_reader"),
    Step("append", "Aggregate.submit", "one session, in order", "infrastructure.append.aggregate"),
    Step("domain", "is_text", "may it be appended?", "domain.decide"),
    Step("domain", "text_delta_json", "-> text-delta.v1, as JSON", "domain.events"),
    Step("store", "GroupCommit.put", "queued, with all sessions", "infrastructure.store.group_commit"),
    Step("store", "GroupCommit._send", "all that waits: one batch", "infrastructure.store.group_commit"),
    Step("store", "pack_appends", "columns as binary arrays", "infrastructure.store.packing"),
    Step("store", "Wire.send", "one statement, no waiting", "infrastructure.store.wire"),
    Step("outside", "Postgres commits", "one transaction"),
    Step("store", "Wire._readable", "the answer is there", "infrastructure.store.wire"),
    Step("store", "GroupCommit._stored", "settles each append", "infrastructure.store.group_commit"),
    Step("append", "Aggregate.settled", "the append is durable", "infrastructure.append.aggregate"),
    Step("append", "StreamRecorder.next", "only now", "infrastructure.append.stream_recorder"),
    Step("outside", "who is shown the chunk", "it comes as it came"),
)


def picture() -> str:
    """The picture as SVG."""
    boxes = [_box(number, step) for number, step in enumerate(STEPS)]
    parts = [
        *(text(x + _WIDTH // 2, 24, lane, "name", "middle") for lane, x in LANES.items() if lane != "outside"),
        *(_arrow(above, below) for above, below in pairwise(boxes)),
        *(box.drawn() for box in boxes),
    ]
    return drawing(808, 34 + len(STEPS) * _ROW, "The way of one delta, from the provider to whoever is shown it", parts)


def _box(number: int, step: Step) -> Box:
    style = "code" if step.module else "name"
    y = 40 + number * _ROW
    return Box(LANES[step.lane], y, _WIDTH, _HEIGHT, step.name, step.note, _KINDS.get(step.lane, "box"), style)


def _arrow(above: Box, below: Box) -> str:
    start, end = above.x + _WIDTH // 2, below.x + _WIDTH // 2
    if start == end:
        return arrow((start, above.y + _HEIGHT), (end, below.y))
    side = above.x + (_WIDTH if end > start else 0)
    return arrow((side, above.y + _HEIGHT // 2), (end, above.y + _HEIGHT // 2), (end, below.y))
