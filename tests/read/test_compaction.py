"""Compactions: a prompt begins with the summary, and the view keeps everything."""

from __future__ import annotations

import pytest

from tests.support.foreign_messages import call
from tests.support.rules import check_prompts_of
from tests.support.sessions import contents, talked
from turnlog import InvalidInputError, Session


async def test_a_compacted_prompt_starts_from_the_summary(session: Session) -> None:
    await session.add_message("system", "Be brief.")
    for number in range(4):
        await session.say(f"question {number}")
        await session.add_message("assistant", f"answer {number}")
    view = await session.view()
    await session.compact("They asked twice.", view.turns[1].steps[-1].position)
    await session.compact("They asked twice.", view.turns[1].steps[-1].position)
    contents = [message["content"] for message in await session.prompt()]
    assert contents[:3] == ["Be brief.", "They asked twice.", "question 2"]
    assert (await session.view()).version == view.version + 1
    assert (await session.view()).messages == view.messages


async def test_of_two_compactions_the_later_counts_and_an_earlier_one_is_refused(session: Session) -> None:
    await talked(session)
    await session.compact("one", 3)
    assert contents(await session.prompt()) == ["one", "question 1", "answer 1", "question 2", "answer 2"]
    await session.compact("two", 5)
    assert contents(await session.prompt()) == ["two", "question 2", "answer 2"]
    with pytest.raises(InvalidInputError, match=r"^upto: 3 is before 5"):
        await session.compact("three", 3)
    await check_prompts_of(session)


async def test_a_compaction_does_not_cut_a_call_that_waits(
    session: Session,
) -> None:
    await session.say("hi")
    await session.add_message("assistant", None, tool_calls=[call("c1")])
    with pytest.raises(InvalidInputError, match=r"^upto: the step at 3 waits for a tool result$"):
        await session.compact("so far", 3)
    await session.add_tool_result("c1", "it runs", status="pending")
    await session.say("and?")
    with pytest.raises(InvalidInputError, match=r"^upto: the step at 3 is open or waits"):
        await session.compact("so far", 3)
    await session.add_tool_result("c1", "found")
    await session.compact("so far", 3)
    assert contents(await session.prompt()) == ["so far", "and?"]
    await check_prompts_of(session)
