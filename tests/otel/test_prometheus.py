"""/metrics of `turnlog serve`, with one process and with several; who may read it; and what has no metrics."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.support.served import AS_SYSTEM, app_of, as_user, asked
from tests.support.serving import serve
from tests.support.telemetry import Telemetry
from turnlog import SessionLog, Settings
from turnlog.infrastructure.otel.prometheus import Exposition, merged

USER, SYSTEM = "user:u1=users", "system=systems"


EVENTS = "turnlog_events_total"


def until(ask: Callable[[], str], is_enough: Callable[[str], bool]) -> str:
    """What is answered once it is enough: what other processes have done is known a few seconds later."""
    pause, ends = threading.Event(), time.monotonic() + 20
    while not is_enough(text := ask()):
        assert time.monotonic() < ends, text
        pause.wait(0.2)
    return text


def count(text: str, name: str) -> float:
    """The sum of all series of this name."""
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.partition("{")[0] == name)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_system_reads_what_all_processes_have_done(settings: Settings, workers: int) -> None:
    options = ("--token", USER, "--token", SYSTEM, "--workers", str(workers))
    with (
        serve(settings, *options) as running,
        running.client("users") as user,
        running.client("systems") as system,
        running.client("") as nobody,
    ):
        for _ in range(8):  # each connection may be taken by any process
            user.post("/sessions", json={}, headers={"connection": "close"}).raise_for_status()
        text = until(lambda: system.get("/metrics").raise_for_status().text, lambda text: count(text, EVENTS) == 8)
        assert (user.get("/metrics").status_code, nobody.get("/metrics").status_code) == (403, 401)
    assert ("process=" in text) == (workers > 1)


@contextmanager
def processes(count: int) -> Iterator[list[int]]:
    """Other processes that are alive."""
    running = [subprocess.Popen(["sleep", "60"]) for _ in range(count)]
    try:
        yield [one.pid for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait()


async def test_a_process_answers_for_the_others_that_are_alive(tmp_path: Any, telemetry: Telemetry) -> None:
    with processes(1) as (other,):
        (tmp_path / f"{other}.prom").write_text("# TYPE said counter\nsaid_total 3.0\n")
        (tmp_path / "999999999.prom").write_text("# TYPE said counter\nsaid_total 4.0\n")
        async with Exposition(tmp_path) as exposition:
            text = (await exposition.text()).decode()
            assert f'said_total{{process="{other}"}} 3.0' in text
            assert "4.0" not in text.partition("said_total")[2].partition("\n")[0]
            assert f'process="{os.getpid()}"' in text
    assert not (tmp_path / f"{os.getpid()}.prom").exists()


def test_expositions_are_one_with_the_process_as_a_label() -> None:
    text = (
        '# HELP took_seconds How long.\n# TYPE took_seconds histogram\ntook_seconds_bucket{le="1.0"} 1.0\n'
        'took_seconds_bucket{le="+Inf"} 2.0\ntook_seconds_count 2.0\ntook_seconds_sum 3.0\n'
    )
    found = merged({"1": text, "2": text}).decode()
    assert found.count("# TYPE took_seconds histogram") == 1
    for process in ("1", "2"):
        assert f'took_seconds_bucket{{le="+Inf",process="{process}"}} 2.0' in found
        assert f'took_seconds_sum{{process="{process}"}} 3.0' in found


async def test_without_an_exposition_there_are_no_metrics(log: SessionLog) -> None:
    async with asked(app_of(log)) as http:
        assert (await http.get("/metrics", headers=as_user("u1"))).status_code == 403
        answer = await http.get("/metrics", headers=AS_SYSTEM)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:turnlog:problem:no-metrics")


async def test_what_is_recorded_for_a_request_is_part_of_its_trace(log: SessionLog, telemetry: Telemetry) -> None:
    trace = uuid4().hex
    whole = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    session = await log.start_session("u1")
    async with asked(app_of(log)) as http:
        path, headers = f"/sessions/{session.id}/record/whole", {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        (await http.post(path, json={"response": whole, "model": "m"}, headers=headers)).raise_for_status()
        (await http.post(path, json={"response": whole, "model": "n"})).raise_for_status()
    assert f"{telemetry.span('chat m').context.trace_id:032x}" == trace
    assert f"{telemetry.span('chat n').context.trace_id:032x}" != trace


async def test_a_request_without_a_span_of_its_own_is_in_the_trace_that_it_names(
    log: SessionLog, telemetry: Telemetry
) -> None:
    """A new FastAPI makes one by itself, an older one does not."""
    from opentelemetry.trace import get_current_span, get_tracer

    trace = uuid4().hex
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    with log.traced(headers):
        assert f"{get_current_span().get_span_context().trace_id:032x}" == trace
    assert not get_current_span().get_span_context().is_valid
    with get_tracer("application").start_as_current_span("a request") as span, log.traced(headers):
        assert get_current_span() is span
