"""How an answer came out."""

from __future__ import annotations

from uuid import UUID

from turnlog.domain.turns import TurnStatus
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.turn import Step, Turn


class AnswerOutcome(Frozen):
    """The turn as it was when nothing more was to be done for it here.

    `status` is that of the turn: `finished`; `waiting` for a pending result or a decision; `stopped`; `failed`, with
    the reason, and what the provider said in `failure`; or `abandoned`. `text` is what the last answer says, as far as
    it got. `position` is that of the session. `is_new` is False where the message had been there before.
    """

    session_id: UUID
    turn_id: str | None
    message_id: str | None
    is_new: bool
    status: TurnStatus
    reason: Text = ""
    text: Text | None = None
    failure: JsonObject | None = None
    position: int
    turn: Turn

    @property
    def end(self) -> int:
        """The position of the end of the turn; of the session, for a turn that nobody has owned."""
        ended = self.turn.runs[-1].ended_position if self.turn.runs else None
        return self.position if ended is None else ended

    @classmethod
    def of(cls, session_id: UUID, turn: Turn, position: int, message_id: str | None, is_new: bool) -> AnswerOutcome:
        """The outcome that a turn shows."""
        last = turn.steps[-1] if turn.steps else None
        run = turn.runs[-1] if turn.runs else None
        return cls(
            session_id=session_id,
            turn_id=turn.turn_id,
            message_id=message_id,
            is_new=is_new,
            status=turn.status,
            reason=run.reason if run is not None else (last.note or "" if last is not None else ""),
            text=_text(last),
            failure=None if last is None else last.failure,
            position=position,
            turn=turn,
        )


def _text(step: Step | None) -> str | None:
    content = None if step is None else step.message.content
    return content if isinstance(content, str) else None
