"""The command line. Imports nothing heavy: `turnlog --help` must be quick."""

from turnlog.infrastructure.cli.app import main

__all__ = ["main"]
