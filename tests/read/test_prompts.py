"""Prompts of sessions: valid, explained, within a window, and remembered by a process."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from tests.support.dialect_rules import check_mistral
from tests.support.foreign_messages import call
from tests.support.prompt_rules import check_chat_prompt
from tests.support.sessions import answer, call_tools, checked_prompt, roles, wait_until_cached
from tests.support.views import settled
from turnlog import (
    SYSTEM,
    InvalidInputError,
    PromptPolicy,
    PromptTooLongError,
    Session,
    SessionLog,
    SessionNotFoundError,
    Settings,
)


async def test_an_empty_session_has_a_view_and_an_empty_prompt(session: Session) -> None:
    view = await session.view()
    assert (view.messages, view.turns, view.pending_tool_calls, view.faults) == ([], (), (), ())
    assert view.version == 1
    assert await session.prompt() == []


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
async def test_a_session_of_a_single_message_is_that_message(session: Session, role: Any) -> None:
    await session.add_message(role, "Hello")
    assert (await session.view()).messages == [{"role": role, "content": "Hello"}]
    assert await checked_prompt(session) == [{"role": role, "content": "Hello"}]


async def test_a_follow_up_after_a_long_running_tool_gives_a_valid_prompt(session: Session) -> None:
    await session.say("Report, please.")
    await call_tools(session, "call-1", text="On it.")
    await session.add_tool_result("call-1", "started", status="pending")
    await answer(session, "I have started it.")
    await session.say("Is it done?")
    prompt = await checked_prompt(session)
    assert roles(prompt) == ["user", "assistant", "tool", "assistant", "user"]
    assert prompt[2]["content"] == "started"


async def test_a_late_final_result_replaces_the_pending_one(
    session: Session, other_log: SessionLog, redis: Redis
) -> None:
    await session.say("Report, please.")
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "started", status="pending")
    await session.say("Hello?")
    await answer(session, "Still waiting.")
    await session.view()
    await wait_until_cached(redis, session)
    await other_log.session(session.id, SYSTEM).add_tool_result("call-1", "the report")
    view = await session.view()
    assert [message["content"] for message in view.messages if message["role"] == "tool"] == ["the report"]
    assert view.turns[0].steps[0].tool_results[0].status == "final"
    # The model has gone on: what it was sent stays as it was.
    sent = ["user", "assistant", "tool", "user", "assistant"]
    prompt = await checked_prompt(session)
    assert (roles(prompt), prompt[2]["content"]) == ([*sent, "user"], "started")
    assert prompt[-1]["content"].endswith("the report")
    in_place = await session.prompt(policy=PromptPolicy(late_results="in_place"))
    assert (roles(in_place), in_place[2]["content"]) == (sent, "the report")


async def test_an_explanation_names_the_events_of_a_message_and_a_late_result(session: Session) -> None:
    await session.say("hi")
    async with session.completion() as completion:
        await completion.tool_call("c1", "find", "{}")
        await completion.finish("tool_calls")
    await session.say("and?")
    await session.add_tool_result("c1", "found")
    explained = await session.explain_prompt()
    assert [message.positions for message in explained.messages] == [(2,), (3,), (3, 8), (7,)]
    assert [(found.topic, found.message) for found in explained.breaks] == [("tool-result-added.v1", 2)]
    assert ("call_id", 1, ("mistral",)) in [(one.kind, one.message, one.dialects) for one in explained.request_faults]


async def test_a_prompt_keeps_the_rules_of_a_provider_and_the_one_without_any_is_as_it_was(session: Session) -> None:
    await session.say("hi")
    await session.add_message("assistant", None, tool_calls=[call("call_1")])
    await session.add_tool_result("call_1", "x" * 1_000)
    await session.say("and?")
    plain = await session.prompt()
    for prompt in (await session.prompt(dialect="mistral"), await session.prompt(max_tokens=300, dialect="mistral")):
        check_mistral(prompt)
    assert await session.prompt() == plain
    assert plain[1]["tool_calls"][0]["id"] == "call_1"
    faults = (await session.explain_prompt()).request_faults
    assert {"mistral", "deepseek", "vllm"} <= {name for fault in faults for name in fault.dialects}
    assert (await session.explain_prompt(dialect="mistral")).request_faults == ()
    with pytest.raises(InvalidInputError, match="gpt"):
        await session.prompt(dialect="gpt")  # type: ignore[call-overload]
    with pytest.raises(InvalidInputError, match="chat prompt only"):
        await session.explain_prompt("anthropic", "gemini")


async def test_the_window_keeps_whole_turns_from_the_end_and_what_is_pinned(session: Session) -> None:
    await session.add_message("system", "Be brief.")
    for number in range(4):
        await session.say(f"question {number}")
        await session.add_message("assistant", None, tool_calls=[call(f"c{number}")])
        await session.add_tool_result(f"c{number}", "x" * 1_000)
    prompt = await session.prompt(max_tokens=7, count_tokens=len)
    assert [message["role"] for message in prompt] == ["system", *["user", "assistant", "tool"] * 2]
    short = await session.prompt(max_tokens=100)
    assert "characters left out" in short[-1]["content"]
    check_chat_prompt(short)
    with pytest.raises(PromptTooLongError):
        await session.prompt(max_tokens=10)


# What a process remembers


async def test_a_remembered_prompt_is_that_of_now_and_nobody_elses_to_change(
    settings: Settings, log: SessionLog, talk: Session
) -> None:
    prompt = await talk.prompt()
    expected = [dict(message) for message in prompt]
    prompt[0]["content"] = "changed"
    prompt.clear()
    assert await talk.prompt() == expected

    async with SessionLog.open(settings) as other:
        await other.session(talk.id, SYSTEM).say("from elsewhere")
        assert (await talk.prompt())[-1] == {"role": "user", "content": "from elsewhere"}
        await other.delete_session(talk.id, SYSTEM)
    with pytest.raises(SessionNotFoundError):
        await talk.prompt()


async def test_a_process_remembers_no_more_prompts_than_it_may(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"prompt_memory_bytes": 5_000})) as log:
        for number in range(20):
            session = await log.start_session(user_id="u1")
            await session.say(f"{number} " + "x" * 1_000)
            for _ in range(2):
                assert len(await session.prompt()) == 1
        remembered = log._parts.prompts._memory
        assert 3_000 < sum(len(entry.value) for entry in remembered._entries.values()) == remembered._bytes <= 5_000
        assert log._parts.prompts.key(session.id) in remembered._entries


@pytest.mark.parametrize(("memory", "most"), [(1_000_000, 1), (0, 2)], ids=["remembered", "from Redis"])
async def test_a_prompt_that_is_continued_asks_where_the_session_stands_no_more_than_it_needs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, memory: int, most: int
) -> None:
    async with SessionLog.open(settings.model_copy(update={"prompt_memory_bytes": memory})) as log:
        session = await log.start_session("u1")
        for number in range(3):
            await session.say(f"question {number}")
            await answer(session, "An answer.")
            await session.prompt()
            await settled(log)
        await session.say("and now?")
        asked, standings = list[Any](), log._parts.store.standings
        ask = standings.ask
        monkeypatch.setattr(standings, "ask", lambda *question: (asked.append(question), ask(*question))[1])
        assert (await session.prompt())[-1] == {"role": "user", "content": "and now?"}
        assert len(asked) == most
