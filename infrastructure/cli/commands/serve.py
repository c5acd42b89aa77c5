"""`turnlog serve`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from turnlog.infrastructure.cli.serving import Address, server, serving
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address on which it listens.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 is a free one.")
@click.option(
    "--token", "tokens", multiple=True, metavar="WHO=TOKEN", help="user:ID=TOKEN, or system=TOKEN. Repeat it."
)
@click.option(
    "--tokens-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The same, one a line: arguments are seen by others on the machine.",
)
@click.option("--trusted-header", metavar="NAME", help="The header in which a proxy names the user.")
@click.option(
    "--trusted-proxy", "proxies", multiple=True, metavar="NETWORK", help="A proxy that is believed. Repeat it."
)
@click.option("--origin", "origins", multiple=True, metavar="URL", help="A site whose pages may ask (CORS). Repeat it.")
@click.option("--workers", type=click.IntRange(1, 1_000), default=1, show_default=True, help="Processes.")
@click.option("--max-body-bytes", type=click.IntRange(min=1), metavar="N", help="The largest body; 32 MiB by default.")
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="NAME=URL",
    help="A provider for the recording proxy: openai, anthropic, or a name of your own. Repeat it.",
)
@click.option(
    "--unrecorded",
    type=click.Choice(["refuse", "pass"]),
    help="What becomes of a request through the proxy that cannot be recorded; it is refused by default.",
)
@json_option
@pass_globals
def serve(options: Globals, /, tokens: tuple[str, ...], tokens_file: Path | None, as_json: bool, **given: Any) -> None:
    """Serve the log over HTTP: a page to look at it, REST, server-sent events, an OpenAPI page at /docs.

    --token says whose a bearer token is; it may be sha256: and a digest, and TURNLOG_SERVE_TOKENS and
    TURNLOG_SERVE_TOKENS_FILE hold tokens, too. Behind a proxy that knows its users --trusted-header names them. Without
    either it listens on loopback only, and prints an address with a token of the system, which is new at each start.

    With --upstream a client of that provider, whose base_url is /v1 of the address, is recorded.
    """
    running, serve_settings, server_tokens = server()
    known = serve_settings.given_tokens(tokens, tokens_file)
    address, is_laptop = Address(), not (known or given["trusted_header"])
    if is_laptop:
        address.token, token = server_tokens.laptop_token()
        known = (token,)
    chosen = {name: value for name, value in given.items() if value is not None}
    chosen["trusted_proxies"] = chosen.pop("proxies")
    chosen["proxy"] = serve_settings.given_proxy(chosen.pop("upstreams"), chosen.pop("unrecorded", None))
    wanted = serve_settings.checked_serve_settings({**chosen, "tokens": known, "is_laptop": is_laptop})
    settings = options.settings()

    def bound(url: str) -> None:
        address.url = url
        heading = "The log over HTTP, as a page and as routes; Ctrl-C stops it."
        proxied = {"base_url": f"{url}/v1"} if wanted.proxy is not None else {}
        address.say(as_json, heading, {"page": address.page, "docs": address.docs, **proxied})

    with serving(wanted):
        running.run(settings, wanted, options.variables(), bound)
