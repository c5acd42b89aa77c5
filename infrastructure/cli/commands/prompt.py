"""`turnlog prompt ID`"""

from __future__ import annotations

import click

from turnlog.infrastructure.cli.output import json_text, printable, stdout
from turnlog.infrastructure.cli.shared import Globals, pass_globals, session_argument
from turnlog.infrastructure.principal import SYSTEM

APIS = ("chat", "anthropic", "responses")


@click.command("prompt")
@session_argument
@click.option("--api", type=click.Choice(APIS), default="chat", show_default=True, help="Whose shape it has.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), metavar="N", help="Keep the latest turns that fit (estimated)."
)
@click.option("--json", "as_json", is_flag=True, help="Without colours, also on a terminal.")
@pass_globals
def prompt(options: Globals, session_id: str, api: str, max_tokens: int | None, as_json: bool) -> None:
    """Print the prompt, as JSON: the messages that would be sent to the provider next."""
    messages = options.run(lambda log: log.session(session_id, SYSTEM).prompt(api, max_tokens))  # type: ignore[arg-type]
    document = json_text(messages, indent=2)
    screen = stdout()
    if screen.is_terminal and not as_json:
        screen.print_json(printable(document))
    else:
        click.echo(document)
