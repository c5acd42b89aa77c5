"""One event of each type with every field set: what the golden files hold."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from turnlog.domain import events as e

AT = datetime(2026, 11, 22, 13, 50, 56, 123456, tzinfo=UTC)
_ENDED = {"at": AT, "step_id": "s1", "model": "m-1", "response_id": "r-1", "usage": {"prompt_tokens": 3}}

SAMPLES: tuple[e.SessionEvent, ...] = (
    e.SessionStarted(at=AT, user_id="u1", title="Café", metadata={"a": [1, {"b": None}]}),
    e.OwnerAssigned(at=AT, user_id="u1"),
    e.SessionTitled(at=AT, title="A title"),
    e.MetadataSet(at=AT, patch={"a": None, "b": {"c": 1.5}}),
    e.CounterIncremented(at=AT, id="i1", counter="runs", key="graph-1", by=-2),
    e.MessageAdded(
        at=AT,
        message_id="m1",
        role="assistant",
        content=({"type": "text", "text": "part"},),
        name="bot",
        refusal="no",
        tool_calls=(e.ToolCall(id="c1", name="find", arguments="{}"),),
        function_call=e.FunctionCall(name="f", arguments="{}"),
    ),
    e.CompletionStarted(at=AT, step_id="s1", model="m"),
    e.TextDelta(at=AT, step_id="s1", text='say "hi"\n\0 ü'),
    e.RefusalDelta(at=AT, step_id="s1", text="no"),
    e.ReasoningDelta(at=AT, step_id="s1", text="hm", details=({"type": "reasoning.text", "signature": "x"},)),
    e.PartStarted(at=AT, step_id="s1", part=1, kind="tool_call", api="chat", call=1, data={"extra": {"a": None}}),
    e.PartDelta(at=AT, step_id="s1", part=1, field="input", text="{"),
    e.PartExtended(at=AT, step_id="s1", part=1, data={"citations": [{"url": "https://example.org"}]}),
    e.ToolCallStarted(at=AT, step_id="s1", index=1, id="c1", name="find"),
    e.ToolCallNamed(at=AT, step_id="s1", index=1, id="c1", name="find"),
    e.ToolCallArgumentsDelta(at=AT, step_id="s1", index=1, arguments='{"a":'),
    e.FunctionCallDelta(at=AT, step_id="s1", name="f", arguments="{}"),
    e.CompletionFinished(finish_reason="stop", **_ENDED),
    e.CompletionInterrupted(reason="closed early", **_ENDED),
    e.CompletionFailed(error="boom", **_ENDED),
    e.CompletionAbandoned(reason="gone", **_ENDED),
    e.ToolResultAdded(at=AT, step_id="s1", index=1, call_id="c1", status="final", content="21 C"),
    e.TurnStarted(at=AT, turn_id="m1", run="r1", writer="w1", lease_seconds=30.0),
    e.TurnEnded(at=AT, turn_id="m1", run="r1", status="failed", reason="boom"),
    e.ToolStarted(at=AT, step_id="s1", index=1, call_id="c1", run="r1", attempt=2),
    e.ApprovalRequested(at=AT, step_id="s1", index=1, call_id="c1", run="r1"),
    e.ApprovalDecided(at=AT, step_id="s1", index=1, call_id="c1", approved=True, by="u1", reason="fine", for_turn=True),
    e.UsageReported(at=AT, id="i1", model="m", usage={"prompt_tokens": 1}),
    e.MessageImported(
        at=AT, message_id="imported-1", format="chat", message={"role": "user", "content": [{"a": None}]}
    ),
    e.SessionRepaired(
        at=AT,
        repair_id="r1",
        upto=4,
        corrections=(
            e.Correction(
                fault="split_assistant", position=3, index=0, turn=1, action="join", separator="\n", text="so"
            ),
        ),
    ),
    e.RepairWithdrawn(at=AT, repair_id="r1"),
    e.ContextCompacted(at=AT, summary="so far", upto=4),
    e.SessionForked(at=AT, source=UUID(int=7), upto=4),
    e.SessionDeleted(at=AT),
)

LATER: tuple[tuple[str, e.SessionEvent], ...] = (
    ("lease", e.CompletionStarted(at=AT, step_id="s1", model="m", writer="w1", lease_seconds=30.0)),
    ("turn", e.CompletionStarted(at=AT, step_id="s2", turn_id="m1", supersedes="s1", continues="s0")),
    ("details", e.CompletionFinished(at=AT, step_id="s1", finish_reason="stop", details={"service_tier": "default"})),
    ("custom", e.ToolCallStarted(at=AT, step_id="s1", index=1, id="c1", name="find", custom=True)),
    ("queued", e.MessageAdded(at=AT, message_id="m2", role="user", content="and?", queued=True)),
    ("failure", e.CompletionFailed(at=AT, step_id="s1", error="no", failure={"status": 429, "type": "rate_limit"})),
    (
        "format",
        e.MessageImported(
            at=AT, message_id="imported-1", format="chatgpt", message={"author": {"role": "user"}, "create_time": 1.5}
        ),
    ),
    (
        "late",
        e.ToolResultAdded(at=AT, step_id="s1", index=1, call_id="c1", status="final", content="21 C", late=True),
    ),
)
"""Events with fields that came after their first golden file; each has one of its own, `TOPIC+NAME.json`."""
