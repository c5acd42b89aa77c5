"""What a program of somebody who builds on turnlog may rely on: `test_types.py` has it checked, and never runs it."""

from __future__ import annotations

from typing import Any, assert_never, assert_type

from openai import AsyncOpenAI

from turnlog import (
    ApprovalDecided,
    ApprovalRequested,
    Delta,
    FunctionCallFragment,
    MessageCame,
    PartExtended,
    PartFragment,
    PartStarted,
    Session,
    SessionChanged,
    SessionGone,
    StepEnded,
    StepStarted,
    TextFragment,
    ToolCallFragment,
    ToolResultCame,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)


async def watch(session: Session) -> str:
    shown = ""
    async with session.live(until_turn_ends=True) as live:
        assert_type(live.view.version, int)
        async for delta in live:
            if delta.kind == "text":
                assert_type(delta, TextFragment)
                shown = shown[: delta.offset] + delta.text
            elif delta.kind in ("step_ended", "tool_call"):
                shown += str(delta.position)
            elif delta.kind == "deleted":
                assert_type(delta, SessionGone)
                break
    return shown


def without_a_kind_there_is_no_text(delta: Delta) -> str:
    return delta.text  # type: ignore[union-attr]  # to be refused


def by_class(delta: Delta) -> str:
    match delta:
        case TextFragment():
            return delta.text
        case ToolCallFragment() | FunctionCallFragment():
            return delta.arguments
        case StepStarted() | StepEnded() | ToolResultCame() | PartStarted() | PartFragment() | PartExtended():
            return delta.step_id
        case MessageCame():
            return delta.message_id
        case SessionChanged():
            return delta.topic
        case TurnStarted() | TurnEnded():
            return delta.turn_id
        case ToolStarted() | ApprovalRequested() | ApprovalDecided():
            return delta.call_id
        case SessionGone():
            return delta.to_sse()
        case _:
            assert_never(delta)


def by_kind(delta: Delta) -> str | None:
    match delta.kind:
        case "text" | "reasoning" | "refusal":
            return delta.text
        case "tool_call":
            return delta.name
        case "step_ended":
            return delta.status
        case "tool_result":
            return delta.call_id
        case _:
            return str(delta.position)


async def ask(session: Session, client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="m", messages=await session.prompt(), stream=True)
    async for chunk in session.record(stream):
        assert_type(chunk.choices[0].delta.content, str | None)
    await client.responses.create(model="m", input=await session.prompt("responses"))
    messages: list[dict[str, Any]] = await session.prompt("chat", max_tokens=1_000)
    assert_type(messages[0]["role"], Any)
    assert_type(await session.prompt("anthropic"), dict[str, Any])
