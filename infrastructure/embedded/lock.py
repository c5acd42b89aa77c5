"""File locks that end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Lock:
    """An flock on a file. It belongs to this process: a forked child drops its copy."""

    def __init__(self, path: Path, mode: int) -> None:
        """Waits for the lock. With LOCK_NB in `mode` raises BlockingIOError instead."""
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self.descriptor, mode)
        except BaseException:
            os.close(self.descriptor)
            raise
        _held.add(self)

    def is_held(self) -> bool:
        """Whether the lock was neither released nor handed over."""
        return self in _held

    def is_mine_alone(self) -> bool:
        """Whether nobody else shares the lock. If so, nobody can from now on."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Releases the lock."""
        # Closing is not enough: a child of another thread, between fork and exec, has a copy of the descriptor.
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self.hand_over()

    def hand_over(self) -> None:
        """Closes the descriptor here. A child process that has inherited it keeps the lock."""
        _held.discard(self)
        os.close(self.descriptor)


_held: set[Lock] = set()


def _drop_in_forked_child() -> None:
    while _held:
        _held.pop().hand_over()


os.register_at_fork(after_in_child=_drop_in_forked_child)
