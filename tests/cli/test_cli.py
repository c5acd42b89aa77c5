"""The command line, on real servers."""

import asyncio
import io
import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.cells import cell_len

from turnlog import SYSTEM, InvalidInputError, Session, SessionLog, SessionNotFoundError, SessionView, Settings
from turnlog.infrastructure.cli.app import COMMANDS, cli
from turnlog.infrastructure.cli.failures import masked
from turnlog.infrastructure.cli.output import Screen, printable
from turnlog.infrastructure.cli.times import ago

STREAMS = Path(__file__).parents[1] / "data" / "streams"
NOBODYS = "00000000-0000-4000-8000-000000000000"
NOBODY_LISTENS = "postgresql://u:secret@127.0.0.1:1/x"
NO_REDIS = "redis://:secret@127.0.0.1:1/0"

Json = dict[str, Any]
Run = Callable[..., Result]
Work = Callable[[SessionLog], Awaitable[str]]


@pytest.fixture
def run(settings: Settings) -> Run:
    """Runs a command on the test's own database; says what came out."""

    def invoke(*args: str, env: dict[str, str] | None = None, stdin: str | None = None) -> Result:
        return CliRunner(env=env).invoke(cli, [*_where(settings), *args], input=stdin)

    return invoke


@pytest.fixture
def started(settings: Settings) -> Callable[[Work], str]:
    """Does some work on a log and gives the id of the session that it returns."""

    async def opened(work: Work) -> str:
        async with SessionLog.open(settings) as log:
            return await work(log)

    return lambda work: asyncio.run(opened(work))


