"""`turnlog import`, from a file and from a table."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.command_line import Json, Run, write_lines
from turnlog import Settings


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
    write_lines(
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

    write_lines(file, {"id": 1, "messages": [hi]})
    assert said() == "1 conversation with 1 message imported: 1 new, 0 extended, 0 already there; 0 not imported\n"
    write_lines(file, {"id": 1, "messages": [hi, hello]}, {"id": 2, "messages": [hi]}, {"id": "1", "messages": [hi]})
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
    write_lines(file, {"id": "known", "messages": messages})
    run("import", str(file))
    write_lines(file, {"messages": messages, **fields})
    for args in (["--dry-run"], []):
        outcome = json.loads(run("import", str(file), "--json", *args).stdout)
        assert outcome["imported"] == 0
        assert outcome["bad"][0]["reason"].startswith(reason)
    assert json.loads(run("list", "--json").stdout)["total"] == 1


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


# Tables of other systems


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


def test_a_table_of_folded_names_and_badly_counted_rows_is_read(run: Run, settings: Settings) -> None:
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


@pytest.mark.parametrize("password", ["s3/cr3t", "s3cr3t@x", "s3 cr3t", "s3cr3t%x"])
def test_a_password_that_libpq_would_misread_is_not_repeated(run: Run, password: str) -> None:
    done = run("import", "--from", f"postgresql://u:{password}@127.0.0.1:1/d", "--table", "messages", "--user", "u1")
    assert done.exit_code == 1
    assert "--from: " in done.stderr
    assert "cr3t" not in done.stderr
