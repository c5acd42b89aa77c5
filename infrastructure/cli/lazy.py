"""Click groups: errors become one line and an exit code, and commands are imported when they are used."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from io import UnsupportedOperation
from typing import Any, NamedTuple

import click

from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.cli.failures import report

KILLED_BY_SIGPIPE = 141


class Lazy(NamedTuple):
    """A command that is not imported yet: its "module:attribute", and its line in `--help`."""

    target: str
    help: str

    def load(self) -> click.Command:
        """Imports the command. Raises UsageError if its module is not installed."""
        module, _, attribute = self.target.partition(":")
        try:
            command = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
            raise click.UsageError(f"{error.name} is not part of this installation.") from error
        assert isinstance(command, click.Command)  # noqa: S101 for the type checker; the table is ours
        return command


class ReportingGroup(click.Group):
    """A group whose errors become one line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command. A TurnlogError or an OSError becomes one line on stderr and exit code 1."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _let_go_of_stdout()
            ctx.exit(KILLED_BY_SIGPIPE)
        except (TurnlogError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            report(error)
            if isinstance(error, OSError):  # such as a full disk
                _let_go_of_stdout()
            ctx.exit(1)
        return result


class LazyGroup(ReportingGroup):
    """A group that imports its commands, by their names in a table, when they are used."""

    def __init__(self, *args: Any, table: Mapping[str, Lazy], **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        """The names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 click's signature
        """The command of that name, imported now."""
        lazy = self.table.get(cmd_name)
        return lazy.load() if lazy else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 click's signature
        """Writes the table of commands. The method of click would import each command for its help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self.table.items()])


def _let_go_of_stdout() -> None:
    # Its reader has gone (`| head`), or the disk is full: what is still buffered must not raise again at exit.
    with suppress(UnsupportedOperation):  # a test or an embedding program may have replaced stdout
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
