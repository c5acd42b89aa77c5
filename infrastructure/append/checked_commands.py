"""What callers ask of a session, checked and made into commands. Each function raises InvalidInputError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlog.domain.commands import (
    AddMessage,
    AddToolResult,
    CancelSteps,
    DecideApproval,
    IncrementCounter,
    ReportUsage,
    SetTitle,
)
from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import (
    check_kind,
    check_message,
    checked_content,
    checked_count,
    checked_function,
    checked_id,
    checked_name,
    checked_object,
    checked_optional_name,
    checked_optional_text,
    checked_role,
    checked_short,
    checked_status,
    checked_title,
    checked_tool_calls,
    checked_usage_object,
)
from turnlog.domain.limits import MAX_CALL_ID_LENGTH, MAX_REASON_LENGTH
from turnlog.infrastructure.append.chunks.fields import json_object
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.ids import new_id

REFUSED = "The tool has not run: this call was refused"
"""The result of a call that somebody has refused."""


def checked_message(
    role: Any,
    content: Any,
    message_id: str | None,
    name: str | None,
    refusal: str | None,
    tool_calls: Any,
    function_call: Any,
    limit: int,
) -> AddMessage:
    """A message as `Session.add_message` takes it. `limit` is the largest size of one text, in bytes as UTF-8."""
    if role == "assistant" and content == []:
        content = None  # some back ends write it so beside tool calls
    command = AddMessage(
        at=now(),
        message_id=_id_or_new(message_id, "message_id"),
        role=checked_role(role),
        content=None if content is None else checked_content(content, limit),
        name=checked_name(name),
        refusal=checked_optional_text(refusal, "refusal", limit),
        tool_calls=checked_tool_calls(tool_calls, limit),
        function_call=None if function_call is None else checked_function(function_call, "function_call", limit),
    )
    check_message(command)
    return command


def checked_tool_result(call_id: Any, content: Any, status: Any, step_id: str | None, limit: int) -> AddToolResult:
    """A tool result as `Session.add_tool_result` takes it. `limit` as in `checked_message`."""
    return AddToolResult(
        at=now(),
        call_id=checked_short(call_id, "call_id", MAX_CALL_ID_LENGTH),
        status=checked_status(status),
        content=checked_content(content, limit),
        step_id=None if step_id is None else checked_id(step_id, "step_id"),
    )


def checked_cancel(reason: Any, turn_id: Any = None) -> CancelSteps:
    """A cancellation as `Session.cancel` takes it."""
    turn_id = None if turn_id is None else checked_id(turn_id, "turn_id")
    return CancelSteps(now(), checked_short(reason, "reason", MAX_REASON_LENGTH), turn_id)


def checked_approval(call_id: Any, step_id: Any, approved: bool, by: Any, reason: Any, for_turn: Any) -> DecideApproval:
    """A decision about a call as `Session.approve` and `Session.refuse` take it."""
    check_kind(for_turn, bool, "for_turn")
    reason = checked_short(reason, "reason", MAX_REASON_LENGTH)
    return DecideApproval(
        now(),
        checked_short(call_id, "call_id", MAX_CALL_ID_LENGTH),
        None if step_id is None else checked_id(step_id, "step_id"),
        approved,
        checked_id(by, "by"),
        reason,
        for_turn,
        "" if approved else f"{REFUSED}: {reason}" if reason else f"{REFUSED}.",
    )


def checked_set_title(title: Any, only_if_empty: Any) -> SetTitle:
    """A title as `Session.set_title` takes it."""
    check_kind(only_if_empty, bool, "only_if_empty")
    return SetTitle(now(), checked_title(title), only_if_empty)


def checked_increment(counter: Any, key: Any, by: Any, id: str | None) -> IncrementCounter:  # noqa: A002 the field's name
    """An increment as `Session.increment` takes it."""
    return IncrementCounter(
        now(), _id_or_new(id, "id"), checked_id(counter, "counter"), checked_id(key, "key"), checked_count(by, "by")
    )


def checked_usage(usage: Any, model: Any, id: str | None, tokens: Mapping[str, Any]) -> ReportUsage:  # noqa: A002 the field's name
    """A report as `Session.add_usage` takes it: a provider's usage object, token counts by name, or both."""
    reported = json_object(usage, "usage") if usage is not None else {}
    reported |= checked_object({name: checked_count(count, name) for name, count in tokens.items()}, "usage")
    if not reported:
        raise InvalidInputError("usage", "must not be empty")
    checked_usage_object(reported)
    return ReportUsage(now(), _id_or_new(id, "id"), reported, checked_optional_name(model, "model"))


def _id_or_new(given: str | None, field: str) -> str:
    return new_id() if given is None else checked_id(given, field)
