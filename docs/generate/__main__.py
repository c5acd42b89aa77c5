"""Draws the pictures anew, and writes the types of `turnlog.js`: `python -m docs.generate`."""

from __future__ import annotations

from pathlib import Path

from docs.generate import rooms, typescript, way

PICTURES = {"rooms.svg": rooms.picture, "delta.svg": way.picture}


def main() -> None:
    """Writes each picture into docs/pictures, and the types beside the module."""
    for name, picture in PICTURES.items():
        Path(__file__).parents[1].joinpath("pictures", name).write_text(picture(), "utf-8")
    typescript.TYPES.write_text(typescript.types(), "utf-8")


if __name__ == "__main__":
    main()
