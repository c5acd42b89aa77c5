"""A retry is the same turn: whatever is retried, and in however many processes, a message is answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from tests.support import programs
from tests.support.answering import Gate, asking, brief, calling, said, slow, statuses, told, turns_of, until
from tests.support.processes import Child
from tests.support.writers import die
from turnlog import InvalidInputError, Session, SessionLog, Settings, StepClosedError
from turnlog.domain.step_appends import AppendText
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.store.wire import Answered
from turnlog.testing import Answer, Failure


async def once(session: Session) -> str:
    """What the one message was answered with, in the one turn that there is."""
    (turn,) = await turns_of(session)
    assert len(turn.messages) == 1
    assert turn.status == "finished"
    return str(turn.steps[-1].message.content)


async def test_a_retry_while_it_is_answered_waits_for_that_answer(session: Session, other_log: SessionLog) -> None:
    there = other_log.session(session.id, "u1")
    async with asking([slow("Hello you.")]) as model:
        first = await model.answer(session, "Hi", "m-1").begun()
        retries = [
            model.answer(each, "Hi", "m-1", on_busy=how)
            for each in (session, there)
            for how in ("steer", "queue", "refuse", "stop")
        ]
        outcomes = [await answer for answer in [first, *retries]]
        assert {(outcome.status, outcome.text) for outcome in outcomes} == {("finished", "Hello you.")}
        assert [outcome.is_new for outcome in outcomes] == [True] + [False] * len(retries)
        assert model.asked == 1
    assert await once(session) == "Hello you."


async def test_a_retry_of_what_was_answered_gives_that_answer_and_its_deltas(
    session: Session, other_log: SessionLog
) -> None:
    async with asking([Answer("One."), Answer("Two.")]) as model:
        deltas = [delta async for delta in model.answer(session, "one", "m-1")]
        await model.answer(session, "two", "m-2")
        for each in (session, other_log.session(session.id, "u1")):
            retry = model.answer(each, "one", "m-1")
            assert await told(aiter(retry)) == deltas
            outcome = await retry
            assert (outcome.text, outcome.turn_id, outcome.is_new, retry.is_new) == ("One.", "m-1", False, False)
        assert model.asked == 2
    assert deltas[-1].position < (await session.view()).version


async def test_a_retry_goes_on_with_what_has_failed(session: Session) -> None:
    async with asking([Failure(503), calling("wait"), Failure(503), Answer("Done.")]) as model:
        gate = Gate()
        gate.opened.set()
        assert (await model.answer(session, "Hi", "m-1", tools=[gate.tool])).status == "failed"
        assert (await model.answer(session, "Hi", "m-1", tools=[gate.tool])).status == "failed"
        assert (await model.answer(session, "Hi", "m-1", tools=[gate.tool])).text == "Done."
        assert gate.runs == 1
        assert said(model.prompts[3]) == [("user", "Hi"), ("assistant", None), ("tool", "done")]
    assert await once(session) == "Done."


async def test_retries_of_what_has_failed_at_once_ask_once(session: Session, other_log: SessionLog) -> None:
    there = other_log.session(session.id, "u1")
    async with asking([Failure(503), slow("Done.")]) as model:
        assert (await model.answer(session, "Hi", "m-1")).status == "failed"
        answers = [model.answer(each, "Hi", "m-1") for each in (session, there) * 5]
        assert {outcome.text for outcome in await asyncio.gather(*answers)} == {"Done."}
        assert model.asked == 2


async def test_a_retry_of_what_was_stopped_stays_stopped(session: Session) -> None:
    async with asking([slow()]) as model:
        first = await model.answer(session, "Hi", "m-1").begun()
        await until(lambda: model.asked)
        await session.cancel()
        assert (await first).status == "stopped"
        assert (await model.answer(session, "Hi", "m-1")).status == "stopped"
        assert model.asked == 1


async def test_a_retry_goes_on_with_what_was_abandoned(settings: Settings) -> None:
    gate = Gate()
    async with asking([calling("wait"), Answer("Done.")]) as model, SessionLog.open(brief(settings)) as log:
        session = await log.start_session("u1")
        async with SessionLog.open(brief(settings)) as dead:
            model.answer(dead.session(session.id, "u1"), "Hi", "m-1", tools=[gate.tool])
            await gate.begun.wait()
            await die(dead)
            retries = [model.answer(session, "Hi", "m-1", tools=[gate.tool]) for _ in range(5)]
            assert {outcome.text for outcome in await asyncio.gather(*retries)} == {"Done."}
        assert model.asked == 2
        assert gate.runs == 1


async def test_a_retry_of_a_queued_message_waits_for_its_turn(session: Session, other_log: SessionLog) -> None:
    gate = Gate()
    async with asking([calling("wait"), Answer("One."), Answer("Two.")]) as model:
        first = model.answer(session, "one", "m-1", tools=[gate.tool])
        await gate.begun.wait()
        queued = await model.answer(session, "two", "m-2", on_busy="queue").begun()
        retry = await model.answer(other_log.session(session.id, "u1"), "two", "m-2").begun()
        assert await statuses(session) == ["running_tools", "queued"]
        gate.opened.set()
        assert [(await answer).text for answer in (first, queued, retry)] == ["One.", "Two.", "Two."]
        assert model.asked == 3


async def test_a_retry_of_what_waits_for_a_decision_waits_too(session: Session) -> None:
    async with asking([calling("wait")]) as model:
        specs = [{"type": "function", "function": {"name": "wait", "parameters": {"type": "object"}}}]
        for _ in range(2):
            assert (await model.answer(session, "Hi", "m-1", tools=specs)).status == "waiting"
        assert model.asked == 1


async def test_a_message_that_was_only_said_is_answered_by_its_retry(session: Session) -> None:
    async with asking([Answer("Hello.")]) as model:
        await session.say("Hi", "m-1")
        outcome = await model.answer(session, "Hi", "m-1")
        assert (outcome.text, outcome.is_new) == ("Hello.", False)
    assert await once(session) == "Hello."


async def test_the_id_of_an_answer_is_not_that_of_a_message(session: Session) -> None:
    async with asking([Answer("Hello.")]) as model:
        outcome = await model.answer(session, "Hi")
        with pytest.raises(InvalidInputError, match="message_id"):
            await model.answer(session, "Hi", outcome.turn.steps[0].step_id)
        assert model.asked == 1


@pytest.mark.parametrize("count", [100, pytest.param(1_000, marks=pytest.mark.long)])
async def test_many_retries_over_four_processes_get_one_answer(
    settings: Settings, session: Session, count: int
) -> None:
    async with asking([slow("The one answer.", 0.1)]) as model:
        url = model.provider.base_url
        children = [Child(programs.answer_again, settings, session.id, url, "m-1", count // 4) for _ in range(4)]
        try:
            for child in children:
                assert await child.hear() == "ready"
            for child in children:
                child.say("go")
            outcomes = [outcome for child in children for outcome in await child.hear()]
        finally:
            for child in children:
                child.kill()
        assert len(outcomes) == count
        assert {(status, text) for status, text, _ in outcomes} == {("finished", "The one answer.")}
        assert sum(is_new for _, _, is_new in outcomes) == 1
        assert model.asked == 1
    assert await once(session) == "The one answer."


async def test_what_is_told_of_an_answer_begins_at_what_is_stored(
    session: Session, log: SessionLog, other_log: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are on their way to the store when it begins, and do not come there: somebody stops their answer."""
    there, wire = other_log.session(session.id, "u1"), log._parts.group_commit._wire
    send, late = wire.send, list[asyncio.Task[None]]()

    async def after_a_stop(parameters: Sequence[bytes | None], answered: Answered) -> None:
        await there.cancel()
        send(parameters, answered)

    def send_late(parameters: Sequence[bytes | None], answered: Answered) -> None:
        monkeypatch.undo()
        late.append(asyncio.create_task(after_a_stop(parameters, answered)))

    with suppress(StepClosedError):
        async with asking([Answer("One.")]) as model, session.completion() as completion:
            await completion.text("Let me")
            stored = session._aggregate.stored_version
            monkeypatch.setattr(wire, "send", send_late)
            texts = [session._aggregate.submit(AppendText(now(), completion.step_id, "see")) for _ in range(3)]
            positions = [delta.position async for delta in model.answer(session, "one")]
            assert positions[0] == stored + 3  # after the end of the step, and the message
            assert [type(error) for error in await asyncio.gather(*texts, return_exceptions=True)] == [
                StepClosedError
            ] * 3
    assert len(late) == 1
