"""`turnlog demo`"""

from __future__ import annotations

import asyncio
import json
import os

import click

from turnlog.infrastructure.cli.output import Screen, emit_json, stderr, stdout
from turnlog.infrastructure.cli.shared import Globals, Seconds, json_option, pass_globals
from turnlog.infrastructure.demo.run import Options, run_demo
from turnlog.infrastructure.demo.summary import Summary
from turnlog.infrastructure.urls import masked


@click.command("demo")
@click.option("--pace", type=Seconds(min=0), metavar="SECONDS", help="Before each chunk; else as it was recorded.")
@click.option("--keep", is_flag=True, help="Leave the sessions in the log.")
@click.option("--model", default="gpt-4o-mini", show_default=True, help="Of the provider in the environment.")
@click.option("--sessions", type=click.IntRange(1, 1000), default=50, show_default=True, help="Sessions in the crowd.")
@json_option
@pass_globals
def demo(options: Globals, pace: float | None, keep: bool, model: str, sessions: int, as_json: bool) -> None:
    """See it work: a conversation with tools, processes that are killed in mid-stream and in mid-tool, and a crowd.

    Runs on the configured servers, or on embedded ones, as the user "demo". Answers come from recorded streams, which
    are played over HTTP to openai's own client, or from the provider that OPENAI_API_KEY and OPENAI_BASE_URL name.
    """
    screen = Screen(quiet=True) if as_json else stdout()
    chosen = Options(pace=pace, keep=keep, model=model, crowd=sessions)
    if not as_json:
        screen.say("turnlog: every delta is in the log before anyone sees it", style="bold")
    summary = _run(options, chosen, screen)
    if as_json:
        emit_json(json.dumps(summary.as_json()))
    if not summary.crash.is_survived:
        raise click.ClickException("the killed handler's step was not recovered as it should")
    if not summary.killed_turn.is_survived:
        raise click.ClickException("the killed process's turn was not gone on with as it should")


def _run(options: Globals, chosen: Options, screen: Screen) -> Summary:
    from openai import OpenAIError  # noqa: PLC0415 takes a second; the heading is printed before

    try:
        return asyncio.run(run_demo(options.settings(), chosen, screen, stderr()))
    except OpenAIError as error:
        raise click.ClickException(f"the provider{_named()}: {error}") from error


def _named() -> str:
    """Where the provider is. openai's errors say no more than "Connection error."."""
    url = os.environ.get("OPENAI_BASE_URL")
    return f" at {masked(url)}" if url else ""
