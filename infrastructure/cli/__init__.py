"""The command line. Importing it loads nothing heavy, so that `turnlog --help` is quick."""

from turnlog.infrastructure.cli.app import main

__all__ = ["main"]
