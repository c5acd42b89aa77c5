"""The commands and their options, from click."""

from __future__ import annotations

from collections.abc import Iterator

import click

from turnlog.infrastructure.cli.app import cli


def reference() -> str:
    """A section a command, the group's own options first."""
    context = click.Context(cli, info_name="turnlog")
    parts = [*_options(context)]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None  # noqa: S101 it is listed
        parts += _section(click.Context(command, context, info_name=name))
    return "\n\n".join(parts)


def _section(context: click.Context) -> Iterator[str]:
    yield f"## turnlog {context.info_name} {{ #{context.info_name} }}"
    yield f"```text\n{' '.join([context.command_path, *context.command.collect_usage_pieces(context)])}\n```"
    yield "\n\n".join(" ".join(part.split()) for part in (context.command.help or "").replace("\b", "").split("\n\n"))
    yield from _options(context)


def _options(context: click.Context) -> Iterator[str]:
    records = [parameter.get_help_record(context) for parameter in context.command.params]
    rows = [f"| `{_cell(names)}` | {_cell(meaning)} |" for names, meaning in filter(None, records) if meaning]
    if rows:
        yield "\n".join(["| Option | Meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
