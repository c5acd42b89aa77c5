"""A message that comes while a turn is in hand: what becomes of it, and that it is not left unanswered."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import programs
from tests.support.answering import Gate, asking, brief, calling, said, slow, statuses, turns_of, until
from tests.support.processes import Child
from tests.support.writers import die
from turnlog import SYSTEM, Session, SessionLog, Settings, ToolContext, TurnInProgressError
from turnlog.testing import Answer, Failure, Request


def echo(request: Request) -> Answer:
    """Answers with what the user has said last."""
    return Answer(f"You said: {[m['content'] for m in request['messages'] if m['role'] == 'user'][-1]}", delay=0.02)


@pytest.fixture(params=["one log", "two logs"])
async def elsewhere(request: pytest.FixtureRequest, session: Session, other_log: SessionLog) -> Session:
    """The session as a second handler has it: of the same process, or of another."""
    return session if request.param == "one log" else other_log.session(session.id, "u1")


async def test_a_queued_message_has_a_turn_of_its_own_after_the_one_in_hand(
    session: Session, elsewhere: Session
) -> None:
    async with asking(echo, pace=0.2) as model:
        first = model.answer(session, "one", "m-1")
        await first.begun()
        others = [
            await model.answer(elsewhere, text, f"m-{text}", on_busy="queue").begun() for text in ("two", "three")
        ]
        assert (await statuses(session))[-1] == "queued"
        assert [(await answer).text for answer in (first, *others)] == [
            "You said: one",
            "You said: two",
            "You said: three",
        ]
        assert model.asked == 3
        assert [len(prompt) for prompt in model.prompts] == [1, 3, 5]
        again = await model.answer(session, "two", "m-two")
        assert (again.text, again.is_new) == ("You said: two", False)
        assert model.asked == 3
    assert [(turn.turn_id, turn.status) for turn in await turns_of(session)] == [
        ("m-1", "finished"),
        ("m-two", "finished"),
        ("m-three", "finished"),
    ]


async def test_a_steered_message_is_in_the_next_request_behind_the_results(
    session: Session, elsewhere: Session
) -> None:
    gate = Gate("sunny")
    async with asking([calling("wait"), Answer("Both.")]) as model:
        first = model.answer(session, "one", tools=[gate.tool])
        await gate.begun.wait()
        second = await model.answer(elsewhere, "two").begun()
        assert await statuses(session) == ["running_tools"]
        gate.opened.set()
        assert (await first).text == (await second).text == "Both."
        assert said(model.prompts[1])[-2:] == [("tool", "sunny"), ("user", "two")]
    assert await statuses(session) == ["finished"]


async def test_a_refused_message_is_not_stored(session: Session, elsewhere: Session) -> None:
    gate = Gate()
    async with asking([calling("wait"), Answer("One."), Answer("Two.")]) as model:
        first = model.answer(session, "one", "m-1", tools=[gate.tool])
        await gate.begun.wait()
        with pytest.raises(TurnInProgressError) as refused:
            await model.answer(elsewhere, "two", "m-2", on_busy="refuse")
        assert refused.value.turn_id == "m-1"
        again = model.answer(elsewhere, "one", "m-1", on_busy="refuse")
        gate.opened.set()
        assert (await first).text == (await again).text == "One."
        assert (await model.answer(elsewhere, "two", "m-2", on_busy="refuse")).is_new
    assert [len(turn.messages) for turn in await turns_of(session)] == [1, 1]


async def test_a_message_that_stops_ends_the_turn_in_hand_and_keeps_its_partial(
    session: Session, elsewhere: Session
) -> None:
    async with asking([slow(delay=0.1), Answer("Two it is.")]) as model:
        first = model.answer(session, "one")
        async for delta in first:
            if delta.kind == "text":
                break
        second = model.answer(elsewhere, "two", on_busy="stop")
        async with asyncio.timeout(2):
            outcomes = [await first, await second]
        assert [outcome.status for outcome in outcomes] == ["stopped", "finished"]
        assert outcomes[0].text.startswith("one")
        assert said(model.prompts[1]) == [("user", "one"), ("assistant", outcomes[0].text), ("user", "two")]
    assert await statuses(session) == ["stopped", "finished"]


@pytest.mark.parametrize("how", ["fails", "is stopped"])
async def test_a_queued_message_is_answered_when_the_turn_before_it(
    session: Session, other_log: SessionLog, how: str
) -> None:
    async with asking([Failure(500, delay=0.3) if how == "fails" else slow(), Answer("Two.")]) as model:
        first = await model.answer(session, "one").begun()
        assert await other_log.session(session.id, "u1").say("two", "m-2", on_busy="queue") == "m-2"
        if how == "is stopped":
            await session.cancel()
        assert (await first).status == ("failed" if how == "fails" else "stopped")
        await until(lambda: model.asked == 2)
        assert (await model.answer(session, "two", "m-2")).text == "Two."
        assert model.asked == 2


async def test_a_message_that_comes_while_the_turn_is_failing_is_answered_all_the_same(session: Session) -> None:
    async with asking([Failure(500, delay=0.3), Answer("Both.")]) as model:
        first = model.answer(session, "one")
        await until(lambda: model.asked)
        second = model.answer(session, "two")
        assert (await first).status == "failed"
        assert (await second).text == "Both."
        assert model.asked == 2


@pytest.mark.parametrize("on_busy", ["steer", "queue"])
async def test_whoever_waits_goes_on_when_the_owner_dies(settings: Settings, on_busy: str) -> None:
    async with asking(echo) as model, SessionLog.open(brief(settings)) as log, SessionLog.open(brief(settings)) as dead:
        session = await log.start_session("u1")
        gate = Gate()
        async with asking(lambda request: calling("wait") if len(request["messages"]) == 1 else echo(request)) as other:
            lost = other.answer(dead.session(session.id, "u1"), "one", "m-1", tools=[gate.tool])
            await gate.begun.wait()
            second = model.answer(session, "two", "m-2", on_busy=on_busy)
            await second.begun()
            await die(dead)
            outcome = await second
            assert (outcome.status, outcome.text) == ("finished", "You said: two")
            assert (await lost).status == "finished"  # it lives on, and has learnt who has its turn
            assert model.asked + other.asked == (2 if on_busy == "steer" else 3)
        assert {turn.status for turn in await turns_of(session)} == {"finished"}


async def test_a_queued_message_whose_sender_and_owner_died_is_gone_on_with(settings: Settings) -> None:
    places = brief(settings)
    async with asking(lambda request: calling("wait") if len(request["messages"]) == 1 else echo(request)) as model:
        async with SessionLog.open(places) as log:
            session = await log.start_session("u1")
            url = model.provider.base_url
            with Child(programs.answer, places, session.id, url, {"message": "one", "message_id": "m-1"}) as owner:
                await owner.until("tool")
                await session.say("two", "m-2", on_busy="queue")
                owner.kill()
            await asyncio.sleep(places.lease_seconds)
            outcomes = await log.resume(lambda found: model.answer(found, tools=[Gate().tool]))
            await until(lambda: model.asked == 3)
            assert (await model.answer(session, "two", "m-2")).text == "You said: two"
            assert [outcome.status for outcome in outcomes] == ["finished"]
            assert await statuses(session) == ["finished", "finished"]
            assert not await log.unfinished_turns(SYSTEM)
        assert model.asked == 3


async def test_messages_of_four_processes_at_once_are_all_answered_once(settings: Settings, session: Session) -> None:
    async with asking(echo) as model:
        children = [
            Child(programs.answer_all, settings, session.id, model.provider.base_url, f"p{number}", 5)
            for number in range(4)
        ]
        try:
            for child in children:
                assert await child.hear() == "ready"
            for child in children:
                child.say("go")
            outcomes = [await child.hear() for child in children]
        finally:
            for child in children:
                child.kill()
        assert {status for each in outcomes for status, *_ in each} == {"finished"}
        turns = await turns_of(session)
        assert sorted(m.message_id for turn in turns for m in turn.messages) == sorted(
            f"p{number}-{message}" for number in range(4) for message in range(5)
        )
        assert {turn.status for turn in turns} == {"finished"}
        steps = [step for turn in turns for step in turn.steps]
        # A step that a closing log has opened, and no more, was not asked for.
        assert sum(step.status == "finished" for step in steps) <= model.asked <= len(steps)


async def test_a_tool_can_send_a_message_of_its_own(session: Session) -> None:
    async def note(context: ToolContext) -> str:
        await context.session.say("By the way.")
        return "noted"

    async with asking([calling("note"), Answer("I see.")]) as model:
        assert (await model.answer(session, "Hi", tools=[note])).text == "I see."
        assert said(model.prompts[1])[-2:] == [("tool", "noted"), ("user", "By the way.")]


async def test_many_messages_during_one_request_share_the_next_one(session: Session, other_log: SessionLog) -> None:
    there = other_log.session(session.id, "u1")
    async with asking([slow(delay=0.2), Answer("All.")]) as model:
        answers = [await model.answer(session, "0").begun()]
        await until(lambda: model.asked)
        for number in range(1, 9):
            answers += [await model.answer(session if number % 2 else there, str(number)).begun()]
        assert {outcome.status for outcome in await asyncio.gather(*answers)} == {"finished"}
        assert model.asked == 2
        assert [content for role, content in said(model.prompts[1]) if role == "user"] == [str(n) for n in range(9)]
