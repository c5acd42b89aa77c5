"""What a step of a long turn costs, counted: it does not grow with the steps before it. And its windows."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from tests.support.rules import CHECKS
from tests.support.sessions import folded_view
from tests.support.views import events_read, key, settled
from turnlog import PromptPolicy, PromptTooLongError, Session, SessionLog, Settings
from turnlog.infrastructure.read.latest import LatestTurns
from turnlog.projections.prompt import Api, build_prompt
from turnlog.projections.prompt.tokens import estimated_tokens

RESULT = "found " * 150


async def step(session: Session, number: int) -> None:
    """A step of an agent: a few words, a call, and its result."""
    async with session.completion() as completion:
        await completion.text(f"Step {number}.")
        await completion.tool_call(f"call-{number}", "find", '{"q": "cats"}')
        await completion.finish("tool_calls")
    await session.add_tool_result(f"call-{number}", RESULT)


async def agent(session: Session, steps: int, api: Api = "chat") -> Session:
    """The session after a long turn, looked at after every step."""
    await session.add_message("system", "Be brief.")
    await session.say("How many cats?")
    for number in range(steps):
        await step(session, number)
        await session.prompt(api)
    return session


@pytest.mark.parametrize("api", CHECKS)
async def test_a_step_of_a_long_turn_sends_and_reads_no_more_than_one_of_a_short_turn(
    log: SessionLog, session: Session, redis: Redis, api: Api
) -> None:
    sent, given, lines, kept = [], [], [], log._parts.store.kept
    await session.say("How many cats?")
    with events_read(log) as read:
        for number in range(100, 170):
            before, count = redis.info("stats"), sum(read)
            await step(session, number)
            prompt = await session.prompt(api)
            await settled(log)
            after = redis.info("stats")
            sent.append(after["total_net_input_bytes"] - before["total_net_input_bytes"])
            given.append(after["total_net_output_bytes"] - before["total_net_output_bytes"])
            lines.append(sum(read) - count)

    early, late = slice(10, 30), slice(50, 70)
    for of_step in (sent, given, lines):
        assert max(of_step[late]) < 1.2 * max(of_step[early])
        assert sum(of_step[late]) < 1.1 * sum(of_step[early])
    found = await kept.load(session.id)
    assert found is not None
    head, pages = found
    assert len(pages) > 10
    assert max(map(len, pages)) < 10_000 > len(head)
    assert redis.strlen(key(log, session)) > 3 * max(sent)
    whole = await folded_view(session)
    assert await session.view() == whole
    assert prompt == build_prompt(whole.turns, api)


async def test_who_works_on_a_long_turn_holds_the_end_of_it(log: SessionLog, session: Session) -> None:
    latest, prompts = LatestTurns(log._parts.views, session.id), log._parts.prompts
    await session.say("How many cats?")
    sizes = []
    for number in range(60):
        await step(session, number)
        held = await latest.now()
        turns = (await folded_view(session)).turns
        for api in CHECKS:
            assert await prompts.usual_of(held, api) == build_prompt(turns, api)
        sizes.append(held.size)
    assert max(sizes[45:]) <= max(sizes[:45])


@pytest.mark.parametrize("api", CHECKS)
async def test_a_long_turn_is_the_same_in_another_process(
    settings: Settings, log: SessionLog, session: Session, redis: Redis, api: Api
) -> None:
    await agent(session, 30, api)
    await settled(log)
    whole = await folded_view(session)
    for is_cached in (True, False):
        if not is_cached:
            redis.flushall()
        async with SessionLog.open(settings) as fresh:
            again = fresh.session(session.id, "u1")
            with events_read(fresh) as read:
                assert await again.prompt(api) == build_prompt(whole.turns, api)
                assert await again.view() == whole
            assert sum(read) < 60 < whole.version


# Windows


@pytest.mark.parametrize("api", CHECKS)
async def test_a_window_begins_inside_a_long_turn_behind_its_question(
    log: SessionLog, session: Session, api: Api
) -> None:
    await agent(session, 40)
    whole = await folded_view(session)
    for limit in (700, 3_000, 5_500):
        prompt: Any = await session.prompt(api, limit)
        CHECKS[api](prompt)
        assert prompt == build_prompt(whole.turns, api, max_tokens=limit)
        messages = prompt["messages"] if api == "anthropic" else prompt
        assert "How many cats?" in str(messages[:2])
        if api == "chat":
            assert limit - 300 < estimated_tokens(prompt) <= limit
            assert [one["role"] for one in prompt[:4]] == ["system", "user", "assistant", "tool"]
    with pytest.raises(PromptTooLongError):
        await session.prompt(api, 700, policy=PromptPolicy(windows="turns"))


async def test_a_window_is_counted_and_read_no_more_than_once(log: SessionLog, session: Session, redis: Redis) -> None:
    counted = list[int]()

    def count(messages: list[Any]) -> int:
        counted.append(len(messages))
        return 2 * estimated_tokens(messages)

    await agent(session, 50)
    await session.prompt(max_tokens=10_000, count_tokens=count)
    for number in range(50, 60):
        await step(session, number)
        await settled(log)
        counted.clear()
        before = redis.info("stats")["total_net_output_bytes"]
        with events_read(log) as read:
            prompt = await session.prompt(max_tokens=10_000, count_tokens=count)
        assert redis.info("stats")["total_net_output_bytes"] - before < 40_000
        assert sum(read) < 12
        assert len(counted) <= 4
        expected = build_prompt((await folded_view(session)).turns, max_tokens=10_000, count_tokens=count)
        assert prompt == expected
