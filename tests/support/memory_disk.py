"""A folder on a disk in memory, where there is one with room: servers flush there what they are told to, and it takes
no time."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY_DISK = Path("/dev/shm")
ROOM = 8 << 30
"""Bytes that have to be free there. A server of tests takes about one gigabyte, and there are several at once."""


def quick_folder(prefix: str = "t-") -> Path:
    """A new folder, which the caller removes. Its path is short enough for a socket in it."""
    is_there = os.access(MEMORY_DISK, os.W_OK) and shutil.disk_usage(MEMORY_DISK).free > ROOM
    return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY_DISK if is_there and "TMPDIR" not in os.environ else None))
