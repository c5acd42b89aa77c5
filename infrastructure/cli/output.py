"""Writing to a terminal, a file or a pipe."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

PIPE_WIDTH = 160
"""Width of tables in a file or a pipe."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Screen(Console):
    """A console that prints texts literally, and colours only on a terminal and without NO_COLOR."""

    def __init__(self, **options: Any) -> None:
        # With NO_COLOR rich still writes bold and dim. Whoever sets it wants no escape sequences at all.
        system: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
        super().__init__(markup=False, highlight=False, emoji=False, color_system=system, **options)
        if not self.is_terminal:
            self.width = PIPE_WIDTH

    def say(self, text: str, style: str = "") -> None:
        """Prints any text, without wrapping it."""
        self.print(Text(printable(text), style=style), soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Leaves the error to the command line, which ends quietly. The method of rich exits at once."""
        raise  # noqa: PLE0704 called by rich from its except clause


def stdout() -> Screen:
    """The console for results."""
    return Screen()


def stderr() -> Screen:
    """The console for errors and progress."""
    return Screen(stderr=True)


def printable(text: str) -> str:
    """The text with visible lone surrogates and control characters: stored text must not control a terminal."""
    if _SURROGATE.search(text):
        # Two surrogates that are a pair become their character.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROL.sub(_picture, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The text in one line, for a table or a summary."""
    return " ".join(printable(text).split())


def shortened(text: str, length: int) -> str:
    """At most `length` characters of the text, with … at the end if some are left out."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def counted(number: int, word: str) -> str:
    """The number and the word, in the plural unless the number is 1."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON for stdout: with escapes if its encoding does not have all characters."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text if _fits_stdout(text) else json.dumps(value, indent=indent)


def emit_json(document: str) -> None:
    """Writes a JSON document and a line break to stdout."""
    if not _fits_stdout(document):
        document = json.dumps(json.loads(document), separators=(",", ":"))
    # Not through rich or click.echo: they would colour or flush each of a hundred thousand events.
    sys.stdout.write(f"{document}\n")


def _fits_stdout(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else _REPLACEMENT
