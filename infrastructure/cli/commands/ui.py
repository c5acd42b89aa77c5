"""`turnlog ui`"""

from __future__ import annotations

import webbrowser
from threading import Thread

import click

from turnlog.infrastructure.cli.serving import Address, server, serving
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals


@click.command("ui")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="On loopback; else a free one.")
@click.option("--write", "can_write", is_flag=True, help="Take what changes the log, too.")
@click.option("--no-browser", is_flag=True, help="Print the address alone.")
@json_option
@pass_globals
def ui(options: Globals, port: int, can_write: bool, no_browser: bool, as_json: bool) -> None:
    """Look at the log in a browser: what the model saw, and what the user saw.

    It serves the log on loopback until Ctrl-C, and opens the page. Its address has a token of the system, which is new
    at each start. Nothing can be written there without --write.
    """
    running, serve_settings, tokens = server()
    text, token = tokens.laptop_token()
    wanted = serve_settings.checked_serve_settings({"port": port, "tokens": (token,), "is_read_only": not can_write})
    settings, address = options.settings(), Address(text)

    def bound(url: str) -> None:
        address.url = url
        address.say(as_json, "The log as a page; Ctrl-C stops it.", {"page": address.page})

    with serving(wanted):
        running.run(settings, wanted, {}, bound, lambda: None if no_browser else _open(address.page))


def _open(page: str) -> None:
    """Some browsers run where they are started, until they are closed."""
    Thread(target=webbrowser.open, args=(page,), daemon=True).start()
