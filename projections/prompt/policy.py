"""What is sent of a step, by how it ended. The defaults send what the user saw."""

from __future__ import annotations

from typing import Literal

from turnlog.domain.values import Frozen

Sent = Literal["send", "leave_out"]


class PromptPolicy(Frozen):
    """What is sent of partial answers and of reasoning.

    `interrupted`, `failed`, `abandoned`: whether a partial answer that ended so is sent, as far as it got. A failed or
    abandoned attempt that a later step of its turn replaced is never sent. Nor is one at the very end, which is about
    to be made again, unless a call of it was answered.

    `unfinished_calls`: a call that was cut off in mid-stream and has no result is left out, or it is closed, which
    means that it is sent with the arguments {} and a result that says there is none.

    `broken_off`: what happens to a failed or abandoned attempt at the very end. It is made `again`, and so not sent; or
    the provider is to `continue` it, and the prompt ends with it.

    `late_results`: a result that came when the model had gone on is a `message` of its own, where it came, and what was
    sent before stays as it is; or it is put `in_place` of what was sent for its call.

    `reasoning`, in the chat prompt only: `send` puts it into `reasoning_content`, or where the dialect has it. DeepSeek
    and Kimi want it back while they think between tool calls, and have it in their dialects; others refuse it.

    `tool_media`, in the chat prompt only: an image, audio or file in the result of a tool, which the API does not take
    there, leaves a `note`; or it goes into a `user_message` behind the results, which says whose it is.

    `windows`, where the prompt has a limit of tokens: it has whole `steps` from the end, those of the first turn behind
    the question that they answer; or only whole `turns`.
    """

    interrupted: Sent = "send"
    failed: Sent = "send"
    abandoned: Sent = "send"
    unfinished_calls: Literal["leave_out", "close"] = "leave_out"
    reasoning: Sent = "leave_out"
    broken_off: Literal["again", "continue"] = "again"
    late_results: Literal["message", "in_place"] = "message"
    tool_media: Literal["note", "user_message"] = "note"
    windows: Literal["steps", "turns"] = "steps"


DEFAULT_POLICY = PromptPolicy()
