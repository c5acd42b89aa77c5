"""Every way into a session of somebody else, a deleted one, or a log that was closed."""

from __future__ import annotations

import inspect
from typing import Any
from uuid import uuid4

import pytest

from tests.support.inputs import PATHS, nothing_stored, refused
from tests.support.sessions import call_tools
from turnlog import SYSTEM, Session, SessionLog, SessionNotFoundError, Settings, TurnlogError
from turnlog.domain.errors import LogClosedError


async def is_listed(log: SessionLog, session: Session, principal: Any = SYSTEM) -> bool:
    """Whether the session is in the list, at the top of which it would be as the last one that was used."""
    return session.id in [item.session_id for item in (await log.list_sessions(principal)).items]


async def test_every_path_of_a_session_is_tried() -> None:
    public = {name for name, _ in inspect.getmembers(Session, inspect.isfunction) if not name.startswith("_")}
    assert public == set(PATHS) - {"await"}, "a new method belongs into PATHS"


async def answer_to(session: Session, path: str) -> tuple[type[BaseException], str]:
    with pytest.raises(TurnlogError) as refusal:
        await PATHS[path](session)
    return refusal.type, str(refusal.value).replace(str(session.id), "ID")


@pytest.mark.parametrize("path", PATHS)
async def test_no_path_tells_somebody_elses_session_from_an_unknown_one(
    log: SessionLog, other_log: SessionLog, session: Session, path: str
) -> None:
    await call_tools(session, "call-1")
    unowned, deleted = await log.start_session(None), await log.start_session("u2")
    await log.delete_session(deleted.id, "u2")
    async with nothing_stored(log):
        unknown = await answer_to(log.session(uuid4(), "u2"), path)
        assert unknown == (SessionNotFoundError, "no session ID")
        for each in (log, other_log):
            for session_id in (session.id, unowned.id, deleted.id):
                assert await answer_to(each.session(session_id, "u2"), path) == unknown


async def test_no_path_of_the_log_tells_somebody_elses_session_from_an_unknown_one(
    log: SessionLog, session: Session
) -> None:
    async with nothing_stored(log):
        assert [await log.delete_session(each, "u2") for each in (session.id, uuid4())] == [False, False]
        assert not await is_listed(log, session, "u2")
    assert await is_listed(log, session, "u1")


async def test_bad_input_says_nothing_of_somebody_elses_session(log: SessionLog, session: Session) -> None:
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "21 C")
    for session_id in (session.id, uuid4()):
        theirs = log.session(session_id, "u2")
        with pytest.raises(SessionNotFoundError):
            await theirs.add_tool_result("call-1", "22 C")
        with refused("title"):
            await theirs.set_title("")


# After the delete


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_brings_a_deleted_session_back(
    log: SessionLog, other_log: SessionLog, session: Session, path: str
) -> None:
    await call_tools(session, "call-1")
    theirs = other_log.session(session.id, "u1")
    await theirs.view()
    await theirs.set_title("Opened here too")
    assert await log.delete_session(session.id, "u1")
    async with nothing_stored(log):
        for each in (session, theirs, log.session(session.id, SYSTEM)):
            with pytest.raises(SessionNotFoundError):
                await PATHS[path](each)
    for each_log in (log, other_log):
        assert not await is_listed(each_log, session)
        assert await each_log.delete_session(session.id, "u1") is False


async def test_an_open_step_of_a_deleted_session_takes_nothing_more(
    log: SessionLog, other_log: SessionLog, session: Session
) -> None:
    completion = await session.completion().__aenter__()
    await completion.text("Half an ans")
    assert await other_log.delete_session(session.id, "u1")
    async with nothing_stored(log):
        for attempt in (completion.text("wer"), completion.tool_call("call-1", "search"), completion.finish("stop")):
            with pytest.raises(SessionNotFoundError):
                await attempt
    assert not await is_listed(log, session)


async def test_a_retry_of_an_old_message_does_not_pass_for_stored_after_a_delete(
    log: SessionLog, other_log: SessionLog, session: Session
) -> None:
    theirs = other_log.session(session.id, "u1")
    await theirs.say("Hello", message_id="m-1")
    assert await log.delete_session(session.id, "u1")
    with pytest.raises(SessionNotFoundError):
        await theirs.say("Hello", message_id="m-1")


# After the log was closed


@pytest.mark.parametrize("path", PATHS)
async def test_a_closed_log_says_so_on_every_path(settings: Settings, path: str) -> None:
    async with SessionLog.open(settings) as closed:
        session = await closed.start_session("u1")
    with pytest.raises(LogClosedError):
        await PATHS[path](session)
