"""Commands that are interrupted say how far they came."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from tests.support.command_line import Run
from turnlog import Settings


def _interrupted(command: list[str], when: Callable[[], bool], stdin: int | None = None) -> tuple[int, str]:
    """Ctrl-C, once it is time: the exit code, and what was said."""
    pipes = {"stdin": stdin, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        assert process.stderr is not None
        while not when() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        return process.wait(30), process.stderr.read()


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


def test_an_export_that_is_interrupted_says_how_far_it_came(run: Run, turnlog: list[str], tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    chats = ([{"role": "user", "content": f"{number}"}] for number in range(2_000))
    file.write_text("\n".join(map(json.dumps, chats)), "utf-8")
    run("import", str(file), "--user", "u1")
    written = tmp_path / "sessions.jsonl"
    command = [*turnlog, "export", "--user", "u1", "--output", str(written)]
    code, said = _interrupted(command, lambda: written.exists() and written.stat().st_size > 0)
    assert re.search(r"^interrupted: [\d,]+ sessions? exported, the last one in part\n", said)
    assert code == 1
