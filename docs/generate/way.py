"""The picture of the way of one delta, from the provider's socket to whoever is shown it.

A test records deltas and holds the steps to what was called, in this order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from docs.generate.svg import Box, arrow, drawing, text

LANES = {"outside": 20, "append": 216, "domain": 412, "store": 608}
"""By layer or room: where its boxes begin."""
_WIDTH, _HEIGHT, _ROW, _MARGIN = 180, 48, 64, 20
_KINDS = {"append": "append", "domain": "inner", "store": "read"}


class Step(NamedTuple):
    """A step on the way. `module` is below `turnlog`, and empty where it is not code of ours."""

    lane: str
    name: str
    note: str
    module: str = ""


BEFORE = (
    Step("outside", "the provider's socket", "a chunk of the answer"),
    Step("append", "StreamRecorder._record", "reads ahead, a little", "infrastructure.append.stream_recorder"),
    Step("append", "ChatReader.read", "chunk -> command", "infrastructure.append.chunks.chat"),
    Step("append", "Aggregate.submit", "one session, in order", "infrastructure.append.aggregate"),
)
TEXT = (Step("store", "encode_text", "the same three, in one go", "infrastructure.store.text_lane"),)
"""What a text takes, as nearly all deltas are."""
OTHER = (
    Step("domain", "decide", "may it be appended?", "domain.decide"),
    Step("domain", "evolve", "the state after it", "domain.evolve"),
    Step("store", "AppendEncoder.encode", "topic, JSON, keys", "infrastructure.store.encoding"),
)
"""What every other command takes in place of that."""
AFTER = (
    Step("store", "GroupCommit.put", "queued, with all sessions", "infrastructure.store.group_commit"),
    Step("store", "GroupCommit._send", "all that waits: one batch", "infrastructure.store.group_commit"),
    Step("store", "pack_appends", "columns as binary arrays", "infrastructure.store.packing"),
    Step("store", "Wire.send", "one statement, no waiting", "infrastructure.store.wire"),
    Step("outside", "Postgres commits", "one transaction"),
    Step("store", "Wire._readable", "the answer is there", "infrastructure.store.wire"),
    Step("store", "GroupCommit._stored", "settles each append", "infrastructure.store.group_commit"),
    Step("append", "Aggregate.settled", "the append is durable", "infrastructure.append.aggregate"),
    Step("append", "StreamRecorder.next", "only now", "infrastructure.append.stream_recorder"),
    Step("outside", "whoever is shown it", "the chunk, as it came"),
)


def picture() -> str:
    """The picture as SVG: the ordinary way downwards, and the short one of a text beside it."""
    boxes = [_box(row, step) for row, step in enumerate((*BEFORE, *OTHER, *AFTER))]
    fork, join = boxes[len(BEFORE) - 1], boxes[-len(AFTER)]
    (short,) = (_box(len(BEFORE) - 1, step) for step in TEXT)
    parts = [
        *(text(x + _WIDTH // 2, 24, lane, "name", "middle") for lane, x in LANES.items() if lane != "outside"),
        *(_arrow(above, below) for above, below in pairwise(boxes)),
        arrow((fork.x + _WIDTH, _middle(fork)), (short.x, _middle(short))),
        arrow(
            (short.x + _WIDTH, _middle(short)),
            (short.x + _WIDTH + _MARGIN, _middle(short)),
            (short.x + _WIDTH + _MARGIN, _middle(join)),
            (join.x + _WIDTH, _middle(join)),
        ),
        text(LANES["domain"] + _WIDTH // 2 + 10, _middle(fork) - 8, "a text", "note"),
        text(LANES["domain"] + _WIDTH // 2 + 10, _middle(fork) + 24, "anything else", "note"),
        *(box.drawn() for box in (*boxes, short)),
    ]
    height = 34 + len(boxes) * _ROW
    return drawing(808 + 2 * _MARGIN, height, "The way of one delta, from the provider to whoever is shown it", parts)


def _box(row: int, step: Step) -> Box:
    style = "code" if step.module else "name"
    y = 40 + row * _ROW
    return Box(LANES[step.lane], y, _WIDTH, _HEIGHT, step.name, step.note, _KINDS.get(step.lane, "box"), style)


def _middle(box: Box) -> int:
    return box.y + _HEIGHT // 2


def _arrow(above: Box, below: Box) -> str:
    start, end = above.x + _WIDTH // 2, below.x + _WIDTH // 2
    if start == end:
        return arrow((start, above.y + _HEIGHT), (end, below.y))
    side = above.x + (_WIDTH if end > start else 0)
    return arrow((side, _middle(above)), (end, _middle(above)), (end, below.y))
