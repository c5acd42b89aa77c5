"""Event streams that are not as they should be: cut elsewhere, out of order, with anything in place of anything."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.event_streams import EVENT_STREAMS, EventStream, Read, outcome, read, read_again
from turnlog import InvalidInputError, Step

ROUNDS = 400
PIECES = ("delta", "text", "thinking", "partial_json")
"""The fields in which a text comes in pieces."""
ODD: list[Any] = [None, 0, -1, True, 0.5, "", "x", "\ud83d", [], ["x"], {}, {"type": "x"}, [None], 2**40]
NAMES: list[Any] = ["\udc83", "", "x" * 2_000, 7, "deltas", "input_json", "events", "item"]


def _recut(events: list[dict[str, Any]], rng: random.Random) -> Iterator[dict[str, Any]]:
    """The same stream with each piece of a text in two events."""
    for event in events:
        holder = event if isinstance(event.get("delta"), str) else event.get("delta") or {}
        field = next((name for name in PIECES if isinstance(holder.get(name), str) and len(holder[name]) > 1), None)
        if field is None or event.get("logprobs") or not str(event["type"]).endswith("delta"):
            yield event
            continue
        cut = rng.randrange(1, len(holder[field]))
        for piece in (holder[field][:cut], holder[field][cut:]):
            part = copy.deepcopy(event)
            (part if holder is event else part["delta"])[field] = piece
            yield part


@pytest.mark.parametrize("stream", EVENT_STREAMS[::3], ids=str)
def test_texts_cut_elsewhere_come_to_the_same(stream: EventStream) -> None:
    again = read(_recut(stream.events, random.Random(stream.name)))

    assert _texts(again) == _texts(read_again(stream))


def _texts(done: Read) -> Any:
    said = outcome(done)
    parts = [{**part, "data": {k: v for k, v in part["data"].items() if k != "deltas"}} for part in said["parts"]]
    return {**said, "parts": parts}


def _spoilt(events: list[dict[str, Any]], rng: random.Random) -> list[Any]:
    """The stream with some events lost, repeated, or exchanged, and some values replaced or left out."""
    spoilt: list[Any] = copy.deepcopy(events)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(spoilt))
        match rng.randrange(5):
            case 0 if len(spoilt) > 1:
                del spoilt[at]
            case 1:
                spoilt.insert(rng.randrange(len(spoilt)), copy.deepcopy(spoilt[at]))
            case 2:
                other = rng.randrange(len(spoilt))
                spoilt[at], spoilt[other] = spoilt[other], spoilt[at]
            case _:
                _spoil(spoilt[at], rng)
    return spoilt


def _spoil(event: Any, rng: random.Random) -> None:
    """Replaces a value somewhere inside, or drops it."""
    holder = event
    while isinstance(holder, dict | list) and holder:
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        inside = holder[key]
        if not isinstance(inside, dict | list) or not inside or rng.random() < 0.3:
            if isinstance(holder, dict) and rng.random() < 0.3:
                del holder[key]
            elif isinstance(holder, dict) and rng.random() < 0.3:
                holder[rng.choice(NAMES)] = copy.deepcopy(rng.choice(ODD))
            else:
                holder[key] = copy.deepcopy(rng.choice(ODD))
            return
        holder = inside


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_is_read_or_refused_and_leaves_a_message_that_is_whole(seed: int) -> None:
    rng = random.Random(seed)
    refused = 0
    for _ in range(ROUNDS // 4):
        stream = rng.choice(EVENT_STREAMS)
        events = _spoilt(stream.events, rng)
        try:
            step = read(events).step
        except InvalidInputError:
            refused += 1
            continue
        _check(step)
    assert refused < ROUNDS / 8  # nearly all can be read


def _check(step: Step) -> None:
    message = step.message
    for kind, text in (("text", message.content), ("reasoning", message.reasoning), ("refusal", message.refusal)):
        of_parts = [part.text or "" for part in message.parts if part.kind == kind]
        assert sorted("".join(of_parts)) == sorted(str(text or ""))
    assert Step.from_json(step.to_json()) == step
