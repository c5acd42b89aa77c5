"""`turnlog prompt ID`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from turnlog.infrastructure.cli.output import emit_json, json_text, one_line, printable, shortened, stdout
from turnlog.infrastructure.cli.shared import Globals, pass_globals, session_argument
from turnlog.infrastructure.principal import SYSTEM

if TYPE_CHECKING:
    from turnlog.projections.prompt import Api, DialectName

LONGEST = 120
APIS = ("chat", "anthropic", "responses")


@click.command("prompt")
@session_argument
@click.option("--api", type=click.Choice(APIS), default="chat", show_default=True, help="The API that it is for.")
@click.option("--dialect", metavar="NAME", help="Keep the rules of a provider: openai, gemini, mistral, strict, ...")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), metavar="N", help="Keep the latest turns that fit (estimated)."
)
@click.option("--explain", "explained", is_flag=True, help="Name the events of each message, and prefix breaks.")
@click.option("--json", "as_json", is_flag=True, help="Print without colours on a terminal, too.")
@pass_globals
def prompt(
    options: Globals,
    session_id: str,
    api: Api,
    dialect: DialectName | None,
    max_tokens: int | None,
    explained: bool,
    as_json: bool,
) -> None:
    """Print the prompt as JSON: what would be sent to the provider next.

    For chat it is a list of messages, for anthropic an object with `system` and `messages`, for responses a list of
    items. With --max-tokens it has the system messages, and as many whole turns from the end as fit, by an estimate of
    four bytes for each token. --dialect names a provider behind the Chat Completions API, whose rules the messages then
    keep; `strict` those of all of them.

    --explain names the events that each message comes from. It names the events after which a prompt did not begin like
    the one before it, and why: there a provider's cached prefix is lost. And it names what some providers would refuse,
    such as a prompt that ends with the assistant.
    """
    if explained and max_tokens is not None:
        raise click.UsageError("--explain is for the whole prompt: leave out --max-tokens.")
    if explained:
        _explain(options, session_id, api, dialect, as_json)
        return
    messages = options.run(lambda log: log.session(session_id, SYSTEM).prompt(api, max_tokens, dialect=dialect))
    document = json_text(messages, indent=2)
    screen = stdout()
    if screen.is_terminal and not as_json:
        screen.print_json(printable(document))
    else:
        click.echo(document)


def _explain(options: Globals, session_id: str, api: Api, dialect: DialectName | None, as_json: bool) -> None:
    from turnlog.projections.prompt.explain import BREAKS  # noqa: PLC0415 pydantic: not for `--help`

    explanation = options.run(lambda log: log.session(session_id, SYSTEM).explain_prompt(api, dialect))
    if as_json:
        emit_json(explanation.model_dump_json())
        return
    screen = stdout()
    for index, one in enumerate(explanation.messages):
        positions = ", ".join(map(str, one.positions)) or "none"
        screen.say(f"{index:>4}  events {positions}: {shortened(one_line(json_text(one.message)), LONGEST)}")
    for found in explanation.breaks:
        where = f"at {found.position} ({found.topic}) the prefix changed from message {found.message} on"
        screen.say(f"{where}: {BREAKS[found.reason]}", "yellow")
    if not explanation.breaks:
        screen.say("Each prompt began like the one before it.", "green")
    for fault in explanation.request_faults:
        screen.say(f"message {fault.message}, {fault.kind}: {fault.text}", "yellow")
        screen.say(f"      {', '.join(fault.dialects) or 'some providers'}: {fault.provider_error}", "dim")
