"""Hearing of the signals that end a process, beside whoever handles them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)


class EndingSignals:
    """Calls something on the signals that end a process, before the handler that was there, such as a web server's."""

    def __init__(self, heard: Callable[[], object]) -> None:
        self._heard = heard
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], Any]] = {}

    def listen(self) -> None:
        """Begins to. Only the main thread may, and where nobody handles a signal nothing is changed."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ENDING:
            handler = signal.getsignal(number)
            if callable(handler):
                self._before[number] = handler
                signal.signal(number, self._handle)

    def leave(self) -> None:
        """Puts the handlers back, unless somebody has put others in their place."""
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._heard()
        self._before[signal.Signals(number)](number, frame)
