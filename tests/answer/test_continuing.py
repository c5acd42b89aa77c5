"""An answer that breaks in the middle, and that its provider goes on with."""

from __future__ import annotations

from typing import Any

import pytest
from openai import AsyncOpenAI

from turnlog import InvalidInputError, Session
from turnlog.testing import Answer, FakeProvider
from turnlog.testing import ToolCall as Call

BROKEN = Answer(["Hel", "lo ", "wor"], fails_after=3)


async def answered(session: Session, *answers: Any, **options: Any) -> tuple[Any, list[Any]]:
    """The outcome, and the requests."""
    # A prompt that ends with the assistant is refused by most providers: not by those that continue.
    async with FakeProvider(answers, strict=False) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="none", max_retries=0) as client:
            outcome = await session.answer(client, model="m", message="Hi", attempts=3, **options)
        return outcome, provider.requests


@pytest.mark.parametrize(("dialect", "mark"), [("deepseek", "prefix"), ("moonshot", "partial"), ("vllm", None)])
async def test_a_provider_that_can_goes_on_where_its_stream_broke(session: Session, dialect: Any, mark: str) -> None:
    outcome, requests = await answered(session, BROKEN, Answer("ld"), on_break="continue", dialect=dialect)
    assert outcome.status == "finished"
    last = requests[1]["messages"][-1]
    assert (last["role"], last["content"]) == ("assistant", "Hello wor")
    assert (last.get(mark) is True) == (mark is not None)
    assert requests[1].get("continue_final_message") == (True if dialect == "vllm" else None)
    first, second = outcome.turn.steps
    assert (first.status, second.status, second.continues) == ("failed", "finished", first.step_id)
    expected = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello world"}]
    assert await session.prompt() == (await session.view()).messages == expected


async def test_what_cannot_be_gone_on_with_is_made_again(session: Session) -> None:
    calls = Answer(tool_calls=[Call("find", '{"q": 1}')], fails_after=2)
    outcome, requests = await answered(session, calls, Answer("Hello."), on_break="continue", dialect="vllm")
    assert (outcome.status, outcome.text) == ("finished", "Hello.")
    assert requests[1]["messages"] == [{"role": "user", "content": "Hi"}]
    assert outcome.turn.steps[1].supersedes == outcome.turn.steps[0].step_id


async def test_an_answer_that_is_made_again_supersedes_the_partial_one(session: Session) -> None:
    outcome, requests = await answered(session, BROKEN, BROKEN, Answer("Hello."), on_break="again")
    assert (outcome.status, len(requests)) == ("finished", 3)
    assert await session.prompt() == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]


async def test_an_answer_that_breaks_too_often_has_failed_and_its_text_stays(session: Session) -> None:
    outcome, requests = await answered(session, BROKEN, BROKEN, BROKEN, on_break="again")
    assert (outcome.status, outcome.text, len(requests)) == ("failed", "Hello wor", 3)
    await session.say("And?")
    assert [message["content"] for message in await session.prompt()] == ["Hi", "Hello wor", "And?"]


async def test_a_dialect_has_to_be_named(session: Session) -> None:
    with pytest.raises(InvalidInputError, match=r"^dialect: is missing.*deepseek"):
        await answered(session, on_break="continue")
    with pytest.raises(InvalidInputError, match=r"^dialect: "):
        await answered(session, on_break="continue", dialect="openai")
