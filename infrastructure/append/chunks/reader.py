"""What reads the stream of one response: chunks become commands, in pieces that are quickly decided."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from turnlog.domain.errors import InvalidInputError, LimitExceededError, TurnlogError
from turnlog.domain.inputs import check_length
from turnlog.domain.limits import MAX_CALLS, PIECE_LENGTH
from turnlog.domain.parts import PartApi, PartKind
from turnlog.domain.quoting import cut
from turnlog.domain.step_appends import AnyStepAppend, AppendToPart, ExtendPart, StartPart
from turnlog.domain.values import JsonObject, json_size
from turnlog.infrastructure.append.chunks.fields import pieces_of
from turnlog.infrastructure.append.failures import said

PIECE_COMMANDS = 32
"""Commands that are decided in one go: a chunk may hold thousands, and others wait meanwhile."""

Sized: TypeAlias = tuple[AnyStepAppend, int]
"""A command, and the number of characters in it."""


class StreamReader(ABC):
    """Reads the chunks of one response of one API, and remembers what they say about it.

    `error` is what the provider says went wrong, `failure` the same in fields (see CompletionFailed). `finish_reason`
    is the provider's word for why it has ended, `details` what it says of the response as a whole.
    """

    api: ClassVar[PartApi]

    def __init__(self, step_id: str, now: Callable[[], datetime]) -> None:
        self.step_id = step_id
        self.now = now
        self._length = 0
        self._parts = 0
        self._current: dict[PartKind, int] = {}
        self.model: str | None = None
        self.response_id: str | None = None
        self.finish_reason: str | None = None
        self.usage: JsonObject | None = None
        self.error: str | None = None
        self.failure: JsonObject | None = None
        self.details: JsonObject = {}

    def read(self, chunk: Any) -> Iterable[list[AnyStepAppend]]:
        """The commands for what the chunk says, in pieces that are quickly decided: a chunk may hold thousands of
        calls, or a text of many megabytes. There is none if nothing of the chunk is recorded.

        Raises InvalidInputError for anything but a chunk of the API, which would be shown and not recorded, and
        LimitExceededError for what is too large to be recorded: perhaps only when the pieces before were taken.
        """
        return self.in_pieces(chunk)

    @abstractmethod
    def commands(self, chunk: Any) -> Iterator[Sized]:
        """The commands for what the chunk says, each with the number of its characters."""

    @property
    def has_answered(self) -> bool:
        """Whether a consumer that leaves now has had its answer: the step has ended as the provider has said."""
        return self.finish_reason is not None

    def missing_end(self) -> str | None:
        """Why a stream that ends here has broken off; None if it is whole."""
        return None

    def in_pieces(self, chunk: Any) -> Iterator[list[AnyStepAppend]]:
        """See `read`."""
        piece, size = list[AnyStepAppend](), 0
        try:
            for command, length in self.commands(chunk):
                piece.append(command)
                size += length
                self.count(length)
                if size >= PIECE_LENGTH or len(piece) >= PIECE_COMMANDS:
                    yield piece
                    piece, size = [], 0
        except TurnlogError:
            raise
        except Exception as error:
            # It may hold objects of any kind, and these may raise anything when they are read.
            raise InvalidInputError("chunk", f"cannot be read: {cut(said(error))}") from error
        if piece:
            yield piece

    def count(self, length: int) -> None:
        """Counts characters of the response. Raises LimitExceededError."""
        self._length += length
        check_length(self._length, "response")

    # Parts

    def start_part(self, kind: PartKind, data: JsonObject, call: int | None = None) -> Iterator[Sized]:
        """Opens a part; its number is `last_part`. `data` is a copy of what came, of JSON values only."""
        if self._parts >= MAX_CALLS:
            raise LimitExceededError("parts", f"a response has at most {MAX_CALLS:,} parts", MAX_CALLS)
        self._parts += 1
        self._current[kind] = self._parts
        command = StartPart(self.now(), self.step_id, self._parts, kind, self.api, call, data)
        yield command, json_size(data) if data else 0

    @property
    def last_part(self) -> int:
        """The number of the part that was opened last; 0 before the first."""
        return self._parts

    def extend_part(self, part: int, kind: PartKind, data: JsonObject) -> Iterator[Sized]:
        """Says more of a part."""
        self._current[kind] = part
        yield ExtendPart(self.now(), self.step_id, part, data), json_size(data) if data else 0

    def go_on_with(self, part: int, kind: PartKind) -> Iterator[Sized]:
        """Has the fragments of this kind that follow belong to the part."""
        if self._current.get(kind) != part:
            yield from self.extend_part(part, kind, {})

    def part_text(self, part: int, field: str, text: str) -> Iterator[Sized]:
        """Continues a text in the data of a part."""
        for piece in pieces_of(text):
            yield AppendToPart(self.now(), self.step_id, part, field, piece), len(piece)
