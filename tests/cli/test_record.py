"""`turnlog record`."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.command_line import NOBODYS, STREAMS, Json, Run
from turnlog import InvalidInputError


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


def test_record_takes_no_chunks_from_other_fields_of_server_sent_events(run: Run) -> None:
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


async def test_a_chunk_file_is_read_as_it_is_asked_for() -> None:
    from turnlog.infrastructure.cli.chunk_file import paced_chunks

    read: list[int] = []
    chunks: AsyncIterator[Json] = paced_chunks(io.BytesIO(b'{"a": 1}\n\n{"b": 2}\nnull\n'), 0, read.append)
    assert [await anext(chunks), await anext(chunks)] == [{"a": 1}, {"b": 2}]
    assert read == [9, 9]
    with pytest.raises(InvalidInputError, match="line 4: is not a JSON object but a NoneType"):
        await anext(chunks)
