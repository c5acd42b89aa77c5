"""`turnlog import` of files as other systems export them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Json, Run
from tests.support.exports import EXPORTS, export

SEVERAL = {"chatgpt.json": 2, "claude_ai.json": 2}


def outcome(run: Run, *args: str) -> Json:
    found: Json = json.loads(run("import", *args, "--user", "u1", "--json").stdout)
    return found


@pytest.mark.parametrize("name", ["chatgpt.json", "claude_code.jsonl", "librechat-tree.json", "ui-v5.json"])
def test_an_export_is_imported_as_it_is_and_once(run: Run, name: str) -> None:
    done = outcome(run, str(EXPORTS / name))
    count = SEVERAL.get(name, 1)
    assert (done["imported"], done["new"], done["bad"]) == (count, count, [])
    assert list(done["formats"].values()) == [count]
    again = outcome(run, str(EXPORTS / name))
    assert again == {**done, "new": 0, "already_there": count}
    for session in done["sessions"]:
        assert json.loads(run("prompt", session).stdout)


def test_the_formats_that_were_read_are_said(run: Run) -> None:
    said = run("import", str(EXPORTS / "chatgpt.json"), "--user", "u1", "--branches").stdout
    assert said.splitlines() == [
        "2 conversations with 10 messages imported: 2 new, 0 extended, 0 already there; 0 not imported",
        "read as: chatgpt 2; 1 fork",
    ]
    assert json.loads(run("list", "--user", "u1", "--json").stdout)["total"] == 3


def test_one_conversation_of_an_export_that_is_refused_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    chats = export("chatgpt.json")
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([chats[0], {"mapping": {}, "title": "Empty"}, chats[1]], indent=2), "utf-8")
    done = outcome(run, str(file))
    assert (done["imported"], [bad["conversation"] for bad in done["bad"]]) == (2, [2])
    assert "say nothing in the format chatgpt" in done["bad"][0]["reason"]
    said = run("import", str(file), "--user", "u1")
    assert said.exit_code == 1
    assert "conversation 2: messages: say nothing" in said.stderr


def test_lines_of_several_formats_are_each_read_in_their_own(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    lines = [
        export("langchain-plain.json"),
        {"id": "p", "messages": export("pydantic_ai.json")},
        export("gemini.json"),
        [{"speaker": "me", "words": "hi"}],
        export("chatgpt.json"),
    ]
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    done = outcome(run, str(file))
    assert done["formats"] == {"chatgpt": 2, "gemini": 1, "langchain": 1, "pydantic_ai": 1}
    assert done["bad"] == [{"line": 4, "reason": "messages: are of no known format: keys: speaker, words"}]


def test_a_file_with_a_message_a_line_is_one_conversation_for_each_session(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "session.jsonl"
    records = export("claude_code.jsonl")
    other = [{**record, "sessionId": "cc-2"} for record in records if "sessionId" in record]
    text = "\n".join(map(json.dumps, [*records, *other]))
    file.write_text(text + '\n{"type": "user", "mess', "utf-8")  # it was cut off
    done = outcome(run, str(file))
    assert (done["imported"], done["formats"]) == (2, {"claude_code": 2})
    assert [bad["line"] for bad in done["bad"]] == [len(records) + len(other) + 1]
    file.write_text("\n".join(map(json.dumps, export("langchain-plain.json"))), "utf-8")
    assert outcome(run, str(file))["formats"] == {"langchain": 1}


def test_a_file_that_begins_with_a_bad_line_is_read_line_by_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    file.write_text('{"messages": [\n\n[{"role": "user", "content": "hi"}]\n', "utf-8")
    done = outcome(run, str(file))
    assert (done["imported"], [bad["line"] for bad in done["bad"]]) == (1, [1])
    file.write_text("", "utf-8")
    assert outcome(run, str(file))["imported"] == 0


def test_an_owner_that_the_export_names_is_the_owner(run: Run) -> None:
    outcome(run, str(EXPORTS / "open_webui.json"))
    assert json.loads(run("list", "--user", "u-9", "--json").stdout)["total"] == 1
