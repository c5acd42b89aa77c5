"""`turnlog list`, `show`, `events` and `prompt`."""

from __future__ import annotations

import asyncio
import io
import json
import re
from datetime import datetime

from rich.cells import cell_len

from tests.support.command_line import Run, Started, harbour, lines_of
from tests.support.owners import Owner
from turnlog import SYSTEM, SessionLog, SessionView, Settings
from turnlog.infrastructure.cli.output import Screen

# list


def test_list_shows_sessions_by_activity_with_their_total(run: Run, started: Started) -> None:
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
    assert text[0].split() == ["id", "title", "user", "updated", "turn", "version"]
    assert "Session 1" in text[1]
    assert text[2] == "2 to 2 of 3 sessions"


def test_a_list_on_a_narrow_terminal_cuts_titles_and_users_and_no_other_column(
    started: Started, settings: Settings
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
    assert lines[0].split() == ["id", "title", "user", "updated", "turn", "version"]
    assert all(cell_len(line) <= 80 for line in lines)
    assert all(re.search(r"….*  now +- +1$", line) for line in lines[1:3])


def test_a_list_on_a_narrow_terminal_has_room_for_the_status_of_a_turn_before_the_version(started: Started) -> None:
    from turnlog.infrastructure.cli.commands.listing import _show

    async def shown(log: SessionLog) -> str:
        session = await log.start_session(user_id="u" * 30, title="A title of more than forty characters")
        await session.say("Hi")
        await (await Owner.of(log, session)).asks("c-1")
        screen = Screen(file=io.StringIO(), force_terminal=True, width=80, no_color=True)
        _show(screen, await log.list_sessions(SYSTEM), 0)
        assert isinstance(screen.file, io.StringIO)
        return f"{session.id} {screen.file.getvalue()}"

    session_id, text = started(shown).split(" ", 1)
    lines = [re.sub("\x1b[^m]*m", "", line) for line in text.splitlines()]
    assert lines[0].split() == ["id", "title", "user", "updated", "turn"]
    assert re.fullmatch(rf"{session_id}  A titl.*…  u+…  now +running_tools *", lines[1])
    assert all(cell_len(line) <= 80 for line in lines)


def test_list_shows_the_status_of_the_latest_turn_and_finds_sessions_by_it(run: Run, started: Started) -> None:
    async def several(log: SessionLog) -> str:
        for said in (True, True, False):
            session = await log.start_session("u1")
            if said:
                await session.say("Hi", message_id="m-1")
        session = log.session((await log.list_sessions("u1")).items[1].session_id, "u1")
        owner = await Owner.of(log, session)
        await owner.asks("c-1")
        return str(session.id)

    session_id = started(several)
    page = json.loads(run("list", "--json").stdout)
    assert [item["turn_status"] for item in page["items"]] == ["running_tools", None, "open"]
    (item,) = json.loads(run("list", "--json", "--status", "running_tools").stdout)["items"]
    assert item["session_id"] == session_id
    assert json.loads(run("list", "--json", "--status", "open", "--status", "running_tools").stdout)["total"] == 2
    assert run("list", "--status", "running_tools").stdout.splitlines()[1].split()[-2:] == ["running_tools", "7"]
    assert run("list", "--status", "answering").stdout == "0 sessions\n"
    assert run("list", "--status", "done").exit_code == 2


def test_list_goes_from_page_to_page_by_cursor(run: Run, started: Started) -> None:
    async def several(log: SessionLog) -> str:
        for number in range(5):
            await log.start_session(user_id="u1", title=f"Session {number}")
        return ""

    started(several)
    first = json.loads(run("list", "--limit", "2", "--json").stdout)
    second = json.loads(run("list", "--limit", "2", "--cursor", first["next_cursor"], "--json").stdout)
    assert [item["title"] for item in second["items"]] == ["Session 2", "Session 1"]
    assert (first["total"], second["total"]) == (5, None)
    text = run("list", "--limit", "2").stdout.splitlines()
    assert text[-2:] == ["1 to 2 of 5 sessions", f"more: --cursor {first['next_cursor']}"]
    text = run("list", "--limit", "2", "--cursor", second["next_cursor"]).stdout.splitlines()
    assert (text[1].split()[1:3], text[2:]) == (["Session", "0"], ["1 session"])
    pages = lines_of(run("list", "--all", "--limit", "2", "--json").stdout)
    titles = [[item["title"] for item in page["items"]] for page in pages]
    assert titles == [["Session 4", "Session 3"], ["Session 2", "Session 1"], ["Session 0"]]
    assert run("list", "--all", "--limit", "2").stdout.splitlines()[-1] == "5 sessions"
    refused = run("list", "--user", "u1", "--cursor", first["next_cursor"])
    assert refused.exit_code == 1
    assert "cursor: " in refused.stderr


def test_an_empty_list_is_no_error(run: Run) -> None:
    assert run("list").stdout == "0 sessions\n"


# show, events, prompt


def test_show_prints_a_transcript(run: Run, started: Started) -> None:
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


def test_show_as_json_is_the_view(run: Run, started: Started, settings: Settings) -> None:
    session_id = started(harbour)

    async def view() -> SessionView:
        async with SessionLog.open(settings) as log:
            return await log.session(session_id, SYSTEM).view()

    assert SessionView.model_validate_json(run("show", session_id, "--json").stdout) == asyncio.run(view())


def test_show_marks_a_message_that_is_queued(run: Run, started: Started) -> None:
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


def test_show_says_how_far_a_turn_with_an_owner_is(run: Run, started: Started) -> None:
    async def talk(log: SessionLog) -> str:
        session = await log.start_session("u1")
        await session.say("Hi")
        owner = await Owner.of(log, session)
        await owner.asks("c-1", "c-2")
        await owner.needs_approval(0)
        await owner.gives("c-2", "started", "pending")
        await owner.begins()
        await session.add_tool_result("c-2", "21 C")
        return str(session.id)

    text = run("show", started(talk)).stdout
    assert re.search(r"turn 1 ─+ answering\n", text)
    places = [text.index(line) for line in ("? waits for a decision", "← final, late  21 C", "late  ")]
    assert places == sorted(places)


def test_events_are_lines_in_order(run: Run, started: Started) -> None:
    session_id = started(harbour)
    events = lines_of(run("events", session_id, "--json").stdout)
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["topic"] == "session-started.v1"
    assert events[0]["event"]["title"] == "At the harbour"
    assert lines_of(run("events", session_id, "--json", "--after", "3").stdout) == events[3:]
    text = run("events", session_id).stdout.splitlines()
    assert len(text) == len(events)
    assert text[4].split()[3:5] == ["reasoning-delta.v1", 'text="Two']


def test_the_prompt_is_json_in_either_mode(run: Run, started: Started) -> None:
    session_id = started(harbour)
    done = run("prompt", session_id, "--api", "chat")
    roles = ["system", "user", "assistant", "tool", "tool", "user"]  # the failed attempt would be made again
    assert [message["role"] for message in json.loads(done.stdout)] == roles
    assert run("prompt", session_id, "--json").stdout == done.stdout
