"""The pages for people: which there are, and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block. `line` is where its code begins."""

    page: Path
    language: str
    line: int
    code: str

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """The page's path from the root of the checkout."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[Block]:
    """The page's blocks in a language."""
    text = page.read_text("utf-8")
    every = [Block(page, match[1], text.count("\n", 0, match.start(2)), match[2]) for match in _BLOCK.finditer(text)]
    return [block for block in every if block.language == language]


def commands(page: Path) -> list[str]:
    """The lines of the page's shell blocks."""
    return [line for block in blocks(page, "sh") for line in block.code.splitlines() if line.strip()]


def promised(code: str) -> list[str]:
    """The comments after `print(...)`, or in the line below it where it is too long for that."""
    return re.findall(r"^ *print\(.*\)(?:  |\n *)# (.*)$", code, re.MULTILINE)
