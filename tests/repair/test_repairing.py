"""Each fault is named and repaired, a repair can be undone, and the prompts are valid before and after."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.conversations import lines_of
from tests.support.foreign_messages import (
    FAULTY,
    FAULTY_BLOCKS,
    Json,
    blocks,
    call,
    result,
    said,
    text,
    thought,
    use,
    used,
    user,
)
from tests.support.real_data import REAL_DATA, each_sample, evenly, needs_real_data
from tests.support.rules import check_prompts_of, refuses
from tests.support.sessions import contents
from turnlog import SessionLog
from turnlog.projections.placeholders import NO_RESULT


async def check_history(log: SessionLog, messages: list[Json], format_: Any) -> None:
    session = await log.import_session(messages, "u1", format=format_)
    await check_prompts_of(session)
    await log.repair(session.id, "u1")
    view, prompt = await session.view(), await session.prompt()
    assert view.faults == ()
    await check_prompts_of(session)
    again = await log.repair(session.id, "u1")
    assert (again.corrections, again.diff, again.repair_id) == ((), "", None)
    assert await session.prompt() == prompt
    assert (await session.view()).version == view.version


@pytest.mark.parametrize("kind", FAULTY)
async def test_each_fault_is_named_with_its_position_and_repaired(log: SessionLog, kind: str) -> None:
    session = await log.import_session(FAULTY[kind], "u1")
    faults = (await session.view()).faults
    assert kind in {fault.kind for fault in faults}
    assert all(fault.message and fault.provider_error and fault.position > 1 for fault in faults)
    await check_history(log, FAULTY[kind], "chat")


@pytest.mark.parametrize("kind", FAULTY)
async def test_a_repair_can_be_tried_and_undone(log: SessionLog, kind: str) -> None:
    session = await log.import_session(FAULTY[kind], "u1")
    before, prompt = await session.view(), await session.prompt()
    tried = await log.repair(session.id, "u1", dry_run=True)
    assert (await session.view(), tried.repair_id) == (before, None)
    report = await log.repair(session.id, "u1")
    assert report.corrections == tried.corrections
    assert list(report.after) == await session.prompt()
    assert await log.undo_repair(session.id, "u1", report.repair_id)
    assert not await log.undo_repair(session.id, "u1", report.repair_id)
    assert ((await session.view()).faults, await session.prompt()) == (before.faults, prompt)


async def test_a_cut_stream_is_joined_by_nothing_and_whole_replies_by_a_blank_line(log: SessionLog) -> None:
    for parts, joined in (
        (("Hel", "lo"), "Hello"),
        (("It is 21 C.", "Anything else?"), "It is 21 C.\n\nAnything else?"),
    ):
        session = await log.import_session([user(), *map(said, parts)], "u1")
        report = await log.repair(session.id, "u1")
        assert (await session.prompt())[-1]["content"] == joined
        assert "stands between them" in report.corrections[0].text


async def test_a_made_up_result_is_marked_in_the_view_and_a_real_one_replaces_it(log: SessionLog) -> None:
    session = await log.import_session(FAULTY["unanswered_call"], "u1")
    await log.repair(session.id, "u1")
    (made_up,) = (await session.view()).turns[0].steps[0].tool_results
    assert (made_up.status, made_up.content) == ("synthetic", NO_RESULT)
    await session.add_tool_result("c1", "late")
    assert [message["content"] for message in await session.prompt()] == ["hi", None, "late", "stop"]


BROKEN = FAULTY["unanswered_call"]


async def test_a_history_that_is_broken_can_be_compacted_and_then_repaired(log: SessionLog) -> None:
    session = await log.import_session([*BROKEN, said("Yes."), user("more")], "u1")
    await session.compact("so far", 3)
    assert contents(await session.prompt()) == ["so far", "stop", "Yes.", "more"]
    report = await log.repair(session.id, "u1")
    assert report.corrections
    assert list(report.after) == await session.prompt()
    assert (await session.view()).faults == ()
    await check_prompts_of(session)


async def test_what_is_imported_after_a_repair_is_repaired_by_the_next_one(log: SessionLog) -> None:
    session = await log.import_session(BROKEN, "u1")
    await log.repair(session.id, "u1")
    more = [*BROKEN, said("Hel"), said("lo"), said(None, call("c2"))]
    await log.import_session(more, "u1", session_id=session.id)
    assert {fault.kind for fault in (await session.view()).faults} == {"split_assistant", "unanswered_call"}
    second = await log.repair(session.id, "u1")
    assert {correction.position for correction in second.corrections} == {7, 8}
    assert (await session.view()).faults == ()
    await check_prompts_of(session)
    assert await log.undo_repair(session.id, "u1")  # the latest one
    assert {fault.kind for fault in (await session.view()).faults} == {"split_assistant", "unanswered_call"}
    assert await log.undo_repair(session.id, "u1")
    assert not await log.undo_repair(session.id, "u1")


async def test_a_real_result_that_comes_after_a_made_up_one_takes_its_place(log: SessionLog) -> None:
    session = await log.import_session(BROKEN, "u1")
    await log.repair(session.id, "u1")
    await log.import_session([*BROKEN, result("c1", "late")], "u1", session_id=session.id)
    assert contents(await session.prompt()) == ["hi", None, "late", "stop"]
    await check_prompts_of(session)
    await log.repair(session.id, "u1")
    assert (await session.view()).faults == ()


async def test_a_session_with_an_open_step_can_be_repaired_and_the_step_goes_on(log: SessionLog) -> None:
    session = await log.import_session(BROKEN, "u1")
    async with session.completion() as completion:
        await completion.text("Hel")
        report = await log.repair(session.id, "u1")
        await completion.text("lo")
        await completion.finish("stop")
    assert [correction.fault for correction in report.corrections] == ["unanswered_call"]
    assert (contents(await session.prompt()))[-1] == "Hello"
    assert (await session.view()).faults == ()
    await check_prompts_of(session)


async def test_two_repairs_at_once_are_one(log: SessionLog, settings: Any) -> None:
    session = await log.import_session(BROKEN, "u1")
    async with SessionLog.open(settings) as other:
        tried = await log.repair(session.id, "u1", dry_run=True)
        first, second = await log.repair(session.id, "u1"), await other.repair(session.id, "u1")
    assert tried.corrections == first.corrections
    assert second.corrections == ()
    assert [e.topic async for e in session.events()].count("session-repaired.v1") == 1


# Anthropic's format


@pytest.mark.parametrize("kind", FAULTY_BLOCKS)
async def test_each_fault_of_anthropics_format_is_named_and_repaired(log: SessionLog, kind: str) -> None:
    messages = FAULTY_BLOCKS[kind]
    assert refuses("anthropic", messages)
    session = await log.import_session(messages, "u1", format="anthropic")
    assert [fault.kind for fault in (await session.view()).faults] == [kind]
    await check_history(log, messages, "anthropic")


async def test_a_result_in_the_message_of_its_call_is_in_place(log: SessionLog) -> None:
    answered = {"type": "tool_result", "tool_use_id": "c1", "content": "found"}
    messages = [blocks("user", text("hi")), blocks("assistant", use(), answered), blocks("user", text("more"))]
    session = await log.import_session(messages, "u1", format="anthropic")
    kinds = {fault.kind for fault in (await session.view()).faults}
    assert not kinds & {"result_not_adjacent", "user_message_between", "result_before_call"}


async def test_signed_thinking_goes_back_as_it_came(log: SessionLog) -> None:
    messages = [user(), blocks("assistant", thought("hm", "signed"), text("Yes."), use()), blocks("user", *used("c1"))]
    session = await log.import_session(messages, "u1", format="anthropic")
    assert (await session.view()).faults == ()
    assert (await session.prompt("anthropic"))["messages"][1:] == messages[1:]


# Real histories


@needs_real_data
@each_sample
@pytest.mark.parametrize("name", ["valid", "valid_reused_ids", "pending_call_at_end", "invalid_as_recorded"])
async def test_every_real_conversation_has_valid_prompts_before_and_after_repair(
    log: SessionLog, name: str, count: int
) -> None:
    for conversation in evenly(lines_of(REAL_DATA / "conversations" / f"{name}.jsonl"), count):
        await check_history(log, conversation["messages"], "chat")


@needs_real_data
@each_sample
async def test_real_conversations_that_were_valid_have_no_fault(log: SessionLog, count: int) -> None:
    for conversation in evenly(lines_of(REAL_DATA / "conversations" / "valid.jsonl"), 4 * count):
        session = await log.import_session(conversation["messages"], "u1")
        assert (await session.view()).faults == ()


@needs_real_data
async def test_every_real_corrupt_history_has_valid_prompts_before_and_after_repair(log: SessionLog) -> None:
    for case in lines_of(REAL_DATA / "corrupt_histories" / "cases.jsonl"):
        if case["repaired"] is not None:
            await check_history(log, case["messages"], "chat" if case["format"] == "openai" else "anthropic")
