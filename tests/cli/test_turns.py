"""What people are shown of a turn: who answers, what its tools do, and how it ended."""

from __future__ import annotations

from io import StringIO

from tests.support.histories import folded
from tests.support.owned_talks import OwnedTalk, everything_in_a_turn
from tests.support.strategies import BEGAN
from turnlog.domain import commands as c
from turnlog.domain import events as e
from turnlog.domain import step_appends as appends
from turnlog.infrastructure.cli.commands.follow import Teller
from turnlog.infrastructure.cli.output import Screen
from turnlog.infrastructure.cli.transcript import print_session
from turnlog.projections.deltas import delta_of
from turnlog.projections.offsets import Offsets


def test_a_session_shows_each_turn_with_its_owners_and_what_became_of_its_calls() -> None:
    shown = StringIO()

    print_session(Screen(file=shown), folded(everything_in_a_turn()).view())

    lines = [line.rstrip().replace("─", "") for line in shown.getvalue().splitlines()]
    turns = "\n".join(lines[lines.index("turn 1  finished") :])
    assert (
        turns
        == """\
turn 1  finished
user       A flight to Rome, and a hotel.
assistant  I will lo
           failed · HTTP 429 · slow down · made again
assistant  I will look.
           → book({"to":"Rome"})
             ? allowed for the whole turn by anna: it is cheap · not run yet
           → hotel({})
             ▸ started at 2026-01-01 00:00:00 UTC
             ← final, late  The room is yours.
           → weather({})
             ▸ started at 2026-01-01 00:00:00 UTC
             ← error  no weather
           finished · tool_calls
owner      waiting · by w1

turn 2  answering
user       And a restaurant.
owner      abandoned · its writer is gone · by w2
assistant  The hotel will answer.
           finished · stop
late       ← final of the earlier call hotel({})  The room is yours.
owner      in hand by w3, since 2026-01-01 00:00:00 UTC

turn 3  stopped
user       Buy shoes.
owner      stopped · not now

turn 4  queued
user       Sing.
           queued"""
    )


def test_an_allowed_call_of_an_earlier_turn_is_shown_as_one_that_is_to_run_until_it_has() -> None:
    talk = OwnedTalk()
    talk.do(c.AddMessage(BEGAN, "m1", "user", "Shoes."), c.BeginTurn(BEGAN, None, "r1", "w1"))
    talk.do(
        c.BeginCompletion(BEGAN, "s1", run="r1", writer="w1"), appends.AppendToolCall(BEGAN, "s1", 0, "c1", "buy", "{}")
    )
    talk.do(c.EndCompletion(e.CompletionFinished(at=BEGAN, step_id="s1", finish_reason="tool_calls")))
    talk.do(c.RequestApproval(BEGAN, "r1", "s1", 0), c.EndTurn(BEGAN, "r1", "waiting"))
    talk.do(c.AddMessage(BEGAN, "m2", "user", "And a hat?"), c.BeginTurn(BEGAN, None, "r2", "w1"))
    talk.do(c.BeginCompletion(BEGAN, "s2", run="r2", writer="w1"), appends.AppendText(BEGAN, "s2", "Later."))
    talk.do(c.EndCompletion(e.CompletionFinished(at=BEGAN, step_id="s2", finish_reason="stop")))
    talk.do(c.EndTurn(BEGAN, "r2", "finished"))

    assert call_of(talk) == ["? waits for a decision"]
    talk.do(c.DecideApproval(BEGAN, "c1", "s1", True, "anna"))
    assert call_of(talk) == ["? allowed by anna · not run yet"]
    talk.do(c.BeginTurn(BEGAN, None, "r3", "w1"), c.StartTool(BEGAN, "r3", "s1", 0))
    assert call_of(talk) == ["? allowed by anna", "▸ started at 2026-01-01 00:00:00 UTC"]
    talk.do(c.AddToolResult(BEGAN, "c1", "final", "Bought.", step_id="s1", index=0, run="r3"))
    assert call_of(talk) == ["? allowed by anna", "▸ started at 2026-01-01 00:00:00 UTC", "← final, late  Bought."]


def call_of(talk: OwnedTalk) -> list[str]:
    """What is shown of the call in the first turn, below it."""
    shown = StringIO()
    print_session(Screen(file=shown), folded(talk.events).view())
    lines = [line.strip() for line in shown.getvalue().splitlines()]
    first = lines[lines.index("assistant  → buy({})") + 1 :]
    return first[: first.index("finished · tool_calls")]


def test_whoever_follows_hears_of_each_event_of_a_turn() -> None:
    shown, offsets = StringIO(), Offsets()
    teller = Teller(Screen(file=shown))

    for event in everything_in_a_turn():
        teller.tell(delta_of(event, offsets.take(event)))

    told = shown.getvalue().splitlines()
    for line in (
        "turn started · m1",
        "step started · the answer before it is made again",
        "queued",
        "? call_0 waits for a decision",
        "▸ call_1 started",
        "turn waiting",
        "? call_0 allowed by anna",
        "turn abandoned · its writer is gone",
        "← final, late  The room is yours.",
        "turn stopped · not now",
    ):
        assert line in told, line
