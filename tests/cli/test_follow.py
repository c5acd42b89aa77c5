"""`turnlog follow` and `turnlog cancel`, as processes beside one that records."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from tests.support.command_line import Run, Started
from tests.support.processes import turnlog
from tests.support.recording import record_texts
from turnlog import Session, SessionLog, Settings
from turnlog.infrastructure.cli.commands.follow import Teller
from turnlog.infrastructure.cli.output import Screen

SOON = 20.0


async def test_follow_prints_an_answer_while_another_process_records_it(session: Session, settings: Settings) -> None:
    await session.say("Count.")
    async with (
        turnlog(settings, "follow", str(session.id), "--until-turn-ends") as screen,
        turnlog(settings, "follow", str(session.id), "--until-turn-ends", "--json", "--after", "1") as pipe,
        asyncio.timeout(SOON),
    ):
        assert [await screen.line() for _ in range(2)] == ["session-started.v1", "user       Count."]
        first = await pipe.line()  # it follows
        async with session.completion(model="m") as completion:
            await completion.text("one, ")
            await completion.tool_call("c1", "count", '{"to": 3}')
            await session.add_tool_result("c1", "1 2\n3")
            await completion.finish("tool_calls")
        await record_texts(session, "two, ", "three")
        people, machines = await asyncio.gather(screen.rest(), pipe.rest())
        assert [await screen.left(), await pipe.left()] == [0, 0]
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


async def test_follow_ends_quietly_with_ctrl_c(session: Session, settings: Settings) -> None:
    await session.say("Hello")
    async with turnlog(settings, "follow", str(session.id)) as follower, asyncio.timeout(SOON):
        assert [await follower.line() for _ in range(2)] == ["session-started.v1", "user       Hello"]
        follower.send_signal(signal.SIGINT)
        assert await follower.rest() == []
        assert await follower.left() == 0


async def test_cancel_stops_what_another_process_records(session: Session, settings: Settings) -> None:
    await session.say("Hello")
    async with session.completion() as completion:
        await completion.text("Hel")
        stop = turnlog(settings, "cancel", str(session.id), "--reason", "enough", "--json")
        async with stop as stopper, asyncio.timeout(SOON):
            assert json.loads((await stopper.rest())[0]) == {"session_id": str(session.id), "cancelled": True}
        with pytest.raises(Exception, match="enough"):
            await completion.text("lo")
    step = (await session.view()).turns[0].steps[0]
    assert (step.status, step.note) == ("interrupted", "enough")


def test_cancel_says_that_nothing_is_being_answered(run: Run, started: Started) -> None:
    async def start(log: SessionLog) -> str:
        return str((await log.start_session("u1")).id)

    result = run("cancel", started(start))
    assert (result.exit_code, result.output) == (0, "Nothing is being answered.\n")


async def test_texts_that_would_steer_a_terminal_are_shown_and_not_obeyed(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    await session.say("Hello")
    await record_texts(session, "\x1b[2J", "\x07")
    teller = Teller(Screen())
    async for delta in session.deltas(until_turn_ends=True):
        teller.tell(delta)
    assert "\x1b" not in capsys.readouterr().out
