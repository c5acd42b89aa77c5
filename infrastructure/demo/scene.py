"""What the demo plays: its own script, in front of which come streams of real providers where they are at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnlog.infrastructure.testing import DemoTurn, Stream, load_demo, own_corpus, real_corpus

CROWD_CHUNKS = 50
FIRST_MS = 800.0
DELTA_MS = 30.0
"""A model's: a while until the first token, then some 33 a second."""

_REASONING = {"reasoning_content", "reasoning"}
_TOOLS_AND_TEXT = {"parallel_tool_calls", "text_and_tools"}


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, the streams that answer, and where those come from (None: written for the demo)."""

    user: str
    streams: tuple[str, ...]
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """The turns of the first conversation; the long answer that is cut short, and what is asked after that; what each
    of the crowd plays."""

    system: str
    turns: tuple[Turn, ...]
    long_answer: Turn
    afterwards: Turn
    streams: tuple[Stream, ...]
    crowd: Stream


def load_scene(pace: float | None, *, live: bool) -> Scene:
    """The scene, at `pace` instead of the recorded one if given. `live` leaves out what only a recording answers."""
    two_tools, long_running, lighthouse = load_demo().conversations
    own, real = own_corpus(), [] if live else (real_corpus() or [])
    first = [_turn(two_tools.turns[0])] if live or not real else list(_real_turns(real))
    long_answer = _turn(lighthouse.turns[0])
    played = {name for turn in first for name in turn.streams}
    streams = [*own, *(stream for stream in real if stream.name in played)]
    return Scene(
        system=two_tools.system,
        turns=(*first, *map(_turn, long_running.turns)),
        long_answer=long_answer,
        afterwards=_turn(two_tools.turns[1]),
        # The answer that is cut short keeps its time, so that there is a middle to cut it in.
        streams=tuple(stream if stream.name in long_answer.streams else _at(pace, stream) for stream in streams),
        crowd=_cut(next(stream for stream in own if stream.name in long_answer.streams), pace),
    )


def _turn(turn: DemoTurn) -> Turn:
    return Turn(turn.user, turn.streams)


def _at(pace: float | None, stream: Stream) -> Stream:
    return stream if pace is None else replace(stream, delays_ms=None)


def _cut(stream: Stream, pace: float | None) -> Stream:
    """The beginning and the end of a long stream, at the crowd's pace."""
    chunks = (*stream.chunks[: CROWD_CHUNKS - 2], *stream.chunks[-2:])
    delays = (FIRST_MS, *[DELTA_MS] * (CROWD_CHUNKS - 1))
    return replace(stream, chunks=chunks, delays_ms=delays if pace is None else None)


def _real_turns(streams: Sequence[Stream]) -> Iterator[Turn]:
    """A turn with reasoning, text and parallel calls, one with reasoning, and one with text only."""
    by_name = {stream.name: stream for stream in streams}
    sound = [stream for stream in streams if _is_sound(stream)]
    if first := _longest([each for each in sound if _starts_a_pair(each, by_name)], below=100):
        yield Turn(_request(first), (first.name, _second(first.name)), _source(first))
    told = [each for each in sound if "text" in each.features and each.name.endswith("__0") and not _calls(each)]
    if thought := _longest([each for each in told if _REASONING & set(each.features)], below=60):
        yield Turn("Think first, and then tell me.", (thought.name,), _source(thought))
    if text := _longest([each for each in told if not _REASONING & set(each.features)], below=100):
        yield Turn("And now tell me something at greater length.", (text.name,), _source(text))


def _is_sound(stream: Stream) -> bool:
    odd = {"multi_choice", "no_finish_reason", "finish:length", "finish:content_filter", "refusal"}
    return not stream.error_line_indexes and not odd & set(stream.features) and "0" in stream.expected["choices"]


def _starts_a_pair(stream: Stream, by_name: dict[str, Stream]) -> bool:
    """Whether it calls tools after some reasoning, and the answer to their results was recorded too."""
    features, answer = set(stream.features), by_name.get(_second(stream.name))
    return (
        stream.name.endswith("__0")
        and features >= _TOOLS_AND_TEXT
        and bool(features & _REASONING)
        and answer is not None
        and not _calls(answer)
    )


def _second(name: str) -> str:
    return f"{name[:-1]}1"


def _longest(streams: Sequence[Stream], below: int) -> Stream | None:
    fitting = [stream for stream in streams if len(stream.chunks) < below]
    return max(fitting, key=lambda stream: (len(stream.chunks), stream.name), default=None)


def _calls(stream: Stream) -> list[dict[str, Any]]:
    return stream.expected["choices"]["0"]["message"].get("tool_calls") or []


def _request(stream: Stream) -> str:
    functions = [call["function"] for call in _calls(stream)]
    wanted = [f"{each['name']}({_values(each['arguments'])})" for each in functions]
    return f"Use your tools for this: {' and '.join(wanted)}."


def _values(arguments: str) -> str:
    return ", ".join(str(value) for value in json.loads(arguments).values())


def _source(stream: Stream) -> str:
    return f"{stream.provider}, {stream.parsed()[0].get('model', 'unknown model')}, {len(stream.chunks)} chunks"
