"""The id of a message that was added, and whether it was new."""

from __future__ import annotations


class MessageId(str):
    """The id. `is_new` is False if the session had the message already: then it was a retry."""

    is_new: bool

    __slots__ = ("is_new",)

    @classmethod
    def of(cls, message_id: str, *, is_new: bool) -> MessageId:
        """The id, which knows whether the message was new."""
        made = cls(message_id)
        made.is_new = is_new
        return made
