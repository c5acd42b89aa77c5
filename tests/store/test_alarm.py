"""The alarm: one timer for many settings."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from turnlog.infrastructure.store.alarm import Alarm

SETTINGS: dict[str, tuple[Callable[[Alarm, float], None], float]] = {
    "once": (lambda alarm, now: alarm.set(now + 0.05), 0.05),
    "later": (lambda alarm, now: (alarm.set(now + 0.02), alarm.set(now + 0.08))[0], 0.08),
    "earlier": (lambda alarm, now: (alarm.set(now + 5), alarm.set(now + 0.05))[0], 0.05),
    "anew after it was cleared": (
        lambda alarm, now: (alarm.set(now + 0.02), alarm.clear(), alarm.set(now + 0.06))[0],
        0.06,
    ),
    "anew after it was stopped": (
        lambda alarm, now: (alarm.set(now + 0.02), alarm.stop(), alarm.set(now + 0.06))[0],
        0.06,
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
async def test_it_rings_once_and_not_before_the_time_that_it_was_set_to_last(case: str) -> None:
    loop, rang = asyncio.get_running_loop(), list[float]()
    alarm = Alarm(loop, lambda: rang.append(loop.time()))
    now, (setting, after) = loop.time(), SETTINGS[case]
    setting(alarm, now)
    await asyncio.sleep(after + 0.1)
    assert len(rang) == 1
    assert now + after <= rang[0] < now + 5
    assert alarm.time == math.inf


@pytest.mark.parametrize("ended", [Alarm.clear, Alarm.stop])
async def test_it_does_not_ring_when_it_was_ended(ended: Callable[[Alarm], None]) -> None:
    rang = list[bool]()
    alarm = Alarm(asyncio.get_running_loop(), lambda: rang.append(True))
    alarm.set(asyncio.get_running_loop().time() + 0.02)
    ended(alarm)
    await asyncio.sleep(0.06)
    assert (rang, alarm.time) == ([], math.inf)


async def test_the_loop_has_one_timer_however_often_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, made = asyncio.get_running_loop(), list[float]()
    call_at = loop.call_at
    monkeypatch.setattr(loop, "call_at", lambda when, *args: (made.append(when), call_at(when, *args))[1])
    alarm = Alarm(loop, lambda: None)
    for number in range(1_000):
        alarm.set(loop.time() + 5 + number)
        alarm.clear()
    alarm.stop()
    assert len(made) == 1
