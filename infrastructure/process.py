"""The process and the event loop of a log. Neither is shared with another log, and both are checked.

A forked child has copies of all that its parent had, down to the sockets: whatever it sends or reads there, the parent
loses. So a child lets go of it all before it runs its first line. It puts /dev/null in the place of each socket, where
nothing that is done with it later, by a finaliser or at exit, reaches a server. And it gives the parent's event loop a
selector and a wake-up pipe of its own, because the kernel keeps these in common: a child that closes the loop, or goes
on with it, would make the parent deaf.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from turnlog.domain.errors import TurnlogError, WrongLoopError, WrongProcessError

T = TypeVar("T")

_FORKED = "the log was opened in the process {}, which this one was forked from: open a log in each process"
_OTHER_LOOP = "the log was opened on another event loop: open a log on each loop"


class Home:
    """The process and the running event loop in which it is made."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self.is_left = False
        """Whether this is a forked child."""
        self._doors: list[Callable[[Callable[[], TurnlogError]], None]] = []
        _homes.add(self)

    def check(self) -> None:
        """Raises WrongProcessError in a forked child, and WrongLoopError on another event loop."""
        if self.is_left:
            raise self.error()
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:  # a thread without a loop may ask for what needs none
            return
        if running is not self.loop:
            raise WrongLoopError(_OTHER_LOOP)

    def error(self) -> WrongProcessError:
        """The error of a forked child."""
        return WrongProcessError(_FORKED.format(self._pid))

    def closes(self, *doors: Callable[[Callable[[], TurnlogError]], None]) -> None:
        """Calls these in a forked child, each with what makes the error of all that is asked for from then on."""
        self._doors += doors

    def let_go(self, stack: AsyncExitStack) -> None:
        """In a forked child drops what is to be closed: it is the parent's."""
        if self.is_left:
            self._kept = stack.pop_all()

    def leave(self) -> None:
        """Called in a forked child."""
        self.is_left = True
        for refuse in self._doors:
            refuse(self.error)
        _part_loops(self.loop)


def close_in_children(connection: T, fileno: Callable[[T], int]) -> None:
    """Keeps forked children from the connection's socket. `fileno` may raise once the connection is closed."""
    _filenos[connection] = fileno


_homes: WeakSet[Home] = WeakSet()
_filenos: WeakKeyDictionary[Any, Callable[[Any], int]] = WeakKeyDictionary()


def _leave_all() -> None:
    for connection, fileno in list(_filenos.items()):
        with suppress(Exception):  # it is closed
            _replace(fileno(connection), os.open(os.devnull, os.O_RDWR))
    for home in list(_homes):
        home.leave()


def _part_loops(loop: Any) -> None:
    """Gives the child's copy of the loop a wake-up pipe and a selector of its own. Loops that are not asyncio's own see
    to a fork by themselves."""
    selector = getattr(loop, "_selector", None)
    ends: list[Any] = [getattr(loop, name, None) for name in ("_ssock", "_csock")]
    if selector is None or None in ends or loop.is_closed():
        return
    for end, fresh in zip(ends, socket.socketpair(), strict=True):
        fresh.setblocking(False)
        _replace(end.fileno(), fresh.detach())
    own = type(selector)()
    for key in list(selector.get_map().values()):
        with suppress(OSError, ValueError):  # /dev/null cannot be waited for
            own.register(key.fileobj, key.events, key.data)
    loop._selector = own  # noqa: SLF001 asyncio has no other way
    selector.close()


def _replace(descriptor: int, by: int) -> None:
    os.dup2(by, descriptor, inheritable=False)
    os.close(by)


os.register_at_fork(after_in_child=_leave_all)
