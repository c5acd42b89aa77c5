"""`turnlog events ID`"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC

import click
from rich.text import Text

from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.cli.describe import body
from turnlog.infrastructure.cli.output import Screen, emit_json, printable, shortened, stdout
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals, session_argument
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM

BODY_LENGTH = 100


@click.command("events")
@session_argument
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only the events after this position.")
@json_option
@pass_globals
def events(options: Globals, session_id: str, after: int, as_json: bool) -> None:
    """Print the events of a session: position, log position, time, topic and body.

    With --json, one object in each line.
    """
    write = write_json if as_json else _line_writer(stdout())

    async def print_all(log: SessionLog) -> None:
        async for recorded in log.session(session_id, SYSTEM).events(after):
            write(recorded)

    options.run(print_all)


def write_json(recorded: RecordedEvent) -> None:
    """Prints an event as one object in a line."""
    event = recorded.event.model_dump_json()
    positions = f'"position":{recorded.position},"log_position":{recorded.log_position}'
    emit_json(f'{{{positions},"topic":"{recorded.topic}","event":{event}}}')


def _line_writer(screen: Screen) -> Callable[[RecordedEvent], None]:
    def write(recorded: RecordedEvent) -> None:
        at = recorded.event.at.astimezone(UTC)
        # A terminal has no room for the date. The output of a pipe may be sorted by it.
        time = f"{at:%H:%M:%S}" if screen.is_terminal else f"{at:%Y-%m-%dT%H:%M:%S}"
        line = Text(f"{recorded.position:>6} ")
        line.append(f"{recorded.log_position:>8} {time}.{at.microsecond // 1000:03} ", style="dim")
        line.append(f"{recorded.topic:<28} ", style=_style(recorded.topic))
        room = max(20, screen.width - len(line)) if screen.is_terminal else BODY_LENGTH
        line.append(shortened(printable(body(recorded.event)).replace("\n", "␊"), room))
        screen.print(line, soft_wrap=True)

    return write


def _style(topic: str) -> str:
    if "delta" in topic:
        return "dim"
    if topic.startswith(("completion-failed", "completion-interrupted", "completion-abandoned")):
        return "yellow"
    return "green" if topic.startswith(("completion", "turn")) else "cyan"
