"""What the commands share that serve the log over HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from turnlog.infrastructure.cli.output import emit_json, stdout

if TYPE_CHECKING:
    from turnlog.infrastructure.server.serve_settings import ServeSettings


def server() -> tuple[Any, Any, Any]:
    """The modules `running`, `serve_settings` and `tokens`. Raises ClickException without the extra."""
    try:
        from turnlog.infrastructure.server import running, serve_settings, tokens  # noqa: PLC0415 an extra
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    modules: tuple[ModuleType, ModuleType, ModuleType] = (running, serve_settings, tokens)
    return modules


@contextmanager
def serving(wanted: ServeSettings) -> Iterator[None]:
    """Says which address cannot be had."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise click.ClickException(f"{wanted.host} port {wanted.port}: {reason}") from error


@dataclass(slots=True)
class Address:
    """Where the server is, with the token that it made up; empty if it did not."""

    token: str = ""
    url: str = ""

    @property
    def page(self) -> str:
        """The log to look at. What is behind the # is sent to no server."""
        return f"{self.url}/#token={self.token}" if self.token else f"{self.url}/"

    @property
    def docs(self) -> str:
        """The routes to read about."""
        return f"{self.url}/docs?token={self.token}" if self.token else f"{self.url}/docs"

    def say(self, as_json: bool, heading: str, addresses: Mapping[str, str]) -> None:
        """Prints the addresses."""
        if as_json:
            emit_json(json.dumps({"url": self.url, **addresses, **({"token": self.token} if self.token else {})}))
        else:
            screen = stdout()
            screen.say(heading, style="dim")
            for address in addresses.values():
                screen.say(address)
        sys.stdout.flush()
