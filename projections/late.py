"""The result of a call that came when the model had gone on: a message of its own, in words."""

from __future__ import annotations

from turnlog.domain.events import Content
from turnlog.projections.turn import LateResult

LONGEST_ARGUMENTS = 200
"""Characters of the call's arguments that are said again. The whole call stands further up."""


def late_result_content(late: LateResult) -> Content:
    """What a prompt says as the user. It depends on nothing but the result, and so never changes."""
    what = "error" if late.status == "error" else "result"
    arguments = late.arguments.strip() or "{}"
    if len(arguments) > LONGEST_ARGUMENTS:
        arguments = f"{arguments[:LONGEST_ARGUMENTS]}..."
    head = f"The {what} of the earlier tool call {late.name}({arguments}), which was still missing, has come:"
    if isinstance(late.content, str):
        return f"{head}\n\n{late.content}"
    return ({"type": "text", "text": head}, *late.content)
