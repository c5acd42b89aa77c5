"""The command `turnlog`: its global options, and the table of its commands."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

import click

from turnlog import __version__
from turnlog.infrastructure.cli.lazy import Lazy, LazyGroup
from turnlog.infrastructure.cli.shared import Globals

_HERE = "turnlog.infrastructure.cli.commands"

COMMANDS = {
    "demo": Lazy("turnlog.infrastructure.demo.command:demo", "See it work: a conversation, a crash, a crowd."),
    "init": Lazy(f"{_HERE}.initialise:initialise", "Create the database schema, or bring it up to date."),
    "list": Lazy(f"{_HERE}.listing:listing", "List sessions, newest activity first."),
    "show": Lazy(f"{_HERE}.show:show", "Show a session as a transcript."),
    "events": Lazy(f"{_HERE}.events:events", "Print the events of a session."),
    "follow": Lazy(f"{_HERE}.follow:follow", "Print a session as it happens."),
    "cancel": Lazy(f"{_HERE}.cancel:cancel", "Stop the answer that is being written."),
    "prompt": Lazy(f"{_HERE}.prompt:prompt", "Print what would be sent to the provider next."),
    "record": Lazy(f"{_HERE}.record:record", "Record a stream from a file into a session."),
    "export": Lazy(f"{_HERE}.export:export", "Write sessions as lines of JSON."),
    "import": Lazy(f"{_HERE}.importing:import_", "Import conversations of another system from a file."),
    "repair": Lazy(f"{_HERE}.repair:repair", "Correct what is wrong with a session's history."),
    "usage": Lazy(f"{_HERE}.usage:usage", "Show tokens by user, model and day."),
    "project": Lazy(f"{_HERE}.project:project", "Keep projections up to date with the log."),
    "rebuild": Lazy(f"{_HERE}.rebuild:rebuild", "Build a projection, or all kept views, anew."),
    "reap": Lazy(f"{_HERE}.reap:reap", "End the steps whose writers are gone."),
    "work": Lazy(f"{_HERE}.work:work", "Go on with the turns of the dead."),
    "ui": Lazy(f"{_HERE}.ui:ui", "Look at the log in a browser."),
    "serve": Lazy(f"{_HERE}.serve:serve", "Serve the log over HTTP."),
    "provider": Lazy(f"{_HERE}.provider:provider", "Serve a fake provider, to try a program offline."),
    "doctor": Lazy(f"{_HERE}.doctor:doctor", "Show what is connected and what is wrong."),
}
"""The commands, one line each. A command is imported when it is used."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="If DATABASE_URL or REDIS_URL is not set, turnlog starts a server of its own in the data directory.",
)
@click.option("--database-url", metavar="URL", help="Postgres, instead of DATABASE_URL.")
@click.option("--redis-url", metavar="URL", help="Redis or Valkey, or `none`, instead of REDIS_URL.")
@click.option("--data-dir", metavar="PATH", help="Directory of the embedded servers, instead of TURNLOG_DATA_DIR.")
@click.option("--debug", is_flag=True, help="Show tracebacks and the logs of the libraries.")
@click.version_option(__version__, prog_name="turnlog")
@click.pass_context
def cli(
    context: click.Context, database_url: str | None, redis_url: str | None, data_dir: str | None, debug: bool
) -> None:
    """An event-sourced log for LLM conversations."""
    given = {"database_url": database_url, "redis_url": redis_url, "data_dir": data_dir}
    # An empty option counts as not given, like an empty variable.
    context.obj = Globals({name: value for name, value in given.items() if value}, debug)
    if debug:
        log_at(logging.DEBUG)


def main() -> None:
    """The entry point."""
    run(cli, "turnlog")


def run(command: click.Command, name: str) -> None:
    """Runs a command under this name, and exits. Sets up the logging, and streams that replace characters which their
    encoding does not have."""
    log_at(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a test or an embedding program may have replaced the stream
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # suppressed
    command(prog_name=name)


def log_at(level: int) -> None:
    """Logs what turnlog says (Redis is down, ...) from this level on. Its libraries are heard only at DEBUG."""
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", force=True)
    logging.getLogger("psycopg.pool").setLevel(level if level == logging.DEBUG else logging.CRITICAL)
