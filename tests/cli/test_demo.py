"""The demo, on real servers and at full speed."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from tests.support.command_line import Json, where
from turnlog import SYSTEM, SessionLog, SessionView, Settings
from turnlog.domain.step_appends import AppendText, AppendToolCall
from turnlog.infrastructure.cli.app import cli
from turnlog.infrastructure.cli.output import Screen
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.demo.meter import Measured
from turnlog.infrastructure.demo.scene import load_scene
from turnlog.infrastructure.demo.stage import Stage
from turnlog.infrastructure.demo.tools import Tools
from turnlog.projections.view import StepToolCall
from turnlog.testing import Failure, FakeProvider, Recorded, own_corpus

CROWD = 12


def view_of(settings: Settings, session_id: str) -> SessionView:
    async def read() -> SessionView:
        async with SessionLog.open(settings) as log:
            return await log.session(session_id, SYSTEM).view()

    return asyncio.run(read())


def test_the_demo_shows_a_conversation_a_crash_and_a_crowd(settings: Settings) -> None:
    arguments = ["demo", "--pace", "0", "--sessions", str(CROWD), "--json", "--keep"]
    command = [sys.executable, "-m", "turnlog", *where(settings), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stderr == ""
    summary: Json = json.loads(done.stdout)
    check_numbers(summary)
    check_crash(settings, summary["crash"])
    check_killed_turn(settings, summary["killed_turn"])
    check_conversation(view_of(settings, summary["conversation"]["session_id"]))
    kept = CliRunner().invoke(cli, [*where(settings), "list", "--user", "demo", "--json"])
    assert json.loads(kept.stdout)["total"] == 3


def check_numbers(summary: Json) -> None:
    parts = [summary[name] for name in ("conversation", "recovery", "crowd")]
    for number in ("events", "deltas", "commits"):
        assert summary[number] == sum(part[number] for part in parts)
    for part in parts:
        assert 0 < part["commits"] <= part["events"]
        assert part["deltas"] < part["events"]
        assert 0 < part["delta_to_durable_ms"]["p50"] <= part["delta_to_durable_ms"]["p99"]
        assert part["events_per_commit"] == round(part["events"] / part["commits"], 2)
    assert summary["crowd"]["sessions"] == CROWD
    assert summary["crowd"]["deltas"] == CROWD * 47
    assert summary["crowd"]["events_per_commit"] > 1.5


def check_crash(settings: Settings, crash: Json) -> None:
    assert crash["survived"]
    assert crash["signal"] == "SIGKILL"
    assert crash["shown"] >= 60
    assert crash["shown"] <= crash["logged"] <= crash["shown"] + 1
    assert crash["missing"] == 0
    assert (crash["status_after_kill"], crash["status_afterwards"]) == ("open", "abandoned")
    first, second = view_of(settings, crash["session_id"]).turns
    assert first.steps[0].status == "abandoned"
    assert str(first.steps[0].message.content).startswith("## Keeping a lighthouse")
    assert second.status == "finished"


def check_killed_turn(settings: Settings, killed: Json) -> None:
    assert (killed["survived"], killed["signal"]) == (True, "SIGKILL")
    assert (killed["status_after_kill"], killed["status_afterwards"]) == ("running_tools", "finished")
    assert killed["runs"] == {"get_weather": 2, "get_time": 1}
    assert killed["requests"] == killed["steps"] == 2
    (turn,) = view_of(settings, killed["session_id"]).turns
    assert len({run.writer for run in turn.runs}) == 2
    assert [result.status for result in turn.steps[0].tool_results] == ["final", "final"]


def check_conversation(view: SessionView) -> None:
    assert [turn.status for turn in view.turns] == ["finished"] * 3
    assert view.faults == view.pending_tool_calls == ()
    parallel, report = view.turns[0].steps[0], view.turns[1].steps[0]
    assert [call.name for call in parallel.message.tool_calls] == ["get_weather", "get_time"]
    assert [result.status for result in (*parallel.tool_results, *report.tool_results)] == ["final"] * 3


def test_the_demo_in_plain_text_asks_the_provider_of_the_environment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, scripted: FakeProvider
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", scripted.base_url)
    done = CliRunner().invoke(cli, [*where(settings), "demo", "--model", "scripted", "--pace", "0", "--sessions", "2"])
    assert done.exit_code == 0, done.output
    wanted = [
        "Answers come from the provider of the environment, scripted.",
        "1  A conversation",
        "             ← create_report pending  ",
        "             ← create_report final  ",
        "2  A handler is killed in mid-stream",
        "✓ 60 of the 60 deltas that were seen are in the log; the step is open",
        "✓ the next prompt is valid: system, user",
        "✓ the cut step is abandoned",
        "3  A process is killed while its tool runs",
        "● get_weather begins",
        ", while get_weather runs)",
        "✓ the turn is running_tools",
        "● get_weather begins, again",
        "✓ the turn is finished, with 2 requests, as without the kill; tools ran: get_time 1x, get_weather 2x",
        "4  2 sessions at once",
        "turn 3 ──",
        "The next prompt, shortened:",
        "whole demo",
        "The sessions are deleted again",
    ]
    places = [done.stdout.index(line) for line in wanted]
    assert places == sorted(places)
    assert "\x1b" not in done.stdout
    offered = [tool["function"]["name"] for tool in scripted.requests[0]["tools"]]
    assert offered == ["get_weather", "get_time", "create_report"]
    left = CliRunner().invoke(cli, [*where(settings), "list", "--json"])
    assert json.loads(left.stdout)["total"] == 0


@pytest.fixture
def scripted() -> Iterator[FakeProvider]:
    """A provider that knows the demo's script, as if it were a live one."""
    scene = load_scene()
    turns = (*scene.turns, scene.long_answer, scene.afterwards, scene.with_tools)
    with FakeProvider([Recorded(name) for turn in turns for name in turn.streams], pace=1e-6) as provider:
        yield provider


