"""`turnlog follow ID`"""

from __future__ import annotations

import sys
from contextlib import suppress

import click
from rich.text import Text

from turnlog.infrastructure.cli.commands.events import write_json
from turnlog.infrastructure.cli.output import Screen, one_line, printable, shortened, stdout
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals, session_argument
from turnlog.infrastructure.cli.transcript import STATUS_STYLES, content_text, print_message
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.projections.deltas import (
    ApprovalDecided,
    ApprovalRequested,
    Delta,
    FunctionCallFragment,
    MessageCame,
    PartExtended,
    PartFragment,
    PartStarted,
    SessionChanged,
    StepEnded,
    StepStarted,
    TextFragment,
    ToolCallFragment,
    ToolResultCame,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)

_STYLES = {"reasoning": "dim italic", "refusal": "red"}
RESULT_LENGTH = 200


@click.command("follow")
@session_argument
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only the events after this position.")
@click.option("--until-turn-ends", is_flag=True, help="End when the last turn has ended, and not only at Ctrl-C.")
@json_option
@pass_globals
def follow(options: Globals, session_id: str, after: int, until_turn_ends: bool, as_json: bool) -> None:
    """Print a session as it happens: first what is stored, then each delta as it comes, from any process.

    With --json, its events as `turnlog events` prints them: one object in each line.
    """

    async def print_all(log: SessionLog) -> None:
        session = log.session(session_id, SYSTEM)
        if as_json:
            async for recorded in session.follow(after, until_turn_ends):
                write_json(recorded)
                sys.stdout.flush()
        else:
            teller = Teller(stdout())
            async for delta in session.deltas(after, until_turn_ends):
                teller.tell(delta)

    with suppress(KeyboardInterrupt):  # the normal end of this command
        options.run(print_all)


class Teller:
    """Prints deltas as they come: texts run on, and everything else has its own lines."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._block: tuple[str, str] | None = None

    def tell(self, delta: Delta) -> None:
        """Prints a delta."""
        match delta:
            case TextFragment():
                self._go_on((delta.step_id, delta.kind), delta.text, _STYLES.get(delta.kind, ""))
            case ToolCallFragment() | FunctionCallFragment():
                begins = delta.name if isinstance(delta, FunctionCallFragment) or delta.offset == 0 else ""
                block = (delta.step_id, f"call {getattr(delta, 'index', '')}")
                self._go_on(block, f"→ {begins} " if begins else delta.arguments, "cyan")
                if begins and delta.arguments:
                    self._go_on(block, delta.arguments, "cyan")
            case PartStarted() | PartFragment() | PartExtended():
                pass  # what a provider said beside what people read
            case _:
                self._break()
                self._tell_whole(delta)

    def _tell_whole(self, delta: Delta) -> None:
        match delta:
            case MessageCame():
                print_message(self._screen, delta.role, delta.content, delta.name)
                if delta.queued:
                    self._line(("queued", "yellow"))
            case TurnStarted():
                self._line(("turn started", "cyan"), (f" · {one_line(delta.turn_id)}", "dim"))
            case TurnEnded():
                why = f" · {one_line(delta.reason)}" if delta.reason else ""
                self._line(("turn ", ""), (delta.status, STATUS_STYLES[delta.status]), (why, "dim"))
            case StepStarted():
                again = " · the answer before it is made again" if delta.supersedes else ""
                self._line(("step started", "dim"), (again, "yellow"))
            case ToolStarted():
                attempt = f", attempt {delta.attempt}" if delta.attempt > 1 else ""
                self._line((f"▸ {one_line(delta.call_id)} started{attempt}", "dim"))
            case ApprovalRequested():
                self._line((f"? {one_line(delta.call_id)}", ""), (" waits for a decision", "yellow"))
            case ApprovalDecided():
                decided = ("allowed", "green") if delta.approved else ("refused", "red")
                self._line((f"? {one_line(delta.call_id)} ", ""), decided, (f" by {one_line(delta.by)}", "dim"))
            case ToolResultCame():
                text = shortened(one_line(content_text(delta.content)), RESULT_LENGTH)
                self._line(
                    ("← ", "dim"),
                    (delta.status, STATUS_STYLES[delta.status]),
                    (", late" if delta.late else "", "yellow"),
                    f"  {text}",
                )
            case StepEnded():
                why = one_line(delta.note or delta.finish_reason or "")
                self._line((delta.status, STATUS_STYLES[delta.status]), (f" · {why}" if why else "", "dim"))
            case SessionChanged(topic=topic):
                self._line((topic, "dim"))
            case _:
                self._line((delta.kind.replace("_", " "), "dim"))

    def _line(self, *parts: str | tuple[str, str]) -> None:
        self._screen.print(Text.assemble(*parts), soft_wrap=True)

    def _go_on(self, block: tuple[str, str], text: str, style: str) -> None:
        if self._block != block:
            self._break()
        self._block = block
        self._screen.print(Text(printable(text), style=style), soft_wrap=True, end="")
        self._screen.file.flush()

    def _break(self) -> None:
        if self._block is not None:
            self._screen.print()
        self._block = None
