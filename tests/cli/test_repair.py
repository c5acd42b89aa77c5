"""`turnlog repair`, and what `show` and `prompt` say of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
from psycopg import sql

from tests.support.command_line import Run
from turnlog import Settings


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


def test_a_prompt_by_a_dialect_and_who_refuses_the_one_without(run: Run, tmp_path: Path) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"},
    ]
    file = tmp_path / "chats.jsonl"
    file.write_text(json.dumps(messages), "utf-8")
    (session_id,) = json.loads(run("import", str(file), "--json").stdout)["sessions"]

    shown = run("prompt", session_id, "--explain").stdout
    assert "message 1, call_id: a call id is not one of the provider's form\n      mistral: Tool call id has" in shown
    assert "mistral: Tool" not in run("prompt", session_id, "--explain", "--dialect", "mistral").stdout
    assert len(json.loads(run("prompt", session_id, "--dialect", "mistral").stdout)[2]["tool_call_id"]) == 9
    unknown = run("prompt", session_id, "--dialect", "gpt")
    assert unknown.exit_code == 1
    assert "is not one of: openai, azure" in unknown.stderr