def test_a_provider_that_refuses_is_an_error_in_a_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = Failure(404, message="The model `nobody` does not exist", code="model_not_found")
    with FakeProvider([unknown]) as refusing:
        monkeypatch.setenv("OPENAI_BASE_URL", refusing.base_url)
        done = CliRunner().invoke(cli, [*where(settings), "demo", "--model", "nobody", "--sessions", "1"])
        url = refusing.base_url
    assert done.exit_code == 1
    assert f"the provider at {url}: " in done.stderr
    assert "does not exist" in done.stderr


def test_the_demo_plays_its_own_streams() -> None:
    scene = load_scene()
    names = {name for turn in (*scene.turns, scene.long_answer, scene.afterwards) for name in turn.streams}
    assert names <= {stream.name for stream in own_corpus()}
    assert len(scene.crowd.chunks) == 50


@pytest.mark.parametrize(
    ("name", "arguments", "content", "status"),
    [
        ("get_weather", "{}", "21 °C, clear, wind N 2", "final"),
        ("create_report", "{}", "The report is being written; its number is R-17.", "pending"),
        ("multiply", '{"a": 6, "b": 7}', "42", "final"),
        ("multiply", "[", "There is no tool 'multiply' that takes these arguments.", "error"),
        ("sing", "{}", "There is no tool 'sing' that takes these arguments.", "error"),
    ],
)
def test_every_call_gets_an_answer(name: str, arguments: str, content: str, status: str) -> None:
    result = Tools().run(StepToolCall(id="c", name=name, arguments=arguments, index=0))
    assert (result.content, result.status) == (content, status)


def test_deltas_are_laid_out_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(file=io.StringIO(), force_terminal=True, width=50)
    stage = Stage(screen)
    for text in ("The keeper's", " night begins", " before", " sun", "set", " and ends\n\n", "at dawn."):
        stage.delta(AppendText(now(), "s", text))
    for index, fragment in ((0, '{"a"'), (0, ": 1}"), (1, "{}")):
        stage.delta(AppendToolCall(now(), "s", index, f"c{index}", "find", fragment))
    stage.pause()
    assert isinstance(screen.file, io.StringIO)
    lines = [line.rstrip() for line in screen.file.getvalue().splitlines()]
    assert lines == [
        "assistant  The keeper's night begins",
        "           before sunset and ends",
        "",
        "           at dawn.",
        '           → find {"a": 1}',
        "           → find {}",
    ]


def test_the_share_of_waits_is_read_from_the_slow_end() -> None:
    measured = Measured(waits=[number / 1000 for number in range(1, 101)])
    assert (measured.wait_ms(0.5), measured.wait_ms(0.99), Measured().wait_ms(0.5)) == (51.0, 100.0, 0.0)
