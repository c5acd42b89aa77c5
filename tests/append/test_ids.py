"""Ids that turnlog gives: those of sessions, steps and messages in the order of time, and those of writers random."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

from tests.support.sessions import answer
from turnlog import SYSTEM, SessionLog
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.ids import OrderedNumbers, new_id, new_session_id, new_token

THEN = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_sessions_are_uuids_of_version_7_that_grow() -> None:
    before = now()
    ids = [new_session_id() for _ in range(20_000)]
    after = now()

    assert {(each.version, each.variant) for each in ids} == {(7, RFC_4122)}
    assert ids == sorted(set(ids))
    times = [(each.int >> 80) / 1000 for each in ids]
    assert before.timestamp() - 0.001 <= times[0] <= times[-1] <= after.timestamp() + 1
    assert len({each.int & (1 << 62) - 1 for each in ids}) == len(ids)


def test_short_ids_are_as_long_as_ever_and_grow() -> None:
    ids = [new_id() for _ in range(20_000)]

    assert ids == sorted(set(ids))
    assert {len(each) for each in ids} == {16}
    assert all(each.isascii() and each.isalnum() and each == each.lower() for each in ids)


def test_no_two_threads_are_given_the_same_id() -> None:
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda _: new_id(), range(20_000)))

    assert len(set(ids)) == len(ids)


def test_numbers_grow_while_the_clock_stands_still_or_goes_back_a_little() -> None:
    times = iter([*[THEN] * 1_000, *[THEN - timedelta(seconds=9)] * 1_000, *[THEN + timedelta(seconds=1)] * 10])
    numbers = OrderedNumbers(tail_bits=38, step_bits=24, clock=lambda: next(times))
    given = [numbers.next() for _ in range(2_010)]

    assert given == sorted(set(given))
    assert (given[1_999] >> 38) - (given[0] >> 38) <= 1  # so many fit into one millisecond, or reach into the next


def test_a_clock_that_was_far_ahead_leaves_nothing_behind() -> None:
    times = iter([THEN + timedelta(days=10_000), THEN, THEN + timedelta(seconds=1)])
    numbers = OrderedNumbers(tail_bits=74, step_bits=48, clock=lambda: next(times))
    far, back, again = (numbers.next() >> 74 for _ in range(3))

    assert far > again
    assert again - back == 1_000


def test_numbers_of_two_processes_at_one_time_do_not_meet() -> None:
    sources = [OrderedNumbers(tail_bits=38, step_bits=24, clock=lambda: THEN) for _ in range(1_000)]

    assert len({source.next() for source in sources}) == 1_000


def test_the_ids_of_writers_say_nothing_of_the_time() -> None:
    tokens = [new_token() for _ in range(200)]

    assert len({token[:4] for token in tokens}) > 150
    assert tokens != sorted(tokens)


async def test_what_a_log_names_is_in_the_order_of_time(log: SessionLog) -> None:
    sessions = [await log.start_session("u1") for _ in range(20)]
    fork = await sessions[0].fork()
    for _ in range(3):
        await sessions[0].say("Hi")
        await answer(sessions[0], "Hello")

    ids = [*(session.id for session in sessions), fork.id]
    assert ids == sorted(ids)
    assert {each.version for each in ids} == {7}
    turns = (await log.session(sessions[0].id, SYSTEM).view()).turns
    steps = [step.step_id for turn in turns for step in turn.steps]
    assert steps == sorted(steps)