@pytest.fixture(autouse=True)
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own schema, for which there is no option, and no colours but where they are tested."""
    monkeypatch.setenv("TURNLOG_DATABASE_SCHEMA", settings.database_schema)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def _where(settings: Settings) -> list[str]:
    return ["--database-url", str(settings.database_url), "--redis-url", str(settings.redis_url)]


async def harbour(log: SessionLog) -> str:
    """A session with all that a transcript can show."""
    session = await log.start_session(user_id="u1", title="At the harbour", metadata={"berth": 7})
    await session.add_message("system", "Be brief.")
    await session.say("Tide and wind?")
    async with session.completion(model="m-1") as completion:
        await completion.reasoning("Two tools, then.")
        await completion.text("I will look.")
        await completion.tool_call("c1", "get_tide", '{"port": "Lagos"}')
        await completion.tool_call("c2", "get_wind", "{}")
        await completion.finish("tool_calls", usage={"prompt_tokens": 7, "completion_tokens": 5})
    await session.add_tool_result("c1", "low water at six", status="pending")
    await session.add_tool_result("c2", "no such station", status="error")
    await session.say("Go on.")
    with suppress(RuntimeError):
        await _fail(session)
    await session.increment("tides", "Lagos", 2)
    return str(session.id)


async def _fail(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("It is")
        raise RuntimeError("the line went dead")


def lines_of(text: str) -> list[Json]:
    return [json.loads(line) for line in text.splitlines()]


# The group


def test_help_names_every_command_and_imports_none_of_them() -> None:
    program = (
        "import sys; from turnlog.infrastructure.cli.app import cli; cli(['--help'], standalone_mode=False);"
        "print({'rich', 'pydantic', 'psycopg', 'redis', 'openai', 'eventsourcing'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert done.stderr == "set()\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_has_help(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0
    assert "Usage: " in done.stdout


@pytest.mark.parametrize("command", [[sys.executable, "-m", "turnlog"], [Path(sys.executable).with_name("turnlog")]])
def test_the_entry_points_run_the_command_line(command: list[str]) -> None:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("turnlog, version ")


@pytest.mark.parametrize(
    "args",
    [
        ["lst"],
        ["list", "--limit", "101"],
        ["show"],
        ["prompt", "x", "--api", "telepathy"],
        ["prompt", "x", "--explain", "--max-tokens", "5"],
        ["record", str(STREAMS / "plain-text.jsonl"), "--pace", "nan"],
        ["reap", "--watch", "nan"],
        ["reap", "--watch", "inf"],
        ["demo", "--pace", "nan"],
    ],
)
def test_wrong_usage_exits_with_2(args: list[str]) -> None:
    done = CliRunner().invoke(cli, args)
    assert done.exit_code == 2
    assert done.stderr.startswith("Usage: ")


# init, list


def test_init_creates_the_schema_once(run: Run) -> None:
    first, second, third = run("init", "--json"), run("init", "--json"), run("init")
    assert [json.loads(done.stdout)["created"] for done in (first, second)] == [True, False]
    assert third.stdout.startswith("there already: schema 2 in ")


def test_init_and_doctor_say_that_an_older_schema_is_brought_up_to_date(run: Run, settings: Settings) -> None:
    run("init")
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        admin.execute(f"update {settings.database_schema}.turnlog_schema set version = 1".encode())
    doctor = json.loads(run("doctor", "--json").stdout)
    assert doctor["ok"]
    assert any("`turnlog init` brings it to 2" in note for note in doctor["notes"])
    assert run("init").stdout.startswith("upgraded schema 1 to 2 in ")
    assert json.loads(run("init", "--json").stdout)["upgraded_from"] is None


def test_reap_says_what_it_would_end_ends_it_and_has_then_nothing_to_do(
    run: Run, started: Callable[[Work], str], settings: Settings
) -> None:
    async def open_step(log: SessionLog) -> str:
        session = await log.start_session("u1")
        completion = await session.completion().__aenter__()
        await completion.text("half")
        log._parts.lease._live.clear()  # it is not ended when the log is closed, as if it had been killed
        return str(session.id)

    session_id = started(open_step)
    (would,) = lines_of(run("reap", "--dry-run", "--json").stdout)
    assert (would["session_id"], would["dry_run"]) == (session_id, True)
    assert json.loads(run("show", session_id, "--json").stdout)["turns"][0]["steps"][0]["status"] == "open"
    ended = run("reap").stdout.splitlines()
    assert ended[0].startswith(f"session {session_id}  step {would['step_id']}, begun ")
    assert ended[1] == "1 step ended as abandoned"
    assert run("reap").stdout == "0 steps ended as abandoned\n"
    assert json.loads(run("show", session_id, "--json").stdout)["turns"][0]["steps"][0]["status"] == "abandoned"


def test_show_marks_a_message_that_is_queued(run: Run, started: Callable[[Work], str]) -> None:
    async def talk(log: SessionLog) -> str:
        session = await log.start_session("u1")
        async with session.completion() as completion:
            await completion.tool_call("c1", "f", "{}")
            await completion.finish("tool_calls")
        await session.say("Wait, what?")
        return str(session.id)

    lines = [line.split() for line in run("show", started(talk)).stdout.splitlines()]
    assert ["user", "Wait,", "what?"] in lines
    assert lines[lines.index(["user", "Wait,", "what?"]) + 1] == ["queued"]


def test_list_shows_sessions_by_activity_with_their_total(run: Run, started: Callable[[Work], str]) -> None:
    async def several(log: SessionLog) -> str:
        for number in range(3):
            await log.start_session(user_id=f"u{number % 2}", title=f"Session\n{number}")
        return ""

    started(several)
    page = json.loads(run("list", "--json").stdout)
    assert [item["title"] for item in page["items"]] == ["Session\n2", "Session\n1", "Session\n0"]
    assert page["total"] == 3
    assert datetime.fromisoformat(page["items"][0]["updated_at"]).tzinfo is not None
    assert json.loads(run("list", "--json", "--user", "u1").stdout)["total"] == 1
    text = run("list", "--limit", "1", "--offset", "1").stdout.splitlines()
    assert text[0].split() == ["id", "title", "user", "updated", "version"]
    assert "Session 1" in text[1]
    assert text[2] == "2 to 2 of 3 sessions"


def test_a_list_on_a_narrow_terminal_cuts_titles_and_users_and_no_other_column(
    started: Callable[[Work], str], settings: Settings
) -> None:
    from turnlog.infrastructure.cli.commands.listing import _show

    async def shown(log: SessionLog) -> str:
        await log.start_session(user_id="u" * 30, title="A title of more than forty characters, as models make them")
        await log.start_session(user_id="u1", title="港湾の潮と風についての長い題名です。港湾の潮と風")
        screen = Screen(file=io.StringIO(), force_terminal=True, width=80, no_color=True)
        _show(screen, await log.list_sessions(SYSTEM), 0)
        assert isinstance(screen.file, io.StringIO)
        return screen.file.getvalue()

    lines = [re.sub("\x1b[^m]*m", "", line) for line in started(shown).splitlines()]
    assert lines[0].split() == ["id", "title", "user", "updated", "version"]
    assert all(cell_len(line) <= 80 for line in lines)
    assert all(re.search(r"….*  now +1$", line) for line in lines[1:3])


def test_an_empty_list_is_no_error(run: Run) -> None:
    assert run("list").stdout == "0 sessions\n"


# show, events, prompt


def test_show_prints_a_transcript(run: Run, started: Callable[[Work], str]) -> None:
    text = run("show", started(harbour)).stdout
    wanted = [
        "At the harbour",
        "owner      u1",
        'metadata   {"berth": 7}',
        "counters   tides[Lagos] = 2",
        "usage      12 tokens: 7 prompt, 5 completion; 1 report",
        "turn 1",
        "system     Be brief.",
        "user       Tide and wind?",
        "reasoning  Two tools, then.",
        "assistant  I will look.",
        '           → get_tide({"port": "Lagos"})',
        "             ← pending  low water at six",
        "             ← error  no such station",
        "           finished · tool_calls · m-1 · 5 tokens",
        "turn 2",
        "assistant  It is",
        "           failed · RuntimeError: the line went dead",
    ]
    places = [text.index(line) for line in wanted]
    assert places == sorted(places)


def test_show_as_json_is_the_view(run: Run, started: Callable[[Work], str], settings: Settings) -> None:
    session_id = started(harbour)

    async def view() -> SessionView:
        async with SessionLog.open(settings) as log:
            return await log.session(session_id, SYSTEM).view()

    assert SessionView.model_validate_json(run("show", session_id, "--json").stdout) == asyncio.run(view())


def test_events_are_lines_in_order(run: Run, started: Callable[[Work], str]) -> None:
    session_id = started(harbour)
    events = lines_of(run("events", session_id, "--json").stdout)
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["topic"] == "session-started.v1"
    assert events[0]["event"]["title"] == "At the harbour"
    assert lines_of(run("events", session_id, "--json", "--after", "3").stdout) == events[3:]
    text = run("events", session_id).stdout.splitlines()
    assert len(text) == len(events)
    assert text[4].split()[3:5] == ["reasoning-delta.v1", 'text="Two']


def test_the_prompt_is_json_in_either_mode(run: Run, started: Callable[[Work], str]) -> None:
    session_id = started(harbour)
    done = run("prompt", session_id, "--api", "chat")
    roles = ["system", "user", "assistant", "tool", "tool", "user"]  # the failed attempt would be made again
    assert [message["role"] for message in json.loads(done.stdout)] == roles
    assert run("prompt", session_id, "--json").stdout == done.stdout


async def unprintable(log: SessionLog) -> str:
    session = await log.start_session(user_id="u1", title="\x1b[31mred\ud800")
    await session.say("a\x00b \ud83d c \x9b31m")
    return str(session.id)


def test_what_cannot_be_printed_is_replaced_in_text_and_escaped_in_json(
    run: Run, started: Callable[[Work], str]
) -> None:
    session_id = started(unprintable)
    for command, nul in (("show", "␀"), ("events", "\\u0000")):
        text = run(command, session_id).stdout
        assert f"a{nul}b \ufffd c \ufffd31m" in text
        assert not set(text) & {"\x00", "\x1b", "\x9b", "\ud83d"}
    assert "␛[31mred\ufffd" in run("list").stdout
    view = json.loads(run("show", session_id, "--json").stdout)
    assert view["turns"][0]["messages"][0]["content"] == "a\x00b \ud83d c \x9b31m"
    assert json.loads(run("prompt", session_id).stdout)[0]["content"] == "a\x00b \ufffd c \x9b31m"


def test_stdout_need_not_be_utf_8(settings: Settings, started: Callable[[Work], str]) -> None:
    async def speak(log: SessionLog) -> str:
        session = await log.start_session(user_id="u1", title="Maré ☕")
        return str(session.id)

    session_id = started(speak)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*_where(settings), "show", session_id]
    text = subprocess.run([sys.executable, "-m", "turnlog", *command], capture_output=True, env=environment, check=True)
    assert text.stdout.startswith(b"Mar? ?\n")
    document = CliRunner(charset="ascii").invoke(cli, [*command, "--json"]).stdout
    assert json.loads(document)["title"] == "Maré ☕"


# record


def test_record_records_a_stream_as_one_step(run: Run) -> None:
    path = str(STREAMS / "parallel-tool-calls.jsonl")
    done = json.loads(run("record", path, "--user", "u1", "--title", "Recorded", "--json").stdout)
    assert (done["status"], done["finish_reason"], done["chunks"]) == ("finished", "tool_calls", 15)
    view = json.loads(run("show", done["session_id"], "--json").stdout)
    assert (view["user_id"], view["title"], view["version"]) == ("u1", "Recorded", done["version"])
    again = run("record", path, "--session", done["session_id"], "--pace", "0.001")
    assert f"session {done['session_id']}" in again.stdout
    assert "→ get_wind(" in again.stdout
    view = json.loads(run("show", done["session_id"], "--json").stdout)
    assert [step["status"] for turn in view["turns"] for step in turn["steps"]] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "line 3: is not JSON: Expecting value at column 1"),
        ("[1]", "line 3: is not a JSON object but a list"),
        ("[" * 100_000, "line 3: is not JSON: "),
    ],
)
def test_a_bad_line_ends_the_step_as_failed_and_what_came_before_stays(
    run: Run, tmp_path: Path, line: str, reason: str
) -> None:
    chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": "Hi"}}]})
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{chunk}\n\n{line}\n{chunk}\n")
    done = run("record", str(path), "--json")
    outcome = json.loads(done.stdout)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {reason}")
    assert (outcome["status"], outcome["chunks"]) == ("failed", 1)
    assert outcome["error"].startswith(reason)
    view = json.loads(run("show", outcome["session_id"], "--json").stdout)
    step = view["turns"][0]["steps"][0]
    assert (step["message"]["content"], step["status"]) == ("Hi", "failed")
    assert "failed · InvalidInputError: line 3: " in run("record", str(path)).stdout


def test_record_reads_captured_server_sent_events_from_stdin(run: Run) -> None:
    chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": "a\u2028b"}}]}, ensure_ascii=False)
    done = run("record", "-", "--json", stdin=f"data: {chunk}\n\ndata: [DONE]\n\n")
    view = json.loads(run("show", json.loads(done.stdout)["session_id"], "--json").stdout)
    assert view["turns"][0]["steps"][0]["message"]["content"] == "a\u2028b"


def test_record_reads_comments_event_names_and_ids_of_server_sent_events_as_no_chunks(run: Run) -> None:
    chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": "Hi"}}]})
    stream = f": keepalive\r\n\r\nretry: 10\nid: 7\nevent: message\ndata: {chunk}\r\n\r\n:\n\ndata: [DONE]\n\n"
    done = json.loads(run("record", "-", "--json", stdin=stream).stdout)
    assert done["chunks"] == 1
    assert "error" not in done


def test_record_takes_owner_and_title_for_a_new_session_only(run: Run) -> None:
    done = run("record", str(STREAMS / "plain-text.jsonl"), "--session", NOBODYS, "--title", "x")
    assert done.exit_code == 2
    assert "--user and --title are for a new session" in done.stderr


def test_record_into_an_unknown_session_is_refused(run: Run) -> None:
    done = run("record", str(STREAMS / "plain-text.jsonl"), "--session", NOBODYS)
    assert (done.exit_code, done.stdout) == (1, "")


# Errors


@pytest.mark.parametrize("command", ["show", "events", "prompt"])
@pytest.mark.parametrize("session_id", ["nonsense", NOBODYS])
def test_an_unknown_session_is_one_line_and_a_hint(run: Run, command: str, session_id: str) -> None:
    done = run(command, session_id)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"error: no session {session_id}",
        "hint: `turnlog list` shows the sessions that there are",
    ]


def test_debug_lets_the_error_through(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr("turnlog.infrastructure.cli.app.log_at", told.append)
    done = run("--debug", "show", "nonsense")
    assert isinstance(done.exception, SessionNotFoundError)
    assert told == [logging.DEBUG]


def test_postgres_out_of_reach_is_an_error_with_a_hint_and_without_the_password() -> None:
    runner = CliRunner(env={"DATABASE_URL": NOBODY_LISTENS, "TURNLOG_STORE_TIMEOUT_SECONDS": "0.2"})
    done = runner.invoke(cli, ["--redis-url", "none", "list"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: Postgres: ")
    assert "hint: is Postgres running" in done.stderr
    assert "secret" not in done.stderr


def test_a_bad_setting_is_named() -> None:
    done = CliRunner(env={"TURNLOG_CACHE_TTL_SECONDS": "soon"}).invoke(cli, ["list"])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: TURNLOG_CACHE_TTL_SECONDS: ")


def test_an_empty_option_counts_as_not_given(settings: Settings, started: Callable[[Work], str]) -> None:
    started(harbour)
    where = {"DATABASE_URL": str(settings.database_url), "REDIS_URL": "none"}
    options = ["--database-url", "", "--redis-url", "", "--data-dir", ""]
    done = CliRunner(env=where).invoke(cli, [*options, "list", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["total"]) == (0, 1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DATABASE_URL", "postgresql+psycopg://h/d"), ("TURNLOG_STORE_TIMEOUT_SECONDS", "inf")],
)
def test_a_setting_that_cannot_be_is_one_line(variable: str, value: str) -> None:
    done = CliRunner(env={variable: value}).invoke(cli, ["list"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {variable}: ")


def test_a_reader_that_goes_away_is_no_error(settings: Settings, started: Callable[[Work], str]) -> None:
    async def long(log: SessionLog) -> str:
        session = await log.start_session(user_id="u1")
        await asyncio.gather(*(session.say("x" * 2_000) for _ in range(600)))
        return str(session.id)

    session_id = started(long)
    for command in (["events", session_id, "--json"], ["show", session_id]):
        assert _after_the_first_kilobyte([sys.executable, "-m", "turnlog", *_where(settings), *command]) == (b"", 141)


def _after_the_first_kilobyte(command: list[str]) -> tuple[bytes, int]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1_000)
        process.stdout.close()
        return process.stderr.read(), process.wait()


def test_a_file_that_can_take_no_more_is_one_line(
    settings: Settings, started: Callable[[Work], str], tmp_path: Path
) -> None:
    session_id = started(harbour)
    for command in (["show", session_id], ["events", session_id, "--json"]):
        whole = [sys.executable, "-m", "turnlog", *_where(settings), *command]
        # As on a full disk, which not every system has a device for.
        limited = ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *whole]
        with (tmp_path / "out").open("wb") as out:
            done = subprocess.run(limited, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "error: [Errno 27] File too large\n")


# Colours


def test_there_are_no_colours_but_on_a_terminal(
    run: Run, settings: Settings, started: Callable[[Work], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = started(harbour)
    assert "\x1b" not in run("show", session_id).stdout
    assert b"\x1b[" in _on_a_terminal([sys.executable, "-m", "turnlog", *_where(settings), "show", session_id])
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen(force_terminal=True).color_system is None


def _on_a_terminal(command: list[str]) -> bytes:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # how Linux says that the other side was closed
        while part := os.read(ours, 65_536):
            seen += part
    os.close(ours)
    assert process.wait() == 0
    return seen


def test_long_text_is_wrapped_beside_its_label_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from turnlog.infrastructure.cli.transcript import print_block

    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(file=io.StringIO(), force_terminal=True, width=40)
    print_block(screen, "user", "one two three four five six seven eight nine")
    assert isinstance(screen.file, io.StringIO)
    assert screen.file.getvalue() == "user       one two three four five six\n           seven eight nine\n"


# doctor


def test_doctor_says_what_it_found(run: Run) -> None:
    assert "There is no schema yet" in run("doctor").stdout
    run("init")
    done = json.loads(run("doctor", "--json").stdout)
    assert done["ok"]
    assert done["problems"] == done["notes"] == []
    assert done["postgres"]["reachable"]
    assert done["postgres"]["schema_version"] == done["postgres"]["schema_needed"] == 2
    assert (done["postgres"]["fsync"], done["postgres"]["synchronous_commit"]) == ("on", "on")
    assert done["redis"]["server"].startswith("valkey ")
    assert {"turnlog", "python", "eventsourcing", "psycopg", "pydantic"} <= set(done["versions"])
    text = run("doctor")
    assert text.exit_code == 0
    assert text.stdout.endswith("all is well\n")


def test_doctor_finds_redis_down_and_says_what_that_means(settings: Settings) -> None:
    done = CliRunner().invoke(cli, ["--database-url", str(settings.database_url), "--redis-url", NO_REDIS, "doctor"])
    assert done.exit_code == 1
    assert "Redis does not answer: " in done.stdout
    assert "only slower" in done.stdout
    assert "redis://:***@127.0.0.1:1/0" in done.stdout
    assert "secret" not in done.stdout


def test_doctor_finds_postgres_down_and_says_how_to_get_one(settings: Settings) -> None:
    arguments = ["--database-url", NOBODY_LISTENS, "--redis-url", str(settings.redis_url), "doctor"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1
    assert "Postgres does not answer: " in done.stdout
    assert "DATABASE_URL" in done.stdout
    assert "turnlog[embedded]" in done.stdout
    assert "secret" not in done.stdout
    found = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert not found["ok"]
    assert not found["postgres"]["reachable"]
    assert found["redis"]["reachable"]


def test_doctor_does_without_a_cache_where_none_is_wanted(settings: Settings) -> None:
    done = CliRunner().invoke(cli, ["--database-url", str(settings.database_url), "--redis-url", "none", "doctor"])
    assert done.exit_code == 0
    assert "There is no cache" in done.stdout


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("synchronous_commit=off", "synchronous_commit is off."),
        ("default_transaction_read_only=on", "Postgres takes no writes"),
    ],
)
def test_doctor_finds_settings_under_which_the_log_does_not_hold(settings: Settings, option: str, what: str) -> None:
    url = make_conninfo(**{**conninfo_to_dict(str(settings.database_url)), "options": f"-c{option}"})
    done = CliRunner().invoke(cli, ["--database-url", url, "--redis-url", "none", "doctor", "--json"])
    assert done.exit_code == 1
    assert what in json.loads(done.stdout)["problems"][0]["what"]


def test_doctor_finds_the_schema_of_a_newer_turnlog(run: Run, settings: Settings) -> None:
    run("init")
    schema = sql.Identifier(settings.database_schema)
    with psycopg.connect(str(settings.database_url)) as connection:
        connection.execute(sql.SQL("update {}.turnlog_schema set version = 99").format(schema))
    done = run("doctor")
    assert done.exit_code == 1
    assert "the database has schema 99, and this turnlog knows 2." in done.stdout
    assert "Upgrade turnlog" in done.stdout
    refused = run("list")
    assert refused.exit_code == 1
    assert "hint: `turnlog doctor` compares the versions" in refused.stderr


def test_doctor_starts_embedded_servers_where_no_url_is_given(tmp_path: Path) -> None:
    done = CliRunner(env={"DATABASE_URL": "", "REDIS_URL": ""}).invoke(
        cli, ["--data-dir", str(tmp_path / "data"), "doctor", "--json"]
    )
    found = json.loads(done.stdout)
    assert found["ok"], found
    assert found["postgres"]["embedded"]
    assert found["redis"]["embedded"]


# Small things


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:pw@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p@w@h/db?sslmode=require", "postgresql://u:***@h/db?sslmode=require"),
        ("postgresql://u@h/db?password=pw&x=1", "postgresql://u@h/db?password=***&x=1"),
        ("host=h password='p w' dbname=d", "host=h password=*** dbname=d"),
        ("redis://:pw@h:6379/0", "redis://:***@h:6379/0"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ('missing "=" after "postgresql:/u:pw@h/db"', 'missing "=" after "postgresql:/u:***@h/db"'),
        ("postgresql//u:pw@h/db", "postgresql//u:***@h/db"),
    ],
)
def test_passwords_are_blotted_out(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "now"), (59, "59 s ago"), (61, "1 min ago"), (7_200, "2 h ago"), (3 * 86_400, "3 d ago")],
)
def test_times_are_told_in_one_unit(seconds: float, said: str) -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    assert ago(now - timedelta(seconds=seconds), now) == said


def test_two_halves_of_a_character_that_met_are_printed_as_one() -> None:
    assert printable("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"


async def test_a_chunk_file_is_read_as_it_is_asked_for() -> None:
    from turnlog.infrastructure.cli.chunk_file import paced_chunks

    read: list[int] = []
    chunks: AsyncIterator[Json] = paced_chunks(io.BytesIO(b'{"a": 1}\n\n{"b": 2}\nnull\n'), 0, read.append)
    assert [await anext(chunks), await anext(chunks)] == [{"a": 1}, {"b": 2}]
    assert read == [9, 9]
    with pytest.raises(InvalidInputError, match="line 4: is not a JSON object but a NoneType"):
        await anext(chunks)


# Interrupted


def _interrupted(command: list[str], when: Callable[[], bool], stdin: int | None = None) -> tuple[int, str]:
    """Ctrl-C, once it is time: the exit code, and what was said."""
    pipes = {"stdin": stdin, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        assert process.stderr is not None
        while not when() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        return process.wait(30), process.stderr.read()


@pytest.fixture
def turnlog(settings: Settings) -> list[str]:
    return [sys.executable, "-m", "turnlog", *_where(settings)]


def _stored(settings: Settings, topic: str, count: int = 1) -> Callable[[], bool]:
    """Whether there are so many events of that topic."""
    query = sql.SQL("select count(*) >= %s from {} where topic = %s").format(
        sql.Identifier(settings.database_schema, "turnlog_events")
    )

    def look() -> bool:
        with psycopg.connect(str(settings.database_url)) as connection:
            return connection.execute(query, (count, topic)).fetchone() == (True,)

    return look


def test_a_recording_that_is_interrupted_says_where_it_is(
    run: Run, turnlog: list[str], settings: Settings, tmp_path: Path
) -> None:
    run("init")
    file = tmp_path / "stream.jsonl"
    file.write_text(f"{json.dumps({'choices': [{'index': 0, 'delta': {'content': 'Hi'}}]})}\n" * 1_000)
    command = [*turnlog, "record", str(file), "--pace", "0.1"]
    code, said = _interrupted(command, _stored(settings, "text-delta.v1"))
    (session,) = json.loads(run("list", "--json").stdout)["items"]
    assert f"interrupted: session {session['session_id']} has what came so far" in said
    assert code == 1


def test_an_import_that_waits_for_its_source_can_be_interrupted(
    run: Run, turnlog: list[str], settings: Settings
) -> None:
    run("init")
    source, end = os.pipe()
    os.write(end, b'[{"role": "user", "content": "hi"}]\n')
    code, said = _interrupted([*turnlog, "import", "-"], _stored(settings, "message-imported.v1"), source)
    os.close(end)
    os.close(source)
    assert said.startswith("interrupted: 1 conversation imported; the same command goes on from there\n")
    assert code == 1


def test_an_import_and_a_repair_that_are_interrupted_say_how_far_they_came(
    run: Run, turnlog: list[str], settings: Settings, tmp_path: Path
) -> None:
    run("init")
    file = tmp_path / "chats.jsonl"
    parts = [{"role": "assistant", "content": text} for text in ("Hel", "lo")]
    chats = ([{"role": "user", "content": str(number)}, *parts] for number in range(40_000))
    file.write_text("\n".join(map(json.dumps, chats)), "utf-8")
    code, said = _interrupted([*turnlog, "import", str(file)], _stored(settings, "message-imported.v1", 4_500))
    assert re.search(r"^interrupted: [\d,]+ conversations? imported; the same command goes on from there\n", said)
    assert code == 1
    # There are 1,500 sessions at least, of which the first one is repaired.
    code, said = _interrupted([*turnlog, "repair", "--all"], _stored(settings, "session-repaired.v1"))
    assert re.search(r"^interrupted: [\d,]+ sessions? done; the same command goes on$", said, re.MULTILINE)
    assert code == 1


def test_a_reaper_that_watches_ends_well_when_it_is_interrupted(run: Run, turnlog: list[str]) -> None:
    run("init")
    began = time.monotonic()
    assert _interrupted([*turnlog, "reap", "--watch", "0.1"], lambda: time.monotonic() > began + 3) == (0, "")


def test_import_reports_bad_lines_goes_on_and_imports_nothing_twice(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "conversations.jsonl"
    split = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hel"},
        {"role": "assistant", "content": "lo"},
    ]
    lines = [json.dumps(split), "{", json.dumps({"id": "b", "user_id": "u2", "messages": split}), '["text"]']
    file.write_text("\n".join(lines), "utf-8")

    tried = run("import", str(file), "--user", "u1", "--dry-run", "--json")
    assert (tried.exit_code, json.loads(run("list", "--json").stdout)["total"]) == (1, 0)
    done = [run("import", str(file), "--user", "u1", "--json") for _ in range(2)]
    outcome, again = (json.loads(each.stdout) for each in done)
    assert again == {**outcome, "new": 0, "already_there": 2}
    assert (outcome["imported"], [bad["line"] for bad in outcome["bad"]]) == (2, [2, 4])
    assert (outcome["new"], outcome["extended"], outcome["already_there"]) == (2, 0, 0)
    assert json.loads(run("list", "--json").stdout)["total"] == 2
    assert "line 2: is not JSON" in run("import", str(file)).stderr


def test_a_line_may_be_a_request_as_its_api_has_it(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    hi = [{"role": "user", "content": "hi"}]
    _write_lines(
        file,
        {"format": "anthropic", "system": "Be brief.", "messages": hi, "title": "", "session_id": None},
        {"format": "responses", "instructions": "Be brief.", "input": "hi", "user_id": None},
        {"format": None, "messages": hi, "system": "is none of this API"},
    )
    outcome = json.loads(run("import", str(file), "--user", "u1", "--json").stdout)
    assert outcome["bad"] == []
    prompts = [json.loads(run("prompt", session).stdout) for session in outcome["sessions"]]
    assert [[message["content"] for message in prompt] for prompt in prompts] == [["Be brief.", "hi"]] * 2 + [["hi"]]
    assert json.loads(run("list", "--user", "u1", "--json").stdout)["total"] == 3


def test_import_says_how_many_were_new_grew_or_were_there(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    hi, hello = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello!"}

    def said(*args: str) -> str:
        return run("import", str(file), *args).stdout

    _write_lines(file, {"id": 1, "messages": [hi]})
    assert said() == "1 conversation with 1 message imported: 1 new, 0 extended, 0 already there; 0 not imported\n"
    _write_lines(file, {"id": 1, "messages": [hi, hello]}, {"id": 2, "messages": [hi]}, {"id": "1", "messages": [hi]})
    would = said("--dry-run")
    assert (
        would
        == "3 conversations with 4 messages would be imported: 1 new, 1 extended, 1 already there; 0 not imported\n"
    )
    assert said().endswith(" imported: 1 new, 1 extended, 1 already there; 0 not imported\n")
    assert json.loads(run("list", "--json").stdout)["total"] == 2


BAD_LINES: list[tuple[Json, str]] = [
    ({"user_id": ""}, "user_id: must not be empty"),
    ({"user_id": 7}, "user_id: must be a string, not int"),
    ({"title": 5}, "title: must be a string, not int"),
    ({"title": " "}, "title: must not be blank"),
    ({"id": 1.5}, "id: must be a string or a whole number, not 1.5"),
    ({"id": True}, "id: must be a string or a whole number, not True"),
    ({"id": ["a"]}, "id: must be a string or a whole number, not ['a']"),
    ({"id": "known", "messages": [{"role": "user", "content": "HI"}]}, "messages[0]: another one was imported"),
]


@pytest.mark.parametrize(("fields", "reason"), BAD_LINES)
def test_a_dry_run_refuses_what_the_import_refuses(run: Run, tmp_path: Path, fields: Json, reason: str) -> None:
    file = tmp_path / "chats.jsonl"
    messages = [{"role": "user", "content": "hi"}]
    _write_lines(file, {"id": "known", "messages": messages})
    run("import", str(file))
    _write_lines(file, {"messages": messages, **fields})
    for args in (["--dry-run"], []):
        outcome = json.loads(run("import", str(file), "--json", *args).stdout)
        assert outcome["imported"] == 0
        assert outcome["bad"][0]["reason"].startswith(reason)
    assert json.loads(run("list", "--json").stdout)["total"] == 1


def _write_lines(file: Path, *lines: Json) -> None:
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")


def test_repair_shows_a_diff_sums_up_and_can_be_undone(run: Run, tmp_path: Path) -> None:
    split = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hel"},
        {"role": "assistant", "content": "lo"},
    ]
    file = tmp_path / "conversations.jsonl"
    file.write_text(json.dumps({"messages": split, "user_id": "u1"}), "utf-8")
    (session_id,) = json.loads(run("import", str(file), "--json").stdout)["sessions"]

    assert "split_assistant" in run("show", session_id).stdout
    tried = run("repair", session_id, "--dry-run").stdout
    assert '+{"role": "assistant", "content": "Hello"}' in tried
    assert "1 session corrected, 0 had nothing to repair" in run("repair", "--all").stdout
    assert "0 sessions corrected, 1 had nothing to repair" in run("repair", "--user", "u1").stdout
    assert run("repair", session_id).stdout == "Nothing to repair.\n"
    would = run("repair", session_id, "--undo", "--dry-run").stdout
    assert "split_assistant: " in would
    assert would.endswith("The latest repair would be withdrawn: 1 correction.\n")
    tried = json.loads(run("repair", session_id, "--undo", "--dry-run", "--json").stdout)
    assert (tried["withdrawn"], [c["action"] for c in tried["corrections"]]) == (False, ["join"])
    assert run("repair", session_id).stdout == "Nothing to repair.\n"
    assert run("repair", session_id, "--undo").stdout == "The latest repair is withdrawn.\n"
    assert run("repair", session_id, "--undo", "--dry-run").stdout == "No repair applies to this session.\n"
    assert json.loads(run("repair", session_id, "--json").stdout)["corrections"][0]["action"] == "join"
    assert run("repair").exit_code == run("repair", session_id, "--all").exit_code == 2
    assert json.loads(run("prompt", session_id, "--api", "anthropic").stdout)["messages"][1]["role"] == "assistant"
    assert (
        json.loads(run("prompt", session_id, "--api", "responses", "--max-tokens", "500").stdout)[0]["role"] == "user"
    )


def _with_search_path(url: str, schema: str) -> str:
    return make_conninfo(**{**conninfo_to_dict(url), "options": f"-csearch_path={schema}"})


def test_import_reads_a_table_of_another_system(run: Run, settings: Settings) -> None:
    assert settings.database_url is not None
    name = f"{settings.database_schema}_other"
    with psycopg.connect(settings.database_url, autocommit=True) as other:
        other.execute(f"create schema {name}")
        other.execute(
            f'create table {name}.messages ("sessionId" text, "userId" text, sequence int, role text, content text,'
            ' "toolCalls" jsonb, "toolCallId" text)'
        )
        calls = json.dumps([{"id": "c1", "function": {"name": "find", "arguments": "{}"}}])
        for row in (
            ("a", "u1", 2, "assistant", None, calls, None),
            ("a", "u1", 1, "user", "hi", None, None),
            ("a", "u1", 3, "tool", "found", None, "c1"),
            ("b", None, 1, "user", "hello", None, None),
        ):
            other.execute(f"insert into {name}.messages values (%s, %s, %s, %s, %s, %s, %s)", row)
    try:
        source = ("import", "--from", settings.database_url, "--user", "u2", "--json", "--table")
        done = [run(*source, f"{name}.messages") for _ in range(2)]
        assert json.loads(done[0].stdout)["imported"] == 2
        again = json.loads(done[1].stdout)
        assert (again["sessions"], again["already_there"]) == (json.loads(done[0].stdout)["sessions"], 2)
        by_path = _with_search_path(settings.database_url, name)
        unqualified = run("import", "--from", by_path, "--user", "u2", "--json", "--table", "messages")
        assert json.loads(unqualified.stdout) == again
        assert "--format is for a FILE" in run(*source, f"{name}.messages", "--format", "chat").stderr
        first = json.loads(done[0].stdout)["sessions"][0]
        assert [m["role"] for m in json.loads(run("prompt", first).stdout)] == ["user", "assistant", "tool"]
        assert json.loads(run("list", "--user", "u2", "--json").stdout)["total"] == 1
        assert "does not exist" in run(*source, f"{name}.nothing").stderr
        assert run("import", "--from", settings.database_url).exit_code == 2
    finally:
        with psycopg.connect(settings.database_url, autocommit=True) as other:
            other.execute(f"drop schema {name} cascade")


def test_a_table_is_read_whose_names_were_folded_and_whose_rows_were_counted_badly(
    run: Run, settings: Settings
) -> None:
    name = settings.database_schema
    call = '[{"id": "c1", "function": {"name": "find", "arguments": "{}"}}]'
    with psycopg.connect(settings.database_url or "", autocommit=True) as other:
        other.execute(f"create schema if not exists {name}")
        other.execute(
            f"create table {name}.folded (sessionId text, userId text, sequence text, createdAt int, ROLE text,"
            " content text, toolCalls text, toolCallId text)"
        )
        for row in (
            ("a", "u1", "10", 5, "user", "last", None, None),
            ("a", "u1", "2", 4, "tool", "found", None, "c1"),
            ("a", "u1", "2", 3, "assistant", None, call, None),  # two writers have counted the same rows
            ("a", None, "1", 1, "system", "Be brief.", None, None),
            ("a", "u1", "1", 2, "user", "hi", None, None),
            ("a", "u1", "11", 7, "user", "and now?", None, None),
            ("a", "u1", "11", 6, "user", "well?", None, None),
            ("b", "u1", "1", 1, "user", "hi", None, None),
            ("b", "u2", "2", 2, "user", "hi", None, None),
        ):
            other.execute(f"insert into {name}.folded values (%s, %s, %s, %s, %s, %s, %s, %s)", row)
    done = json.loads(run("import", "--from", str(settings.database_url), "--table", f"{name}.folded", "--json").stdout)

    assert done["bad"] == [{"line": 2, "reason": "session b: has rows of several users: u1, u2"}]
    prompt = json.loads(run("prompt", *done["sessions"]).stdout)
    said = ["Be brief.", "hi", None, "found", "last", "well?", "and now?"]
    assert [message["content"] for message in prompt] == said
    assert json.loads(run("list", "--user", "u1", "--json").stdout)["total"] == 1


def test_a_session_that_cannot_be_repaired_is_named_and_the_rest_goes_on(
    run: Run, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "chats.jsonl"
    broken = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hel"}]
    chats = [[{"role": "user", "content": f"{number}"}, *broken, broken[1]] for number in range(40)]
    file.write_text("\n".join(map(json.dumps, chats)), "utf-8")
    sessions = json.loads(run("import", str(file), "--user", "u1", "--json").stdout)["sessions"]
    with psycopg.connect(settings.database_url or "", autocommit=True) as other:
        unreadable = sql.SQL("insert into {} values (%s, 6, 'no-such-event.v1', '{{}}', 1000000)").format(
            sql.Identifier(settings.database_schema, "turnlog_events")
        )
        other.execute(unreadable, (sessions[7],))

    done = run("repair", "--all", "--json")

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.exit_code, len(sessions)) == (1, 40)
    assert {line["session_id"] for line in lines if "corrections" in line} == set(sessions) - {sessions[7]}
    assert next(line for line in lines if "error" in line)["session_id"] == sessions[7]
    assert f"{sessions[7]}: " in done.stderr
    assert "0 sessions corrected, 39 had nothing to repair, 1 failed" in run("repair", "--all").stdout


def test_a_conversation_that_grew_goes_on_and_one_that_was_edited_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"

    def imported(*lines: Json) -> Json:
        file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
        found: Json = json.loads(run("import", str(file), "--user", "u1", "--json").stdout)
        return found

    hi, hello = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello!"}
    first = imported({"id": "a", "messages": [hi]})
    grown = imported({"id": "a", "messages": [hi, hello]}, {"id": "a", "messages": [hi, hello, hi]})
    assert grown["sessions"] == [*first["sessions"] * 2]
    view = json.loads(run("show", first["sessions"][0], "--json").stdout)
    assert view["version"] == 4

    edited = imported({"id": "a", "messages": [{**hi, "content": "HI"}, hello]}, {"id": "b", "messages": [hi]})
    assert edited["imported"] == 1
    assert edited["bad"] == [{"line": 1, "reason": "messages[0]: another one was imported in its place before"}]
    assert run("import", str(file), "--user", "u1").exit_code == 1


def test_show_says_what_is_wrong_and_what_was_made_up(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    file.write_text(
        json.dumps([{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]), "utf-8"
    )
    (session_id,) = json.loads(run("import", str(file), "--json").stdout)["sessions"]

    broken = run("show", session_id).stdout
    assert "unanswered_call: the call 'c1' of 'find' has no result" in broken
    assert "a provider answers: An assistant message with 'tool_calls' must be followed" in broken
    assert "trailing_assistant" not in run("prompt", session_id, "--explain").stdout

    run("repair", session_id)
    mended = run("show", session_id)
    assert mended.exit_code == 0, mended.exception
    assert "synthetic" in mended.stdout
    assert "repaired: 1 correction by" in mended.stdout
    assert "faults" not in mended.stdout


def test_explain_says_why_a_prefix_was_lost_and_what_some_providers_refuse(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    parts = [{"role": "assistant", "content": text} for text in ("Hel", "lo")]
    file.write_text(json.dumps([{"role": "user", "content": "hi"}, *parts]), "utf-8")
    (session_id,) = json.loads(run("import", str(file), "--json").stdout)["sessions"]

    shown = run("prompt", session_id, "--explain").stdout
    assert "at 4 (message-imported.v1) the prefix changed from message 1 on: an imported message belongs" in shown
    assert "message 1, trailing_assistant: the last message is the assistant's" in shown
    explained = json.loads(run("prompt", session_id, "--explain", "--json").stdout)
    assert [found["reason"] for found in explained["breaks"]] == ["import"]
    assert [fault["kind"] for fault in explained["request_faults"]] == ["trailing_assistant"]


def test_import_reads_a_large_table_with_odd_columns(run: Run, settings: Settings) -> None:
    name = settings.database_schema
    columns = '"sessionId" uuid, "Sequence" int, "Role" text, content bytea, "toolCalls" jsonb, picture bytea'
    with psycopg.connect(settings.database_url or "", autocommit=True) as other:
        other.execute(f"create schema if not exists {name}")
        other.execute(f'create table {name}."ChatMessages" ({columns.replace("content bytea", "content json")})')
        other.execute(
            f"""insert into {name}."ChatMessages"
            select md5((n / 3)::text)::uuid, 2 - n % 3, (array['user', 'assistant', 'tool'])[3 - n % 3],
                   to_json('text ' || n), case when n % 3 = 1 then '[{{"id": "c"}}]'::jsonb end, 'xx'
            from generate_series(0, 1499) n"""
        )
        other.execute(f"""insert into {name}."ChatMessages" values (null, 1, 'user', '"x"', null, null)""")
        other.execute(
            f"""insert into {name}."ChatMessages" values (gen_random_uuid(), 1, 'user', '"y"', '"[{{"', null)"""
        )
    done = run("import", "--from", str(settings.database_url), "--table", f"{name}.ChatMessages", "--json")

    found = json.loads(done.stdout)
    assert (found["imported"], found["messages"], found["bad"]) == (501, 1_501, [])
    view = json.loads(run("show", found["sessions"][0], "--json").stdout)
    assert view["turns"][0]["messages"][0]["content"].startswith("text ")
    assert "0 sessions corrected" not in run("repair", "--all").stdout
