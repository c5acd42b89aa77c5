"""The end of the demo: the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from turnlog.infrastructure.cli.output import Screen
from turnlog.infrastructure.demo.crash import Crash
from turnlog.infrastructure.demo.killed_turn import KilledTurn
from turnlog.infrastructure.demo.meter import Measured


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo measured, and the ids of the sessions that it keeps. An id is None where the session is deleted."""

    provider: str
    conversation: Measured
    conversation_id: str | None
    crash: Crash
    recovery: Measured
    crash_id: str | None
    killed_turn: KilledTurn
    killed_turn_id: str | None
    crowd: Measured
    seconds: float

    def parts(self) -> dict[str, Measured]:
        """What was measured, by part."""
        return {"conversation": self.conversation, "recovery": self.recovery, "crowd": self.crowd}

    def total(self) -> Measured:
        """All parts together, without the processes of their own, which do not tell their numbers."""
        parts = list(self.parts().values())
        return Measured(
            sessions=self.conversation.sessions + self.recovery.sessions + self.crowd.sessions,
            events=sum(part.events for part in parts),
            commits=sum(part.commits for part in parts),
            deltas=sum(part.deltas for part in parts),
            seconds=self.seconds,
            waits=[wait for part in parts for wait in part.waits],
        )

    def as_json(self) -> dict[str, Any]:
        """The summary as one JSON object: the totals, then each part."""
        parts = {name: part.as_json() for name, part in self.parts().items()}
        parts["conversation"]["session_id"] = self.conversation_id
        killed = self.killed_turn.as_json() | {"session_id": self.killed_turn_id}
        crash = self.crash.as_json() | {"session_id": self.crash_id}
        return {"provider": self.provider, **self.total().as_json(), "crash": crash, "killed_turn": killed, **parts}


def print_summary(screen: Screen, summary: Summary) -> None:
    """Prints a table, and the commands that show what was kept."""
    screen.print(_table(summary))
    screen.say("")
    ids = (summary.conversation_id, summary.crash_id, summary.killed_turn_id)
    kept = [session for session in ids if session is not None]
    for session in kept:
        screen.say(f"turnlog show {session}")
    if not kept:
        screen.say(
            "The sessions are deleted again; with --keep they stay, for `turnlog show` and `turnlog events`.", "dim"
        )


def _table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    headers = (
        "sessions",
        "events",
        "deltas",
        "commits",
        "events/\ncommit",
        "durable\np50 ms",
        "durable\np99 ms",
        "wall s",
    )
    for name in headers:
        table.add_column(name, justify="right")
    crowd = summary.crowd.sessions
    names = {"conversation": "one conversation", "recovery": "after the kill", "crowd": f"{crowd} at once"}
    for name, part in summary.parts().items():
        table.add_row(names[name], *_row(part))
    table.add_row("whole demo", *_row(summary.total()), style="bold")
    return table


def _row(part: Measured) -> list[str]:
    counts = [f"{count:,}" for count in (part.sessions, part.events, part.deltas, part.commits)]
    waits = [f"{part.wait_ms(share):.1f}" for share in (0.50, 0.99)]
    return [*counts, f"{part.events_per_commit:.1f}", *waits, f"{part.seconds:.1f}"]
