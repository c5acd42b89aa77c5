"""What of a step is sent, by how it ended. The defaults send what the user saw."""

from __future__ import annotations

from typing import Literal

from turnlog.domain.values import Frozen

Sent = Literal["send", "leave_out"]


class PromptPolicy(Frozen):
    """`interrupted`, `failed`, `abandoned`: whether a partial answer of this end is sent as far as it got.

    A failed or abandoned attempt that a later step of its turn replaced is never sent, nor is one at the very end,
    where it is about to be made again, unless a call of it was answered. `unfinished_calls`: a call that was cut off
    in mid-stream and has no result is left out, or closed: sent with {} and a result that says there is none.
    `reasoning` is of the chat prompt: `send` puts it into `reasoning_content`, which DeepSeek and Kimi want back while
    they think between tool calls, and which others refuse.
    """

    interrupted: Sent = "send"
    failed: Sent = "send"
    abandoned: Sent = "send"
    unfinished_calls: Literal["leave_out", "close"] = "leave_out"
    reasoning: Sent = "leave_out"


DEFAULT_POLICY = PromptPolicy()
