"""`turnlog work`"""

from __future__ import annotations

import sys
from contextlib import nullcontext, suppress
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any

import click

from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.answer.outcome import AnswerOutcome
from turnlog.infrastructure.cli.output import counted, emit_json, stdout
from turnlog.infrastructure.cli.shared import Globals, Seconds, json_option, pass_globals
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session

DEFAULT_SECONDS = 5.0


@click.command("work")
@click.argument("answer", metavar="MODULE:FUNCTION")
@click.option("--once", is_flag=True, help="Go on with what is there now, and end.")
@click.option(
    "--every", type=Seconds(min=0.1), default=DEFAULT_SECONDS, show_default=True, metavar="SECONDS",
    help="Seconds until it looks again, until Ctrl-C.",
)  # fmt: skip
@click.option("--parallel", type=click.IntRange(1, 1_000), default=8, show_default=True, help="Turns at the same time.")
@json_option
@pass_globals
def work(options: Globals, answer: str, once: bool, every: float, parallel: int, as_json: bool) -> None:
    """Go on with the turns of the dead: those whose processes are gone, and queued messages that nobody answers.

    MODULE:FUNCTION is a function that is given a session and returns its answer, such as

    \b
        def answer(session):
            return session.answer(client, model="gpt-4o-mini", tools=[...])

    The module is looked for in the current directory, too. Any number of workers may run at once. With --json, one
    outcome in each line.
    """
    answered = _Reporting(_function(answer), as_json)

    async def run(log: SessionLog) -> None:
        outcomes = await log.resume(answered, every=None if once else every, parallel=parallel)
        if not as_json:
            stdout().say(f"{counted(len(outcomes), 'turn')} gone on with", style="dim")

    # Without --once, Ctrl-C is the normal end.
    with nullcontext() if once else suppress(KeyboardInterrupt):
        options.run(run)


class _Reporting:
    """Answers, and says how each answer came out."""

    def __init__(self, answer: Any, as_json: bool) -> None:
        self._answer = answer
        self._as_json = as_json

    async def __call__(self, session: Session) -> AnswerOutcome:
        given = self._answer(session)
        if iscoroutinefunction(self._answer):
            given = await given
        outcome: AnswerOutcome = given if isinstance(given, AnswerOutcome) else await given
        if self._as_json:
            emit_json(outcome.model_dump_json(exclude={"turn"}))
        else:
            why = f": {outcome.reason}" if outcome.reason else ""
            stdout().say(f"session {outcome.session_id}  turn {outcome.turn_id}  {outcome.status}{why}")
        return outcome


def _function(path: str) -> Any:
    """The function that the path names. Raises InvalidInputError."""
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise InvalidInputError("MODULE:FUNCTION", f"{path} names no function: write it as package.module:function")
    sys.path.insert(0, "")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InvalidInputError("MODULE:FUNCTION", str(error)) from error
    if not callable(found):
        raise InvalidInputError("MODULE:FUNCTION", f"{path} is not a function")
    return found
