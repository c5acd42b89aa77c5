"""The demo's stage: it prints what happens, delta by delta."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.text import Text

from turnlog.domain.step_appends import AppendReasoning, AppendRefusal, AppendText, AppendToolCall, StepAppend
from turnlog.infrastructure.cli.output import Screen, printable
from turnlog.infrastructure.cli.transcript import LABEL_WIDTH, STATUS_STYLES, print_block, print_message

_WORDS = re.compile(r"\n|[^\S\n]+|\S+")
_MARGIN = 10
"""Columns kept free for the rest of a word, which may come in the next delta."""


class Stage:
    """Prints on a screen, and wraps the deltas of a stream into lines as they come."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._width = screen.width if screen.is_terminal else 10**9
        self._block: object = None
        self._column = 0
        self._in_word = False

    def heading(self, number: int, text: str) -> None:
        """The heading of a part of the demo."""
        self.pause()
        rule = "═" * max(3, min(self.screen.width, 100) - len(text) - 4)
        line = Text.assemble("\n", (f"{number}  {text} ", "bold"), (rule, "dim"))
        self.screen.print(line, soft_wrap=True)

    def note(self, text: str, style: str = "dim") -> None:
        """A line about what is going on."""
        self.pause()
        print_block(self.screen, "", text, style=style)

    def check(self, holds: bool, text: str) -> None:
        """A line that says whether something holds."""
        self.pause()
        mark, style = ("✓", "green") if holds else ("✗", "bold red")
        print_block(self.screen, " " * (LABEL_WIDTH - 2) + mark, text, style)

    def user(self, text: str) -> None:
        """What the user says."""
        self.pause()
        print_message(self.screen, "user", text)

    def result(self, name: str, status: str, content: str) -> None:
        """What a tool answered."""
        self.pause()
        head = Text.assemble("  ← ", (f"{name} ", "cyan"), (status, STATUS_STYLES[status]), f"  {printable(content)}")
        print_block(self.screen, "", head)

    def delta(self, delta: StepAppend) -> None:
        """One delta, which has become durable."""
        match delta:
            case AppendReasoning(text=text):
                self._stream("reasoning", "reasoning", text, "dim italic", "dim")
            case AppendText(text=text):
                self._stream("text", "assistant", text, "", "bold magenta")
            case AppendRefusal(text=text):
                self._stream("refusal", "assistant", text, "red", "bold magenta")
            case AppendToolCall(index=index, name=name, arguments=arguments):
                opening = f"→ {name} " if self._block != index else ""
                self._stream(index, "", f"{opening}{arguments}", "cyan")
            case _:
                pass

    def pause(self) -> None:
        """Ends the line that is being written."""
        if self._block is not None:
            self._write("\n")
        self._block, self._column = None, 0

    def _stream(self, block: object, label: str, text: str, style: str, label_style: str = "") -> None:
        if block != self._block:
            self.pause()
            self._block, self._column = block, LABEL_WIDTH
            self._write(label.ljust(LABEL_WIDTH), label_style)
        for word in _WORDS.findall(printable(text)):
            self._word(word, style)

    def _word(self, word: str, style: str) -> None:
        length, room = cell_len(word), self._width - (0 if self._in_word else _MARGIN)
        self._in_word = not word.isspace()
        if word == "\n" or (self._in_word and self._column + length > room):
            self._write("\n")
            self._column = 0
        if word == "\n":
            return
        if self._column == 0:
            self._write(" " * LABEL_WIDTH)
            self._column = LABEL_WIDTH
        self._write(word, style)
        self._column += length

    def _write(self, text: str, style: str = "") -> None:
        self.screen.print(Text(text, style=style), end="", soft_wrap=True)
