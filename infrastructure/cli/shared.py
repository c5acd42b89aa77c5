"""What commands share: the global options, `--json`, and work on an open log."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from turnlog.infrastructure.log import SessionLog
    from turnlog.infrastructure.settings import Settings

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print only JSON to stdout.")


class Seconds(click.FloatRange):
    """A number of seconds. `nan` and `inf` are refused: they would never end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, if it is in the range. Else fails like other types of click."""
        seconds = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return seconds


session_argument = click.argument("session_id", metavar="ID")


@dataclass(frozen=True)
class Globals:
    """The options before the command."""

    overrides: Mapping[str, str] = field(default_factory=dict)
    debug: bool = False

    def settings(self) -> Settings:
        """The settings of the environment, overridden by the options. Raises InvalidInputError."""
        from turnlog.infrastructure.settings import Settings  # noqa: PLC0415 pydantic: not for `--help`

        return Settings.from_env({**os.environ, **self.variables()})

    def variables(self) -> dict[str, str]:
        """The options as variables of the environment, for other processes."""
        from turnlog.infrastructure.settings import variable  # noqa: PLC0415 pydantic: not for `--help`

        return {variable(name): text for name, text in self.overrides.items()}

    def run(self, work: Callable[[SessionLog], Awaitable[T]]) -> T:
        """Does the work on an open log. Raises TurnlogError."""
        return asyncio.run(self._opened(work))

    async def _opened(self, work: Callable[[SessionLog], Awaitable[T]]) -> T:
        from turnlog.infrastructure.log import SessionLog  # noqa: PLC0415 the drivers

        # Nothing is reaped on the side: a command that only reads changes nothing.
        async with SessionLog.open(self.settings().model_copy(update={"reap_seconds": 0})) as log:
            return await work(log)


pass_globals = click.make_pass_decorator(Globals, ensure=True)
