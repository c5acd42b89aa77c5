"""Which session a request belongs to: by what was said, by a name, and never by chance."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import openai
import pytest

from tests.support.proxied import Proxied, all_of, texts
from turnlog.testing import Answer, Failure, FakeProvider

HELLO = [{"role": "user", "content": "Hello"}]


def after(*said: str) -> list[dict[str, Any]]:
    """A conversation of these messages, in turn the user's and the assistant's."""
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]


async def ask(proxy: Proxied, *said: str, user: str = "u1", system: str | None = None, **options: Any) -> str:
    """Asks in a new connection, as another process would; the session's id."""
    messages = after(*said)
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    async with proxy.openai(user) as client:
        raw = await client.chat.completions.with_raw_response.create(model="m", messages=messages, **options)
        return raw.headers["x-turnlog-session"]


async def test_conversations_that_begin_alike_are_two_until_an_answer_tells_them_apart(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(Answer("Hi!"), Answer("Hi there!"), Answer("one"), Answer("two"))
    first, second = await ask(proxy, "Hello"), await ask(proxy, "Hello")
    assert first != second
    assert await ask(proxy, "Hello", "Hi there!", "go on") == second
    assert await ask(proxy, "Hello", "Hi!", "go on") == first


async def test_conversations_whose_answers_are_alike_too_do_not_get_into_each_other(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(*[Answer("Hi!")] * 3, *[Answer("ok")] * 4)
    made = {await ask(proxy, "Hello") for _ in range(3)}
    went_on = [await ask(proxy, "Hello", "Hi!", f"question {number}") for number in range(4)]
    assert set(went_on[:3]) == made
    assert went_on[3] not in made  # a fork: all that were there had gone on
    for number, session_id in enumerate(went_on):
        session = proxy.log.session(session_id, "u1")
        assert [text for _, text in await proxy.said(session)] == ["Hello", "Hi!", f"question {number}", "ok"]


async def test_the_same_system_message_is_preferred_and_another_one_is_no_other_conversation(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(*[Answer("yes")] * 2, *[Answer("ok")] * 3)
    sides = {name: await ask(proxy, "Well?", system=name) for name in ("for", "against")}
    assert await ask(proxy, "Well?", "yes", "Why?", system="for") == sides["for"]
    assert await ask(proxy, "Well?", "yes", "Why?", "ok", "So?", system="for, at noon") == sides["for"]
    assert await ask(proxy, "Well?", "yes", "Why not?", system="against") == sides["against"]


async def test_an_edit_is_a_fork_where_it_differs(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Answer("a1"), Answer("a2"), Answer("a3"), Answer("a4"))
    told = await ask(proxy, "q1")
    assert await ask(proxy, "q1", "a1", "q2") == told
    edited = await ask(proxy, "q1", "a1", "q2, but otherwise")
    assert edited != told
    assert [text for _, text in await proxy.said(proxy.log.session(edited, "u1"))] == [
        "q1", "a1", "q2, but otherwise", "a3",
    ]  # fmt: skip
    assert [text for _, text in await proxy.said(proxy.log.session(told, "u1"))] == ["q1", "a1", "q2", "a2"]
    assert await ask(proxy, "q1", "a1", "q2, but otherwise", "a3", "q3") == edited


async def test_an_answer_that_is_wanted_anew_is_a_fork_and_leaves_the_first(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(Answer("a1"), Answer("a2"), Answer("another"))
    told = await ask(proxy, "q1")
    await ask(proxy, "q1", "a1", "q2")
    anew = await ask(proxy, "q1", "a1", "q2")
    assert [text for _, text in await proxy.said(proxy.log.session(anew, "u1"))] == ["q1", "a1", "q2", "another"]
    assert [text for _, text in await proxy.said(proxy.log.session(told, "u1"))] == ["q1", "a1", "q2", "a2"]


async def test_a_request_that_is_asked_again_after_it_failed_goes_on_in_its_session(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(Failure(500), Answer("a1"), Failure(429), Answer("a2"))
    with pytest.raises(openai.InternalServerError):
        await ask(proxy, "q1")
    first = await ask(proxy, "q1")
    with pytest.raises(openai.RateLimitError):
        await ask(proxy, "q1", "a1", "q2")
    assert await ask(proxy, "q1", "a1", "q2") == first
    session = await proxy.only_session()
    assert [text for _, text in await proxy.said(session)] == ["q1", "a1", "q2", "a2"]
    assert [[step.status for step in turn.steps] for turn in (await session.view()).turns] == [
        ["failed", "finished"], ["failed", "finished"],
    ]  # fmt: skip


async def test_nobody_elses_conversation_goes_on(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Answer("a1"), Answer("a2"), Answer("a3"))
    mine = await ask(proxy, "q1")
    theirs = await ask(proxy, "q1", "a1", "q2", user="u2")
    assert theirs != mine
    assert await ask(proxy, "q1", "a1", "another question") == mine  # nor is it in the way
    assert [text for _, text in await proxy.said(proxy.log.session(theirs, "u2"))] == ["q1", "a1", "q2", "a2"]
    assert len(await proxy.said(await proxy.only_session())) == 4


async def test_a_named_conversation_is_found_by_its_name_whatever_is_sent_of_it(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(*[Answer(f"a{number}") for number in range(1, 6)])
    named = {"extra_headers": {"x-turnlog-session": "thread 42"}}
    told = await ask(proxy, "q1", **named)
    assert await ask(proxy, "q1", "a1", "q2", **named) == told
    assert await ask(proxy, "q2", "a2", "q3", **named) == told  # a window: the beginning is left out
    assert [text for _, text in await proxy.said(await proxy.only_session())] == ["q1", "a1", "q2", "a2", "q3", "a3"]
    edited = await ask(proxy, "q1", "a1", "q2, but otherwise", **named)
    assert await ask(proxy, "q1", "a1", "q2, but otherwise", "a4", "q5", **named) == edited != told


async def test_a_session_is_named_by_its_id_and_only_by_its_owner(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Answer("a1"), Answer("a2"))
    session = await proxy.log.start_session("u1")
    await session.say("from elsewhere")
    by_id = {"extra_headers": {"x-turnlog-session": str(session.id)}}
    assert await ask(proxy, "q1", **by_id) == str(session.id)
    assert [text for _, text in await proxy.said(session)] == ["from elsewhere", "q1", "a1"]
    for given, user in ((by_id, "u2"), ({"extra_headers": {"x-turnlog-session": str(uuid4())}}, "u1")):
        with pytest.raises(openai.NotFoundError, match="There is no such session"):
            await ask(proxy, "q1", user=user, **given)
    assert len(provider.requests) == 1


async def test_the_name_may_stand_in_the_metadata_and_is_not_sent_on(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Answer("a1"), Answer("a2"))
    first = await ask(proxy, "q1", metadata={"turnlog_session": "thread 7", "topic": "x"})
    assert await ask(proxy, "another question", metadata={"turnlog_session": "thread 7"}) == first
    assert [request.get("metadata") for request in provider.requests] == [{"topic": "x"}, None]


async def test_answers_that_were_not_recorded_are_kept_as_they_came(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Answer("a3"))
    async with proxy.openai() as client:
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages: list[Any] = [
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
        ]
        assert (
            texts(await all_of(await client.chat.completions.create(model="m", messages=messages, stream=True))) == "a3"
        )
    session = await proxy.only_session()
    assert [role for role, _ in await proxy.said(session)] == ["user", "assistant", "tool", "assistant"]
    assert not (await session.view()).faults


async def test_a_session_that_was_deleted_does_not_go_on(proxy: Proxied, provider: FakeProvider) -> None:
    provider.add(Answer("a1"), Answer("a2"), Answer("a3"))
    first = await ask(proxy, "q1")
    await proxy.log.delete_session(first, "u1")
    second = await ask(proxy, "q1", "a1", "q2")
    assert second != first
    assert [text for _, text in await proxy.said(proxy.log.session(second, "u1"))] == ["q1", "a1", "q2", "a2"]


async def test_requests_of_one_conversation_at_the_same_time_are_answered_each_for_itself(
    proxy: Proxied, provider: FakeProvider
) -> None:
    provider.add(Answer("a1"), *[Answer(["x", "y"], delay=0.1)] * 3)
    told = await ask(proxy, "q1")
    made = await asyncio.gather(*(ask(proxy, "q1", "a1", "q2") for _ in range(3)))
    assert len(set(made)) == 3
    assert told in made
    for session_id in made:
        assert [text for _, text in await proxy.said(proxy.log.session(session_id, "u1"))] == ["q1", "a1", "q2", "xy"]
