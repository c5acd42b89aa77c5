"""Whatever there are many of, four times as many cost four times as much."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import reduce
from typing import Any
from uuid import UUID

import pytest

from tests.support.foreign_messages import call, result, said, user
from tests.support.histories import AT, folded, imported
from tests.support.large import attempts, grows_in_proportion, owned_turns, response_of_calls, talk
from turnlog.domain import events as e
from turnlog.domain.commands import AddToolResult
from turnlog.domain.decide import decide
from turnlog.domain.evolve import evolve
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import SessionState, initial_state
from turnlog.infrastructure.cli.failures import masked
from turnlog.projections.messages import transcript
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import APIS, Api, build_prompt
from turnlog.projections.prompt.explain import explain
from turnlog.projections.prompt_diff import prompt_diff
from turnlog.projections.repair import corrections_of
from turnlog.projections.turn_watch import TurnWatch

SESSION_ID = UUID(int=1)
IDS = ["c{}", "c", ""]
"""Each call has an id of its own, all have one, or none has any."""


def recorded(events: list[e.SessionEvent]) -> list[RecordedEvent]:
    return [RecordedEvent(SESSION_ID, position, 0, event) for position, event in enumerate(events, 1)]


def state_after(events: list[e.SessionEvent]) -> SessionState:
    return reduce(evolve, events, initial_state(SESSION_ID))


@pytest.mark.parametrize("call_id", IDS)
def test_the_state_of_a_response_with_many_calls(call_id: str) -> None:
    def work(count: int) -> Callable[[], Any]:
        events = response_of_calls(count, call_id)
        return lambda: state_after(events)

    assert grows_in_proportion(work)


@pytest.mark.parametrize("call_id", IDS)
def test_results_are_decided(call_id: str) -> None:
    def work(count: int) -> Callable[[], Any]:
        state = state_after(response_of_calls(count, call_id, result=None))

        def answer() -> None:
            after = state
            for index in range(count):
                answered = decide(after, AddToolResult(AT, call_id.format(index), "final", f"{index}"))
                after = reduce(evolve, answered, after)

        return answer

    assert grows_in_proportion(work)


@pytest.mark.parametrize("call_id", IDS)
def test_a_response_with_many_calls_is_folded_and_shown(call_id: str) -> None:
    def work(count: int) -> Callable[[], Any]:
        events = recorded(response_of_calls(count, call_id))
        return lambda: Projector(SESSION_ID).apply_all(events).view().messages

    assert grows_in_proportion(work)


def test_each_result_is_filed_without_copying_the_others() -> None:
    def work(count: int) -> Callable[[], Any]:
        events = recorded(response_of_calls(count))
        return lambda: Projector(SESSION_ID).apply_all(events)

    assert seconds(work(4_000)) < 7 * seconds(work(1_000))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("events", [response_of_calls, attempts, talk, owned_turns])
def test_a_prompt(api: Api, events: Callable[[int], list[e.SessionEvent]]) -> None:
    def work(count: int) -> Callable[[], Any]:
        turns = Projector(SESSION_ID).apply_all(recorded(events(count))).turns()
        return lambda: build_prompt(turns, api)

    assert grows_in_proportion(work)


def test_the_results_of_a_response_are_one_message_of_a_user() -> None:
    def work(count: int) -> Callable[[], Any]:
        turns = Projector(SESSION_ID).apply_all(recorded(response_of_calls(count))).turns()
        return lambda: build_prompt(turns, "anthropic")

    assert seconds(work(4_000)) < 8 * seconds(work(1_000))  # what is copied at once calls no function


def test_a_prompt_whose_results_are_shortened() -> None:
    def work(count: int) -> Callable[[], Any]:
        events = recorded(response_of_calls(count, result="x" * 500))
        turns = Projector(SESSION_ID).apply_all(events).turns()
        return lambda: build_prompt(turns, max_tokens=count * 100)

    assert grows_in_proportion(work)


@pytest.mark.parametrize("events", [response_of_calls, attempts, talk, owned_turns])
def test_a_watch_for_the_end_of_a_turn(events: Callable[[int], list[e.SessionEvent]]) -> None:
    def work(count: int) -> Callable[[], Any]:
        def watch() -> None:
            first, *others = recorded(events(count))
            watching = TurnWatch(Projector(SESSION_ID).apply_all([first]))
            for event in others:
                watching.apply(event)

        return watch

    assert grows_in_proportion(work)


def test_turns_with_owners_are_decided_on_folded_and_shown() -> None:
    def work(count: int) -> Callable[[], Any]:
        events = owned_turns(count)

        def fold() -> None:
            state_after(events)
            assert Projector(SESSION_ID).apply_all(recorded(events)).view().messages

        return fold

    assert grows_in_proportion(work)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("events", [response_of_calls, talk])
def test_an_explanation(api: Api, events: Callable[[int], list[e.SessionEvent]]) -> None:
    def work(count: int) -> Callable[[], Any]:
        return lambda: explain(SESSION_ID, recorded(events(count)), api)

    assert grows_in_proportion(lambda count: work(6 * count if events is response_of_calls else count))


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("call_id", IDS)
def test_an_imported_message_with_many_calls_and_their_results(call_id: str, early: bool) -> None:
    def work(count: int) -> Callable[[], Any]:
        ids = [call_id.format(n) for n in range(count)]
        calls = said(None, *(call(one, arguments=f'{{"n":{n}}}') for n, one in enumerate(ids)))
        results = [result(one) for one in ids]
        history = imported([user(), *results, calls] if early else [user(), calls, *results])
        return lambda: folded(history).view()

    assert grows_in_proportion(work)


def test_counters_with_many_keys() -> None:
    def work(count: int) -> Callable[[], Any]:
        counted = [e.CounterIncremented(at=AT, id=f"{n}", counter="c", key=f"{n}", by=1) for n in range(count)]
        return lambda: Projector(SESSION_ID).apply_all(recorded([*talk(0), *counted])).view()

    assert grows_in_proportion(work)


def test_joined_texts_are_what_the_parts_were() -> None:
    turns = Projector(SESSION_ID).apply_all(recorded(attempts(50))).turns()
    assert transcript(turns)[1:] == [{"role": "assistant", "content": "more " * 50}]


def seconds(work: Callable[[], Any]) -> float:
    """CPU time of the quicker of two runs, without the garbage collector, which looks at what other tests have left."""
    took = list[float]()
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            began = time.process_time()
            work()
            took.append(time.process_time() - began)
    finally:
        gc.enable()
    return max(min(took), 0.005)


@pytest.mark.parametrize("text", ["/:", "password='\\'", "password ", "/a:b@", "a@"])
def test_passwords_are_looked_for_in_any_text(text: str) -> None:
    assert seconds(lambda: masked(text * 8_000)) < 10 * seconds(lambda: masked(text * 2_000))


def test_the_seam_of_a_split_message_is_judged_by_its_last_sign() -> None:
    def seam(count: int) -> Callable[[], Any]:
        parts = [user(), said("a" + ")" * count + "x"), said("and on")]
        return lambda: corrections_of(folded(imported(parts)).raw_turns()[0])

    assert seconds(seam(40_000)) < 10 * seconds(seam(10_000))


def test_the_password_of_a_url_may_hold_any_sign() -> None:
    assert masked("no 'postgres://u:p@s/s:@host/db' here") == "no 'postgres://u:***@host/db' here"


@pytest.mark.parametrize("kept", [lambda n: n % 3, lambda n: n % 3 == 0, lambda _: False])
def test_a_diff_of_many_messages(kept: Callable[[int], bool]) -> None:
    def work(count: int) -> Callable[[], Any]:
        before = [{"role": "user", "content": f"{n % 7}"} for n in range(count)]
        after = [{"role": "user", "content": f"{n}" if kept(n) else f"{n % 5}"} for n in range(count)]
        return lambda: prompt_diff(before, after)

    assert grows_in_proportion(lambda count: work(10 * count))


def test_a_diff_says_what_was_left_out_and_what_was_put_in() -> None:
    before = [{"content": f"{n}"} for n in range(200)]
    after = [*before[:50], {"content": "new"}, *before[51:150], *before[151:]]
    lines = prompt_diff(before, after).splitlines()
    assert [line for line in lines if line[0] in "-+"] == [
        "--- as stored",
        "+++ as repaired",
        '-{"content": "50"}',
        '+{"content": "new"}',
        '-{"content": "150"}',
    ]
    assert len(lines) == 15
