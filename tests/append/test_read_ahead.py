"""A provider's stream is read ahead of its consumer by a little, and commits are shared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.recording import numbers, show, text_of
from tests.support.sessions import last_step
from turnlog import Session, SessionLog, Settings


async def test_a_stream_at_full_speed_shares_its_commits_between_many_chunks(log: SessionLog) -> None:
    session = await log.start_session("u1")
    before, said = log.writer_statistics.commits, list[str]()
    await show(session.record(numbers(1000, [])), said)
    assert log.writer_statistics.commits - before < 1000 / 5
    assert said == [f"{number} " for number in range(1000)]
    assert (await last_step(session)).message.content == "".join(said)


@pytest.mark.parametrize("enough", [1, 8, 15, 40, 200, 1500])
async def test_little_more_is_recorded_than_a_consumer_that_leaves_was_shown(log: SessionLog, enough: int) -> None:
    session, said, read = await log.start_session("u1"), list[str](), list[int]()
    await show(session.record(numbers(100_000, read)), said, enough)
    content = str((await last_step(session)).message.content)
    assert content.startswith("".join(said))
    assert content == "".join(f"{number} " for number in range(len(content.split())))
    assert enough <= len(content.split()) <= len(read) <= enough + min(enough // 16, 64)


async def test_without_reading_ahead_what_is_recorded_is_what_was_shown(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"read_ahead_chunks": 0})) as log:
        session, said = await log.start_session("u1"), list[str]()
        await show(session.record(numbers(100_000, [])), said, 300)
        assert (await last_step(session)).message.content == "".join(said)


async def test_an_error_of_the_provider_comes_after_the_chunks_before_it(session: Session) -> None:
    async def failing() -> AsyncIterator[dict[str, Any]]:
        async for piece in numbers(100, []):
            yield piece
        raise ConnectionResetError("the provider hung up")

    said: list[str] = []
    with pytest.raises(ConnectionResetError):
        await show(session.record(failing()), said)
    assert len(said) == 100
    step = await last_step(session)
    assert (step.status, step.message.content) == ("failed", "".join(said))


async def test_a_chunk_is_shown_after_its_events_however_far_the_stream_was_read(
    session: Session, other_log: SessionLog
) -> None:
    theirs, text = other_log.session(session.id, "u1"), ""
    async for piece in session.record(numbers(60, [])):
        text += text_of(piece)
        stored = [getattr(recorded.event, "text", "") async for recorded in theirs.events()]
        assert "".join(stored).startswith(text)
