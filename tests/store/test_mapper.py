"""What is stored, to the byte: golden files are never edited, for old logs are full of what they hold."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given

from tests.support.samples import AT, LATER, SAMPLES
from tests.support.strategies import any_event
from turnlog.domain.errors import UnreadableEventError
from turnlog.domain.events import EVENT_TYPES, SessionEvent, TextDelta
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.store.mapper import EventMapper

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
ID = UUID(int=1)


FILES = [(event.topic, event) for event in SAMPLES] + [(f"{event.topic}+{name}", event) for name, event in LATER]


@pytest.mark.parametrize(("name", "event"), FILES, ids=[name for name, _ in FILES])
def test_an_event_is_stored_and_read_as_its_golden_file_says(name: str, event: SessionEvent) -> None:
    golden = (GOLDEN / f"{name}.json").read_bytes().rstrip(b"\n")

    assert event.to_json() == golden
    assert EventMapper().event(event.topic, golden) == event


def test_every_event_and_nothing_else_has_a_golden_file() -> None:
    assert {event_type.topic for event_type in EVENT_TYPES} == {
        path.stem.split("+")[0] for path in GOLDEN.glob("*.json")
    }
    assert {name for name, _ in FILES} == {path.stem for path in GOLDEN.glob("*.json")}
    assert len({event_type.topic for event_type in EVENT_TYPES}) == len(EVENT_TYPES)


@given(any_event)
def test_an_event_comes_back_as_it_was_whatever_text_it_holds(event: SessionEvent) -> None:
    mapper = EventMapper()
    stored = mapper.to_stored_event(RecordedEvent(ID, 3, 0, event))

    assert mapper.to_domain_event(stored) == RecordedEvent(ID, 3, 0, event)


def test_two_halves_of_a_character_stay_two_halves() -> None:
    event = TextDelta(at=AT, step_id="s", text="\ud83d\ude00 \ud83d \0")

    assert EventMapper().event(event.topic, event.to_json()) == event


def test_an_old_version_is_read_through_its_upcasters_one_after_the_other() -> None:
    mapper = EventMapper(
        {
            "text-delta.v-1": lambda old: ("text-delta.v0", {**old, "step": old["s"]}),
            "text-delta.v0": lambda old: ("text-delta.v1", {**old, "step_id": old["step"]}),
        }
    )
    old = b'{"at":"2026-11-22T13:50:56.123456Z","s":"s1","text":"hi"}'

    assert mapper.event("text-delta.v-1", old) == TextDelta(at=AT, step_id="s1", text="hi")


def test_an_unknown_topic_and_a_broken_body_are_said() -> None:
    with pytest.raises(UnreadableEventError, match=r"unknown topic .text-delta\.v99"):
        EventMapper().event("text-delta.v99", b"{}")
    with pytest.raises(UnreadableEventError, match=r"a stored text-delta\.v1 does not parse"):
        EventMapper().event("text-delta.v1", b'{"at"')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"at":"2026-11-22T13:50:56Z","step_id":"s1","text":["a secret"]}', "text: "),
        (b'{"at":"2026-11-22T13:50:56Z","step_id":"s1","a secret":1}', "missing"),
        (b'"a secret"', "type"),
        (b'{"a secret', "json"),
        (b"a secret \xff", ""),
    ],
)
def test_what_is_said_of_a_broken_body_quotes_nothing_of_it(body: bytes, said: str) -> None:
    with pytest.raises(UnreadableEventError, match="does not parse") as error:
        EventMapper().event("text-delta.v1", body)
    assert said in str(error.value)
    assert "secret" not in f"{error.value} {error.value.__cause__!r}"
