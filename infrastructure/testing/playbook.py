"""Which stream answers a request, and at what pace: the provider without its sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Any

from .corpus import Stream
from .errors import RequestRefusedError
from .validation import check_request

SCRIPTED = "scripted"
_CUT = "#cut="


@dataclass(frozen=True, slots=True)
class Playback:
    """One answer: each event with the seconds to wait before it, and whether the connection breaks off after them."""

    events: tuple[tuple[float, bytes], ...]
    cut: bool


class Playbook:
    """The streams by name, the script, and what was asked and lost; safe to use from several threads."""

    def __init__(self, streams: Iterable[Stream], *, pace: float, strict: bool) -> None:
        self.streams: Mapping[str, Stream] = {stream.name: stream for stream in streams}
        self._pace = pace
        self._strict = strict
        self._lock = Lock()
        self._script: deque[str] = deque()
        self._requests: list[dict[str, Any]] = []
        self._disconnects = 0

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies received so far, refused ones too, in order."""
        with self._lock:
            return list(self._requests)

    @property
    def disconnects(self) -> int:
        """How many clients went away before their stream had ended."""
        with self._lock:
            return self._disconnects

    def count_disconnect(self) -> None:
        """One more client went away."""
        with self._lock:
            self._disconnects += 1

    def script(self, names: Sequence[str]) -> None:
        """Appends to what model "scripted" plays next. Raises `ValueError` for a stream that is not there."""
        unknown = [name for name in names if _split_cut(name)[0] not in self.streams]
        if unknown:
            raise ValueError(f"no such stream: {', '.join(unknown)}")
        with self._lock:
            self._script.extend(names)

    def answer(self, body: dict[str, Any]) -> Playback:
        """The playback for a request. Raises `RequestRefusedError` for one that a provider would refuse."""
        with self._lock:
            self._requests.append(body)
        check_request(body, strict=self._strict)
        return self._playback(self._next_in_script() if body["model"] == SCRIPTED else body["model"])

    def _next_in_script(self) -> str:
        with self._lock:
            if self._script:
                return self._script.popleft()
        raise RequestRefusedError(f"The script of model '{SCRIPTED}' has come to its end.", param="model")

    def _playback(self, model: str) -> Playback:
        name, cut_after = _split_cut(model)
        stream = self.streams.get(name)
        if stream is None:
            text = f"The model `{model}` does not exist or you do not have access to it."
            raise RequestRefusedError(text, param="model", code="model_not_found", status=HTTPStatus.NOT_FOUND)
        events = tuple(zip(self._delays(stream), map(_event, stream.chunks), strict=True))
        if cut_after is not None:
            return Playback(events[:cut_after], cut=True)
        return Playback((*events, (0.0, _event(b"[DONE]"))), cut=False)

    def _delays(self, stream: Stream) -> list[float]:
        if self._pace and stream.delays_ms is not None:
            return [delay / 1000 for delay in stream.delays_ms]
        return [self._pace] * len(stream.chunks)


def _event(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"


def _split_cut(model: str) -> tuple[str, int | None]:
    """`NAME#cut=3` means: play NAME, but break the connection off after three chunks."""
    name, mark, count = model.partition(_CUT)
    return (name, int(count)) if mark and count.isdecimal() else (model, None)
