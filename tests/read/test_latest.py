"""The last turns of a session that somebody works on: loaded once, and after that only what has come is read."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.support.sessions import folded_view, turn
from tests.support.views import events_read, longer_turn, settled
from turnlog import SYSTEM, Session, SessionLog, SessionNotFoundError
from turnlog.infrastructure.read.latest import LatestTurns


@pytest.fixture
def latest(log: SessionLog, talk: Session) -> LatestTurns:
    """Of a session whose first turns are not read."""
    return LatestTurns(log._parts.views, talk.id)


async def test_turns_that_are_held_grow_by_what_comes_and_nothing_else_is_read(
    log: SessionLog, other_log: SessionLog, talk: Session, latest: LatestTurns, redis: Redis
) -> None:
    held = await latest.now()
    first, before = held.first_turn, held.version
    assert first > 0
    await settled(log)
    redis.flushall()
    for number in range(4, 8):
        await turn(other_log.session(talk.id, SYSTEM), number)
        with events_read(log) as read:
            held = await latest.now()
        assert read == [held.version - before]
        before = held.version
        assert held.turns() == (await folded_view(talk)).turns[first:]
        assert await log._parts.prompts.usual_of(held, "chat") == await talk.prompt()


async def test_turns_are_not_read_again_at_a_position_that_is_known(
    log: SessionLog, talk: Session, latest: LatestTurns
) -> None:
    held = await latest.now()
    await talk.say("Next")
    assert await latest.at(held.version, held.commit_id) is held
    assert held.turns() != (await folded_view(talk)).turns[held.first_turn :]
    now = await latest.at(held.version + 1, talk._aggregate.stored_commit_id)
    assert now.turns() == (await folded_view(talk)).turns[now.first_turn :]


async def test_a_change_of_an_earlier_turn_is_seen(log: SessionLog, session: Session) -> None:
    for number in range(4):
        await turn(session, number, calls=number == 0)
    await session.view()
    await settled(log)
    latest = LatestTurns(log._parts.views, session.id)
    assert (await latest.now()).first_turn > 0
    await session.add_tool_result("c0", "late")
    held = await latest.now()
    assert held.turns() == (await folded_view(session)).turns
    assert await log._parts.prompts.usual_of(held, "chat") == await session.prompt()


async def test_a_past_that_is_gone_is_not_gone_on_with(log: SessionLog, talk: Session, latest: LatestTurns) -> None:
    held = await latest.now()
    held.commit_id += 1  # as in a log that was restored meanwhile
    held.add_texts(held.turns()[-1].steps[-1].step_id, ["never said"], held.version)
    await longer_turn(talk, 4)
    assert (await latest.now()).turns() == (await folded_view(talk)).turns


async def test_a_session_that_was_deleted_meanwhile_has_no_prompt(
    log: SessionLog, talk: Session, latest: LatestTurns
) -> None:
    await latest.now()
    await log.delete_session(talk.id, SYSTEM)
    held = await latest.now()
    assert not held.exists
    with pytest.raises(SessionNotFoundError):
        await log._parts.prompts.usual_of(held, "chat")
