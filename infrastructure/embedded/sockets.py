"""Unix sockets: which process listens on one, and folders with paths that are short enough."""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnlog.domain.errors import EmbeddedServersError

_SOCKET_PATH_BYTES = 100  # the kernel's limit is 107 on Linux, 103 on macOS
_PLAIN_PATH = re.compile(r"[\w./-]+", re.ASCII)


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """A connection to the socket at this path. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(str(path))
        yield connection


def listener(path: Path) -> int:
    """The id of the process that listens at this path, as the kernel knows it. 0 if there is none."""
    try:
        with connected(path) as connection:
            if sys.platform == "linux":
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                return int(struct.unpack("3i", credentials)[0])
            else:  # noqa: RET505 - or mypy calls it unreachable
                return connection.getsockopt(0, 2)  # macOS: SOL_LOCAL, LOCAL_PEERPID, which Python does not name
    except OSError:
        return 0


def fits_a_socket(path: Path) -> bool:
    """Whether a socket can have this path."""
    # Without special characters: the path goes through a shell, a comma-separated list and two kinds of URL.
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and bool(_PLAIN_PATH.fullmatch(str(path)))


def make_shelter(socket_name: str) -> Path:
    """A new private folder for a socket of this name. Raises EmbeddedServersError."""
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes a private folder in it
        if fits_a_socket(Path(parent, "turnlog-12345678", socket_name)):
            return Path(tempfile.mkdtemp(prefix="turnlog-", dir=parent))
    raise EmbeddedServersError("no folder has a path that is short enough for a socket")
