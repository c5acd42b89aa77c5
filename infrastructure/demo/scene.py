"""What the demo plays, and at what pace."""

from __future__ import annotations

from dataclasses import dataclass, replace

from turnlog.infrastructure.demo.script import Turn, load_script
from turnlog.infrastructure.testing.corpus import Stream, own_corpus

CROWD_CHUNKS = 50
FIRST_MS = 800.0
DELTA_MS = 30.0
"""As of a real model: a while until the first token, and then some 33 a second."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The system message; the turns of the first conversation; the long answer that is cut short, and the turn after
    it; the turn that is killed while its tool runs; and what each session of the crowd records."""

    system: str
    turns: tuple[Turn, ...]
    long_answer: Turn
    afterwards: Turn
    with_tools: Turn
    crowd: Stream


def load_scene(pace: float | None = None) -> Scene:
    """The scene, with `pace` seconds before each chunk, or as recorded."""
    two_tools, long_running, lighthouse = load_script().conversations
    first, umbrella = two_tools.turns
    long_answer = lighthouse.turns[0]
    return Scene(
        system=two_tools.system,
        turns=tuple(replace(turn, delay=pace) for turn in (first, *long_running.turns)),
        # The answer that is cut short keeps its time, so that there is a middle to cut it in.
        long_answer=long_answer,
        afterwards=replace(umbrella, delay=pace),
        with_tools=replace(first, delay=pace),
        crowd=_crowd(next(stream for stream in own_corpus() if stream.name in long_answer.streams), pace),
    )


def _crowd(stream: Stream, pace: float | None) -> Stream:
    """The beginning and the end of a long stream."""
    chunks = (*stream.chunks[: CROWD_CHUNKS - 2], *stream.chunks[-2:])
    each, first = (DELTA_MS, FIRST_MS) if pace is None else (pace * 1000, pace * 1000)
    return replace(stream, chunks=chunks, delays_ms=(first, *[each] * (CROWD_CHUNKS - 1)))
