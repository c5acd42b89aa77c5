"""What answers one message of the user, as the chunks of the AI SDK's UI message stream: those that tell it as it is,
and those of each event that follows."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from turnlog.domain import events as e
from turnlog.domain.finish_reasons import EndMeaning, meaning_of
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import as_unicode
from turnlog.projections.projector import Projector
from turnlog.projections.turn import Message, Step, Turn
from turnlog.projections.ui_chunks import UiChunks
from turnlog.projections.ui_messages import UiMessage, gathered
from turnlog.projections.ui_parts import Claims

Json = dict[str, Any]

PAGES_AT_MOST, PAGES_TO_HOLD = 8, 4
"""Closed turns and segments that are held at most, and how many of them stay when there are more."""

_REASONS: dict[EndMeaning, str] = {
    "whole": "stop",
    "calls": "tool-calls",
    "cut_off": "length",
    "filtered": "content-filter",
    "refused": "content-filter",
    "paused": "other",
    "failed": "error",
}
"""How the AI SDK calls what finish reasons mean."""


class UiStream:
    """The answer to what stands at the position `after`, which is that of a message. `projector` holds the last turns,
    and is the stream's from now on.

    The answer is one message of the assistant: all steps up to the next message of somebody else. `is_over`: it has
    ended, or somebody else has to do something before it goes on.
    """

    def __init__(self, projector: Projector, after: int) -> None:
        self.is_over = False
        self._projector = projector
        self._after = after
        self._until: int | None = None
        self._last = 0
        self._finish_reason: str | None = None
        self._chunks = UiChunks()
        self._claims: Claims = {}
        self._growing: dict[Hashable, tuple[str, int]] = {}
        self._since: set[Hashable | None] = set()

    def opened(self, turns: Sequence[Turn]) -> list[Json]:
        """The chunks of the answer as it is. `turns` are those that it may be in, whole."""
        return self._told(turns)

    def continued(self, turns: Sequence[Turn]) -> list[Json]:
        """The beginning of a stream to a reader who has the answer as it is: what follows are only its changes."""
        chunks = self._told(turns)
        self.is_over = False
        return chunks[:1] if self._chunks.message_id is not None else []

    def renewed(self, projector: Projector) -> list[Json]:
        """Goes on with this projector, after PagesNeeded."""
        self._projector = projector
        return self._told(projector.raw_turns())

    def take(self, recorded: RecordedEvent) -> Json | None:
        """Takes the next event. The chunk of it, where nothing but a text has grown; else `settled` gives what it has
        changed. Raises PagesNeeded."""
        event = recorded.event
        key, text = _growth(event)
        self._projector.apply(recorded)
        if not self._since and key in self._growing and not self.is_over:
            chunk = self._chunks.text_grown(*self._growing[key], text)
            if chunk is not None:
                return chunk
        self._since.add(key)
        if key is None:
            self._growing.clear()
        return None

    def settled(self) -> list[Json]:
        """The chunks of all that was taken and not told. Call it before the reader has to wait."""
        if not self._since or self.is_over:
            return []
        keys, self._since = self._since, set()
        chunks = self._told((*self._changed_pages(), *self._projector.unclosed_turns()))
        if len(keys) == len(self._chunks.grown) == 1 and None not in keys:
            self._growing[keys.pop()] = self._chunks.grown[0]
        if self._projector.closed_turns - self._projector.first_turn > PAGES_AT_MOST:
            projector = self._projector
            kept = projector.pages_from(projector.closed_turns - PAGES_TO_HOLD)
            self._projector = Projector.resume(projector.head(), kept)
        return chunks

    def _changed_pages(self) -> Iterable[Turn]:
        return self._projector.pages(self._last)

    def _told(self, turns: Sequence[Turn]) -> list[Json]:
        chunks = list[Json]()
        if (answer := self._answer_in(turns)) is not None:
            chunks += self._chunks.update(answer)
        entries = [entry for turn in turns for entry in turn.entries()]
        self._look_ahead(entries)
        turn = self._turn_in(turns)
        self._last = self._projector.version
        if self._is_followed(entries):
            chunks += [*self._chunks.ended(), self._finish()]
            self.is_over = True
        elif turn is not None and (turn.has_ended or turn.status == "waiting") and not _waits_for_owner(turn):
            chunks += self._end_of(turn)
            self.is_over = True
        return chunks

    def _answer_in(self, turns: Sequence[Turn]) -> UiMessage | None:
        """The answer, as far as it is in these turns."""
        end = self._until
        for message in gathered(turns, self._after, self._claims):
            if message.role == "assistant":
                is_mine = end is None or message.position < end
                has_begun = bool(message.steps) or self._chunks.message_id is not None
                return message if is_mine and has_begun else None
        return None

    def _look_ahead(self, entries: Sequence[Any]) -> None:
        """Finds the message that ends the answer: the first one after a step of it."""
        if self._until is not None or self._chunks.message_id is None:
            return
        is_begun = False
        for entry in sorted(entries, key=lambda one: one.position):
            if entry.position <= self._after:
                continue
            if isinstance(entry, Step):
                is_begun = True
                self._finish_reason = entry.finish_reason
            elif is_begun and isinstance(entry, Message) and entry.role != "function":
                self._until = entry.position
                return

    def _is_followed(self, entries: Sequence[Any]) -> bool:
        """Whether the answer to something else has begun."""
        until = self._until
        return until is not None and any(isinstance(one, Step) and one.position > until for one in entries)

    def _turn_in(self, turns: Sequence[Turn]) -> Turn | None:
        end = self._until or self._projector.version + 1
        for turn in reversed(turns):
            places = [entry.position for entry in turn.entries()]
            if any(self._after <= place < end for place in places):
                return turn
        return None

    def _finish(self) -> Json:
        reason = _REASONS.get(meaning_of(self._finish_reason) or "paused", "other")
        return {"type": "finish", "finishReason": reason}

    def _end_of(self, turn: Turn) -> Iterator[Json]:
        yield from self._chunks.ended()
        run = turn.runs[-1] if turn.runs else None
        last = turn.steps[-1] if turn.steps else None
        self._finish_reason = last.finish_reason if last else None
        why = (run.reason if run else "") or (last.note if last else "") or ""
        if turn.status in ("stopped", "interrupted"):
            yield {"type": "abort", "reason": as_unicode(why)}
            yield {"type": "finish", "finishReason": "interrupted"}
        elif turn.status in ("finished", "waiting", "queued"):
            yield self._finish()
        else:
            yield {"type": "error", "errorText": as_unicode(why or "The answer has failed.")}


def _waits_for_owner(turn: Turn) -> bool:
    """Whether the owner is gone, and somebody may go on by themselves."""
    return turn.status == "abandoned" and bool(turn.runs)


def _growth(event: e.SessionEvent) -> tuple[Hashable | None, str]:
    """What a fragment continues, and with what; None for any other event."""
    match event:
        case e.TextDelta() | e.RefusalDelta():
            return (type(event), event.step_id), event.text
        case e.ReasoningDelta() if not event.details:
            return (type(event), event.step_id), event.text
        case e.ToolCallArgumentsDelta():
            return (type(event), event.step_id, event.index), event.arguments
        case _:
            return None, ""
