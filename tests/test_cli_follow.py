"""`turnlog follow` and `turnlog cancel`, as processes beside one that records."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.children import Child
from tests.test_follow import answer
from turnlog import Session, SessionLog, Settings
from turnlog.infrastructure.cli.app import cli
from turnlog.infrastructure.cli.commands.follow import Teller
from turnlog.infrastructure.cli.output import Screen

SOON = 20.0
TURNLOG = str(Path(sys.executable).with_name("turnlog"))


async def turnlog(settings: Settings, *args: str) -> Child:
    places = ["--database-url", str(settings.database_url), "--redis-url", str(settings.redis_url)]
    process = await asyncio.create_subprocess_exec(
        TURNLOG,
        *places,
        *args,
        env={**os.environ, "TURNLOG_DATABASE_SCHEMA": settings.database_schema},
        stdout=asyncio.subprocess.PIPE,
    )
    return Child(process)


async def test_follow_prints_an_answer_while_another_process_records_it(session: Session, settings: Settings) -> None:
    await session.say("Count.")
    both = await asyncio.gather(
        turnlog(settings, "follow", str(session.id), "--until-turn-ends"),
        turnlog(settings, "follow", str(session.id), "--until-turn-ends", "--json", "--after", "1"),
    )
    async with asyncio.timeout(SOON):
        assert [await both[0].line() for _ in range(2)] == ["session-started.v1", "user       Count."]
        first = await both[1].line()  # it follows
        async with session.completion(model="m") as completion:
            await completion.text("one, ")
            await completion.tool_call("c1", "count", '{"to": 3}')
            await session.add_tool_result("c1", "1 2\n3")
            await completion.finish("tool_calls")
        await answer(session, "two, ", "three")
        people, machines = await asyncio.gather(*(child.rest() for child in both))
    assert people == [
        "step started",
        "one, ",
        '→ count {"to": 3}',
        "← final  1 2 3",
        "finished · tool_calls",
        "step started",
        "two, three",
        "finished",
    ]
    positions = [json.loads(line)["position"] for line in [first, *machines]]
    assert positions == [event.position async for event in session.events(after=1)]
    assert [await child.process.wait() for child in both] == [0, 0]


async def test_follow_ends_quietly_with_ctrl_c(session: Session, settings: Settings) -> None:
    await session.say("Hello")
    follower = await turnlog(settings, "follow", str(session.id))
    async with asyncio.timeout(SOON):
        await follower.until("user       Hello")
        follower.process.send_signal(signal.SIGINT)
        assert await follower.rest() == []
        assert await follower.process.wait() == 0


async def test_cancel_stops_what_another_process_records(session: Session, settings: Settings) -> None:
    await session.say("Hello")
    async with session.completion() as completion:
        await completion.text("Hel")
        stopper = await turnlog(settings, "cancel", str(session.id), "--reason", "enough", "--json")
        async with asyncio.timeout(SOON):
            assert json.loads((await stopper.rest())[0]) == {"session_id": str(session.id), "cancelled": True}
        with pytest.raises(Exception, match="enough"):
            await completion.text("lo")
    step = (await session.view()).turns[0].steps[0]
    assert (step.status, step.note) == ("interrupted", "enough")


def test_cancel_says_that_nothing_is_being_answered(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def started() -> str:
        async with SessionLog.open(settings) as log:
            return str((await log.start_session("u1")).id)

    monkeypatch.setenv("TURNLOG_DATABASE_SCHEMA", settings.database_schema)
    places = ["--database-url", str(settings.database_url), "--redis-url", str(settings.redis_url)]
    result = CliRunner().invoke(cli, [*places, "cancel", asyncio.run(started())])
    assert (result.exit_code, result.output) == (0, "Nothing is being answered.\n")


async def test_texts_that_would_steer_a_terminal_are_shown_and_not_obeyed(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    await session.say("Hello")
    await answer(session, "\x1b[2J", "\x07")
    teller = Teller(Screen())
    async for delta in session.deltas(until_turn_ends=True):
        teller.tell(delta)
    assert "\x1b" not in capsys.readouterr().out
