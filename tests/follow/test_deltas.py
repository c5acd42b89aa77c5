"""What a client is told: a view at any position and the deltas after it are the view at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.followers import to_the_end
from tests.support.page import Page
from tests.support.recording import played, record_texts
from turnlog import Session, SessionLog, Settings
from turnlog.infrastructure.follow import live
from turnlog.infrastructure.testing import own_corpus
from turnlog.projections.deltas import SessionGone, delta_of
from turnlog.projections.offsets import Offsets
from turnlog.projections.projector import Projector

SOON = 10.0


async def everything(log: SessionLog) -> Session:
    """A session with every kind of block in it, the last of them in a step that is still open."""
    session = await log.start_session("u1")
    await session.say("Hello")
    wanted = ("interleaved-tool-calls", "reasoning-then-text", "refusal", "legacy-function-call", "name-continued")
    for stream in own_corpus():
        if stream.name in {*wanted, "emoji-split-over-deltas", "lone-surrogate", "nul-in-text"}:
            async for _ in session.record(played(*stream.parsed())):
                pass
    for call in (await session.view()).pending_tool_calls:
        await session.add_tool_result(call.id, "started", status="pending")
        await session.add_tool_result(call.id, "done")
    await session.add_message("assistant", "That is all.")
    await session.set_title("A title")
    return session


async def test_a_view_at_any_position_and_the_deltas_after_it_are_the_view_at_the_end(
    log: SessionLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a client comes back in the middle of a block, of which the process that it asks knows nothing."""
    monkeypatch.setattr(live, "EARLIER_PAGE_EVENTS", 7)  # so that what came before is read in several pages
    session = await everything(log)
    events = [event async for event in session.events()]
    whole = Page(await session.view())
    always = [delta async for delta in session.deltas(until_turn_ends=True)]
    async with SessionLog.open(settings) as other, asyncio.timeout(4 * SOON):
        theirs = other.session(session.id, "u1")
        for cut in range(1, len(events)):
            page = Page(Projector(session.id).apply_all(events[:cut]).view())
            deltas = [delta async for delta in theirs.deltas(after=cut, until_turn_ends=True)]
            for delta in deltas:
                page.tell(delta)
            assert [delta.position for delta in deltas] == list(range(cut + 1, len(events) + 1))
            assert deltas == always[cut:]
            assert page.shown() == whole.shown()


async def test_a_live_page_loses_and_repeats_nothing_whenever_it_is_opened(
    session: Session, log: SessionLog, settings: Settings
) -> None:
    async def look(theirs: Session, moment: float) -> Page:
        await asyncio.sleep(moment)
        async with theirs.live(until_turn_ends=True) as opened:
            page = Page(opened.view)
            async for delta in opened:
                page.tell(delta)
        return page

    await session.say("Count.")
    async with SessionLog.open(settings) as other, asyncio.timeout(3 * SOON):
        theirs = other.session(session.id, "u1")
        looking = [asyncio.create_task(look(theirs, 0.01 * number)) for number in range(40)]
        await record_texts(session, *(f"{number} " for number in range(150)), pause=0.003)
        pages = await asyncio.gather(*looking)
        assert other._parts.watcher._sources == {}
    whole = Page(await session.view())
    assert [page.shown() == whole.shown() for page in pages] == [True] * 40


async def test_a_delta_is_a_server_sent_event_with_its_position_as_the_id(session: Session) -> None:
    await session.say("Hello")
    await record_texts(session, "Hel\nlo ", "\ud83d", "\ude00 \0")
    events = await to_the_end(session)
    offsets = Offsets()
    sent = [delta_of(event, offsets.take(event)).to_sse() for event in events]
    assert [text.split("\n")[0] for text in sent] == [f"id: {event.position}" for event in events]
    assert all(text.endswith("\n\n") and text.count("\n") == 4 for text in sent)
    data = [json.loads(text.split("\n")[2].removeprefix("data: ")) for text in sent]
    assert [(one["kind"], one["offset"], one["text"]) for one in data if one["kind"] == "text"] == [
        ("text", 0, "Hel\nlo "),
        ("text", 7, "\ud83d"),
        ("text", 8, "\ude00 \0"),
    ]
    "".join(sent).encode()  # an answer of a web server is UTF-8


async def test_a_delta_call_that_timed_out_has_taken_nothing(session: Session) -> None:
    deltas, positions = session.deltas(), []
    recording = asyncio.create_task(record_texts(session, *"abcdefgh", pause=0.02))
    async with asyncio.timeout(SOON):
        while len(positions) < 11:
            try:
                positions.append((await asyncio.wait_for(anext(deltas), 0.005)).position)
            except TimeoutError:
                continue
    await recording
    assert positions == list(range(1, 12))


async def test_the_deltas_of_a_deleted_session_end(session: Session, log: SessionLog) -> None:
    deltas = session.deltas()
    await anext(deltas)
    assert await log.delete_session(session.id, "u1")
    async with asyncio.timeout(SOON):
        assert [type(delta) for delta in [delta async for delta in deltas]] == [SessionGone]


async def test_a_call_that_is_cancelled_while_it_looks_back_has_taken_nothing(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, may_go_on, pages_back = asyncio.Event(), asyncio.Event(), log._parts.store.events.pages_back

    async def slow(*args: Any) -> AsyncIterator[Any]:
        looking.set()
        await may_go_on.wait()
        async for page in pages_back(*args):
            yield page

    async with session.completion() as answer:
        for fragment in ("a", "b", "c"):
            await answer.text(fragment)
        deltas = session.deltas(after=3)
        monkeypatch.setattr(log._parts.store.events, "pages_back", slow)
        task = asyncio.create_task(anext(deltas))
        await asyncio.wait_for(looking.wait(), 5)
        task.cancel()
        await asyncio.wait([task])
        may_go_on.set()
        delta: Any = await asyncio.wait_for(anext(deltas), 5)
    assert (delta.position, delta.offset, delta.text) == (4, 1, "b")
