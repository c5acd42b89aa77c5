"""Random histories: small pools of ids on purpose, so that steps, calls and results collide."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from tests.support.exports import NAMES, conversations
from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent

SESSION_ID = UUID("00000000-0000-4000-8000-000000000001")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

any_text = st.text(st.characters(exclude_categories=()), max_size=4)
"""With NUL and lone surrogates."""

step_ids = st.sampled_from(["s1", "s2", "s3", "s4"])
call_ids = st.sampled_from(["", "c1", "c2"])
names = st.sampled_from(["", "find", "create"])
fragments = st.sampled_from(["", "{", "}", "{}", '{"a":1}', '{"a":', "1}", "NaN", '"\ud83d"'])
indexes = st.integers(0, 2)
PARTS: list[dict[str, Any]] = [
    {"type": "text", "text": "part", "annotations": [], "cache_control": {"type": "ephemeral"}},
    {"type": "text", "text": ""},
    {"type": "text", "text": 1},
    {"type": "refusal", "refusal": "no"},
    {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "much"}},
    {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,AA"}},
    {"type": "image_url", "image_url": {}},
    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    {"type": "file", "file": {"file_id": "f", "type": "x"}},
    {"type": "file", "file": {"file_url": "https://x/y.pdf"}},
    {"type": "thinking", "thinking": "hm", "signature": "s"},
    {"type": "search_result", "source": "https://x", "title": "", "content": [{"type": "text", "text": "found"}]},
    {"type": "document", "source": {"type": "text", "data": "said"}, "citations": {"enabled": True}},
    {"type": "image", "source": {"type": "file", "file_id": "f"}},
    {"type": "image", "data": "AA", "mimeType": "image/png"},
    {"type": "resource", "resource": {"uri": "file:///a.md", "text": "read"}},
]
contents = any_text | st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map(tuple)
usages = st.none() | st.fixed_dictionaries({"prompt_tokens": st.integers(0, 9), "completion_tokens": st.integers(0, 9)})

seldom = st.sampled_from([False, False, True])
message_ids = st.sampled_from(["m1", "m2", "m3"])
turn_ids = st.sampled_from(["m1", "m2", "m3", "r1"])
runs = st.sampled_from(["r1", "r2", "r3"])


def _event(cls: Any, **fields: Any) -> st.SearchStrategy[Any]:
    return st.builds(cls, at=st.just(BEGAN), **fields)


def _call(index: int = 0) -> st.SearchStrategy[e.ToolCall]:
    return st.builds(e.ToolCall, id=call_ids, name=names, arguments=fragments)


plain_messages = _event(
    e.MessageAdded,
    message_id=message_ids,
    role=st.sampled_from(["system", "developer", "user"]),
    content=contents,
    queued=seldom,
)
function_messages = _event(
    e.MessageAdded,
    message_id=st.sampled_from(["m1", "m2"]),
    role=st.just("function"),
    content=contents,
    name=st.just("find"),
)
assistant_messages = _event(
    e.MessageAdded,
    message_id=step_ids,
    role=st.just("assistant"),
    content=st.none() | contents,
    refusal=st.none() | any_text,
    tool_calls=st.lists(_call(), max_size=2).map(tuple),
    function_call=st.none() | st.builds(e.FunctionCall, name=names, arguments=fragments),
)
deltas = st.one_of(
    _event(e.TextDelta, step_id=step_ids, text=any_text),
    _event(e.TextDelta, step_id=step_ids, text=any_text),
    _event(e.RefusalDelta, step_id=step_ids, text=any_text),
    _event(e.ReasoningDelta, step_id=step_ids, text=any_text),
    _event(e.ToolCallStarted, step_id=step_ids, index=indexes, id=call_ids, name=names, custom=seldom),
    _event(e.ToolCallNamed, step_id=step_ids, index=indexes, id=call_ids, name=names),
    _event(e.ToolCallArgumentsDelta, step_id=step_ids, index=indexes, arguments=fragments),
    _event(e.FunctionCallDelta, step_id=step_ids, name=names, arguments=fragments),
)
part_numbers = st.integers(1, 4)
part_data = st.sampled_from(
    [{}, {"signature": "S"}, {"type": "web_search", "id": "w1"}, {"citations": [{"url": "u"}]}, {"input": "x"}]
)
parts = st.one_of(
    _event(
        e.PartStarted,
        step_id=step_ids,
        part=part_numbers,
        kind=st.sampled_from(["text", "text", "reasoning", "refusal", "server_call", "audio", "opaque"]),
        api=st.sampled_from(["chat", "anthropic", "responses"]),
        data=part_data,
    ),
    _event(
        e.PartStarted,
        step_id=step_ids,
        part=part_numbers,
        kind=st.just("tool_call"),
        api=st.sampled_from(["chat", "anthropic", "responses"]),
        call=indexes,
        data=part_data,
    ),
    _event(e.PartDelta, step_id=step_ids, part=part_numbers, field=st.sampled_from(["input", "data"]), text=any_text),
    _event(e.PartExtended, step_id=step_ids, part=part_numbers, data=part_data),
)
ends = st.one_of(
    _event(
        e.CompletionFinished, step_id=step_ids, finish_reason=st.sampled_from(["stop", "length", None]), usage=usages
    ),
    _event(e.CompletionInterrupted, step_id=step_ids, reason=st.just("closed early")),
    _event(e.CompletionFailed, step_id=step_ids, error=st.just("boom"), failure=st.none() | st.just({"status": 429})),
    _event(e.CompletionAbandoned, step_id=step_ids, reason=st.just("gone")),
)
results = _event(
    e.ToolResultAdded,
    step_id=step_ids,
    index=indexes,
    call_id=call_ids,
    status=st.sampled_from(["pending", "final", "error"]),
    content=contents,
    late=seldom,
)
turns = st.one_of(
    _event(e.TurnStarted, turn_id=turn_ids, run=runs, writer=st.just("w1"), lease_seconds=st.none() | st.just(30.0)),
    _event(
        e.TurnEnded,
        turn_id=turn_ids,
        run=st.just("") | runs,
        status=st.sampled_from(["finished", "waiting", "stopped", "failed", "abandoned"]),
        reason=st.just("why"),
    ),
)
calls_at_work = st.one_of(
    _event(e.ToolStarted, step_id=step_ids, index=indexes, call_id=call_ids, run=runs, attempt=st.integers(1, 2)),
    _event(e.ApprovalRequested, step_id=step_ids, index=indexes, call_id=call_ids, run=runs),
    _event(
        e.ApprovalDecided,
        step_id=step_ids,
        index=indexes,
        call_id=call_ids,
        approved=st.booleans(),
        by=st.just("u1"),
        for_turn=st.booleans(),
    ),
)
others = st.one_of(
    _event(e.SessionTitled, title=any_text),
    _event(e.MetadataSet, patch=st.just({"a": {"b": 1}, "c": None})),
    _event(e.CounterIncremented, id=st.just("i"), counter=st.just("runs"), key=st.just("g"), by=st.integers(-2, 2)),
    _event(e.UsageReported, id=st.just("i"), usage=st.just({"prompt_tokens": 1})),
    _event(e.OwnerAssigned, user_id=st.just("u2")),
)
started = _event(
    e.CompletionStarted,
    step_id=step_ids,
    model=st.just("m"),
    writer=st.sampled_from(["", "w1", "w2"]),
    lease_seconds=st.none() | st.just(30.0),
    turn_id=st.just("") | turn_ids,
    supersedes=st.just("") | step_ids,
    continues=st.just("") | step_ids,
)
foreign_calls = st.fixed_dictionaries(
    {"id": call_ids, "function": st.fixed_dictionaries({"name": names, "arguments": fragments})}
)
foreign_messages = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "tool", "robot"]), "content": any_text},
        optional={"tool_call_id": call_ids},
    ),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": st.none() | any_text},
        optional={"tool_calls": st.lists(foreign_calls, max_size=2)},
    ),
)
foreign_blocks = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": any_text}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": call_ids, "name": names, "input": st.just({"a": 1})}),
    st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": call_ids, "content": any_text}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": any_text, "signature": any_text}),
)
foreign_block_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": st.lists(foreign_blocks, max_size=3)}
)
imported_ids = st.uuids().map(str)
FOREIGN = [
    (conversation.format, message)
    for name in NAMES
    for conversation in conversations(name)
    for messages in (conversation.messages, *(branch.messages for branch in conversation.branches))
    for message in messages
]
"""Messages of exports, each with its format."""
exported = st.sampled_from(FOREIGN)
imported = st.one_of(
    exported.flatmap(
        lambda one: _event(e.MessageImported, message_id=imported_ids, format=st.just(one[0]), message=st.just(one[1]))
    ),
    _event(e.MessageImported, message_id=imported_ids, format=st.just("chat"), message=foreign_messages),
    _event(e.MessageImported, message_id=imported_ids, format=st.just("anthropic"), message=foreign_block_messages),
    _event(e.MessageImported, message_id=imported_ids, format=st.just("chat"), message=foreign_block_messages),
)
compactions = _event(e.ContextCompacted, summary=st.just("so far"), upto=st.integers(1, 20))
live_event = st.one_of(
    compactions,
    plain_messages,
    function_messages,
    assistant_messages,
    started,
    started,
    deltas,
    deltas,
    parts,
    ends,
    ends,
    results,
    results,
    others,
    turns,
    turns,
    calls_at_work,
)
"""Any event that is neither an import nor a repair."""

any_event = st.one_of(imported, imported, live_event)


def recorded(events: list[Any]) -> list[RecordedEvent]:
    """The events behind a session-started, at the positions that they would have."""
    first = e.SessionStarted(at=BEGAN, user_id="u1")
    return [
        RecordedEvent(
            SESSION_ID, position, position, event.model_copy(update={"at": BEGAN + timedelta(seconds=position)})
        )
        for position, event in enumerate([first, *events], start=1)
    ]


histories = st.lists(any_event, max_size=40).map(recorded)
"""Any events in any order: also such as no decision would ever let through."""
