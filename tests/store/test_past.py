"""A log that went back gives its positions out again. What is cached, remembered and held by then rests on events that
are gone, and nobody may be told what the log does not hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.answering import asking
from tests.support.restores import Backup
from tests.support.sessions import answer, contents, talked
from turnlog import (
    InvalidInputError,
    Session,
    SessionLog,
    Settings,
    StepClosedError,
    StoreUnavailableError,
    UnknownPositionError,
)
from turnlog.infrastructure.answer.answer import Answer
from turnlog.infrastructure.follow import poll_loop, source
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import build_prompt

CUT = pytest.mark.parametrize("cut", [True, False], ids=["reconnects", "same connections"])


async def folded(session: Session) -> Projector:
    """The session by its events alone, which have no gap."""
    events = [event async for event in session.events()]
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    return Projector(session.id).apply_all(events)


async def check_all_answers(log: SessionLog, settings: Settings, session: Session) -> None:
    """Every answer is the fold of the log: of this process, which remembers, and of one that has only Redis."""
    async with SessionLog.open(settings) as other:
        for one in (session, log.session(session.id, "u1"), other.session(session.id, "u1")):
            expected = await folded(one)
            assert (await one.view()).messages == expected.view().messages
            for api in ("chat", "anthropic", "responses"):
                assert await one.prompt(api) == build_prompt(expected.turns(), api)  # type: ignore[call-overload]
            assert await one.prompt(max_tokens=10_000) == await one.prompt()


@CUT
@pytest.mark.parametrize("later", [0, 1, 2, 5])
async def test_answers_of_a_past_that_is_gone_are_not_given(
    log: SessionLog, settings: Settings, cut: bool, later: int
) -> None:
    session = await talked(await log.start_session("u1"))
    backup = Backup(settings)
    for number in range(2):
        await session.say(f"lost {number}")
        await session.prompt(), await session.view()
    await asyncio.sleep(0.2)  # now both are in Redis
    backup.restore(cut=cut)

    async with SessionLog.open(settings.model_copy(update={"redis_url": "none"})) as writer:
        for number in range(later):
            await writer.session(session.id, "u1").say(f"kept {number}")
    await check_all_answers(log, settings, session)
    assert not any("lost" in str(text) for text in contents((await session.view()).messages))


@CUT
async def test_a_retry_of_what_was_lost_is_stored_again(log: SessionLog, settings: Settings, cut: bool) -> None:
    session = await talked(await log.start_session("u1"))
    backup = Backup(settings)
    for _ in range(2):
        await session.say("pay", message_id="m-pay")
        await session.increment("runs", "one", id="i-1")
        await session.add_usage(prompt_tokens=5, id="u-1")
        if _ == 0:
            backup.restore(cut=cut)

    view = await session.view()
    assert (contents(view.messages).count("pay"), view.counters["runs"]["one"], view.usage.prompt_tokens) == (1, 1, 5)
    await check_all_answers(log, settings, session)


@CUT
@pytest.mark.parametrize("others", [False, True], ids=["alone", "after another's event"])
async def test_no_append_leaves_a_gap_after_what_was_lost(
    log: SessionLog, settings: Settings, cut: bool, others: bool
) -> None:
    session = await talked(await log.start_session("u1"))
    other = await talked(await log.start_session("u1"))
    backup = Backup(settings)
    async with SessionLog.open(settings) as second:
        theirs = second.session(session.id, "u1")
        for number in range(3):
            await session.say(f"lost {number}")
        if others:
            await theirs.say("lost, of another process")
            await session.view()
        backup.restore(cut=cut)
        await asyncio.gather(*(one.say("kept") for one in (session, theirs, other)))
        await asyncio.gather(*(answer(one, "Hel", "lo") for one in (session, other)))
        await check_all_answers(log, settings, session)
        assert contents((await session.view()).messages).count("kept") == 2
        assert contents((await other.view()).messages)[-2:] == ["kept", "Hello"]


@CUT
async def test_a_step_that_was_lost_cannot_be_written_on(log: SessionLog, settings: Settings, cut: bool) -> None:
    session = await talked(await log.start_session("u1"))
    backup = Backup(settings)
    completion = session.completion()
    await completion.__aenter__()
    await completion.text("Hel")
    backup.restore(cut=cut)
    with pytest.raises(StepClosedError):
        await completion.text("lo")
    await check_all_answers(log, settings, session)


async def test_a_kept_view_of_another_past_is_folded_anew(log: SessionLog, settings: Settings) -> None:
    session = await talked(await log.start_session("u1"))
    backup = Backup(settings)
    for number in range(300):  # enough to be kept
        await session.say(f"lost {number}")
    await log.rebuild_views()
    backup.restore(except_for=("turnlog_heads", "turnlog_pages"))
    without_cache = settings.model_copy(update={"redis_url": "none"})
    async with SessionLog.open(without_cache) as later:
        mine = later.session(session.id, "u1")
        for number in range(300):
            await mine.say(f"kept {number}")
        await check_all_answers(later, without_cache, mine)


@CUT
async def test_a_follower_is_told_that_the_log_went_back(log: SessionLog, settings: Settings, cut: bool) -> None:
    session = await talked(await log.start_session("u1"))
    backup = Backup(settings)
    seen = list[Any]()

    async def follow() -> None:
        async for event in session.follow(after=7):
            seen.append(event)

    following = asyncio.create_task(follow())
    for number in range(3):
        await session.say(f"lost {number}")
    while len(seen) < 3:
        await asyncio.sleep(0.01)
    backup.restore(cut=cut)
    async with SessionLog.open(settings) as writer:
        for number in range(4):
            await writer.session(session.id, "u1").say(f"kept {number}")
    with pytest.raises(UnknownPositionError) as refused:
        await asyncio.wait_for(following, 10)
    assert (refused.value.position, refused.value.last >= 7) == (10, True)
    assert len(seen) == 3


@pytest.mark.parametrize("kept", [0, 4], ids="{} written since".format)
async def test_a_follower_that_is_behind_is_given_nothing_of_two_pasts(
    log: SessionLog, settings: Settings, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """It reads the log by itself, before the reader for all followers has found out."""
    monkeypatch.setattr(source, "FOLLOW_PAGE_EVENTS", 2)
    for pause in ("SAFETY_SECONDS", "FIRST_PAUSE", "LAST_PAUSE"):
        monkeypatch.setattr(poll_loop, pause, 60.0)
    session = await log.start_session("u1")
    await session.say("one")
    backup = Backup(settings)
    for number in range(6):
        await session.say(f"lost {number}")
    following = await session.follow().begun()
    seen = [await anext(following) for _ in range(2 if not kept else 4)]
    async with SessionLog.open(settings.model_copy(update={"redis_url": "none"})) as writer:  # nobody here is told
        await asyncio.sleep(0.3)  # by now the reader has looked for the last time
        backup.restore(cut=False)
        for number in range(kept):
            await writer.session(session.id, "u1").say(f"kept {number}")

    async def follow() -> None:
        async for event in following:
            seen.append(event)  # noqa: PERF401 what came before an error is kept

    with pytest.raises(UnknownPositionError):
        await asyncio.wait_for(follow(), 10)
    texts = [getattr(event.event, "content", None) for event in seen]
    assert [text for text in texts if str(text).startswith("kept")] == []
    assert [event.position for event in seen] == list(range(1, len(seen) + 1))


async def test_an_answer_whose_message_is_lost_says_that_the_log_went_back_and_may_be_asked_for_again(
    log: SessionLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await talked(await log.start_session("u1"))
    backup, found, times = Backup(settings), Answer._found, iter((True, False))

    async def found_later(answer: Answer) -> Any:
        if next(times, False):
            backup.restore(cut=False)
        return await found(answer)

    monkeypatch.setattr(Answer, "_found", found_later)
    monkeypatch.setattr(Answer, "_run_owner", lambda *_: asyncio.sleep(0))  # the message alone is stored
    async with asking() as model:
        with pytest.raises(StoreUnavailableError, match="the log went back"):
            await model.answer(session, "Hi", "m-1")
        monkeypatch.undo()
        assert (await model.answer(session, "Hi", "m-1")).status == "finished"


async def test_a_cursor_that_the_session_does_not_have_is_refused(session: Session) -> None:
    await session.say("hi")
    for ask in (session.follow, session.deltas, session.events):
        with pytest.raises(UnknownPositionError, match="its last one is 2"):
            async for _ in ask(3):
                pass
    assert [event.position async for event in session.events(2)] == []


async def test_a_cursor_names_the_event_and_is_refused_after_the_log_went_back(
    log: SessionLog, settings: Settings
) -> None:
    session = await talked(await log.start_session("u1"))
    backup = Backup(settings)
    deltas = session.deltas()
    await session.say("lost")
    for _ in range(8):
        await anext(deltas)
    cursor = deltas.cursor
    assert cursor.startswith("8-")
    await session.say("more")
    assert [event.position async for event in session.events(cursor)] == [9]
    assert (await anext(session.deltas(cursor))).position == 9

    backup.restore()
    for number in range(5):
        await log.session(session.id, "u1").say(f"kept {number}")
    assert [event.position async for event in session.events(8)] == [9, 10, 11, 12]
    for ask in (session.events, session.follow, session.deltas):
        with pytest.raises(UnknownPositionError, match="no position 8 that a reader has seen"):
            await anext(aiter(ask(cursor)))


@pytest.mark.parametrize(
    "after", ["", "-", "8-", "-1", "x", "8-xyz", "1" * 5_000, "8 ", "\u0668", "8-0x1", b"8", None, 1.0, -1]
)
async def test_what_is_no_cursor_is_refused(session: Session, after: Any) -> None:
    for ask in (session.events, session.follow, session.deltas):
        with pytest.raises(InvalidInputError, match=r"^after: "):
            await anext(aiter(ask(after)))
