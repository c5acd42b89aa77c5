"""Drawing: boxes, arrows and texts in colours that follow light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import NamedTuple

_STYLE = """
.tl { --ink: #1f2933; --soft: #52606d; --line: #9aa5b1; --paper: #ffffff; --box: #f5f7fa; --edge: #cbd2d9;
      --append: #d9f2ee; --read: #dceafb; --follow: #fdeed3; --repair: #f4e1f2; --inner: #e9ecf0; }
@media (prefers-color-scheme: dark) {
  .tl { --ink: #e4e7eb; --soft: #aab4c0; --line: #7b8794; --paper: #1e2129; --box: #2a2e38; --edge: #48505c;
        --append: #17443f; --read: #1e3a5c; --follow: #4d3b17; --repair: #46284a; --inner: #333946; }
}
.tl text { fill: var(--ink); font-family: system-ui, sans-serif; font-size: 13px; }
.tl .name { font-weight: 600; }
.tl .code { font-family: ui-monospace, monospace; font-size: 12.5px; font-weight: 600; }
.tl .note { fill: var(--soft); font-size: 12px; }
.tl .box { fill: var(--box); stroke: var(--edge); }
.tl .arrow { stroke: var(--line); stroke-width: 1.5; fill: none; marker-end: url(#tl-head); }
.tl .head { fill: var(--line); }
""".strip()


class Box(NamedTuple):
    """A box with a name and a note below it. `kind` is its colour: the name of a variable above."""

    x: int
    y: int
    width: int
    height: int
    name: str
    note: str
    kind: str = "box"
    style: str = "name"

    def drawn(self) -> str:
        """The elements."""
        middle = self.x + self.width // 2
        where = f'x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}"'
        return "\n".join(
            [
                f'<rect class="box" {where} rx="8" style="fill: var(--{self.kind})"/>',
                text(middle, self.y + self.height // 2 - 3, self.name, self.style, "middle"),
                text(middle, self.y + self.height // 2 + 14, self.note, "note", "middle"),
            ]
        )


def text(x: int, y: int, said: str, style: str, anchor: str = "start") -> str:
    """A line of text."""
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(said)}</text>'


def arrow(*points: tuple[int, int]) -> str:
    """A line through the points, with a head at the last one."""
    return f'<path class="arrow" d="M{" L".join(f"{x} {y}" for x, y in points)}"/>'


def drawing(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """The whole file."""
    head = (
        '<defs><marker id="tl-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path class="head" d="M0 0 L10 5 L0 10 z"/></marker></defs>'
    )
    size = f'viewBox="0 0 {width} {height}" width="{width}"'
    body = "\n".join(parts)
    paper = f'<rect width="{width}" height="{height}" style="fill: var(--paper)"/>'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="tl" role="img" {size}>'
    return f"{opening}\n<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n{head}\n{paper}\n{body}\n</svg>\n"
