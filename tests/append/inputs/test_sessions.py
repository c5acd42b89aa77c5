"""Who starts and owns sessions, and what is asked of them: bad users, ids and pages are refused."""

from __future__ import annotations

import inspect
from typing import Any
from uuid import uuid4

import pytest

from tests.support.inputs import nothing_stored, refused
from turnlog import SYSTEM, Session, SessionLog, SessionNotFoundError, Settings, TurnlogError
from turnlog.domain.errors import SessionExistsError, SessionOwnedError

# Users


BAD_USER_IDS = ["", "   ", "\t\n", "x" * 256, "a\0b", "\ud800", 5, b"u1", ["u1"], {"user": "u1"}, True]


@pytest.mark.parametrize("user_id", BAD_USER_IDS)
async def test_a_bad_user_id_starts_no_session(log: SessionLog, user_id: Any) -> None:
    async with nothing_stored(log):
        with refused("user_id"):
            await log.start_session(user_id)


@pytest.mark.parametrize("user_id", [*BAD_USER_IDS, None, SYSTEM])
async def test_a_bad_user_id_becomes_no_owner(log: SessionLog, user_id: Any) -> None:
    unowned = await log.start_session(None)
    async with nothing_stored(log):
        with refused("user_id"):
            await log.assign_owner(unowned.id, user_id)


@pytest.mark.parametrize("principal", [*BAD_USER_IDS, None])
async def test_a_bad_principal_gets_nowhere(log: SessionLog, session: Session, principal: Any) -> None:
    async with nothing_stored(log):
        with refused("principal"):
            log.session(session.id, principal)
        with refused("principal"):
            await log.list_sessions(principal)
        with refused("principal"):
            await log.delete_session(session.id, principal)


def methods_with_a_principal() -> list[str]:
    methods = inspect.getmembers(SessionLog, inspect.isfunction)
    return [name for name, method in methods if "principal" in inspect.signature(method).parameters and name[0] != "_"]


@pytest.mark.parametrize("name", methods_with_a_principal())
async def test_no_method_takes_a_missing_principal(log: SessionLog, session: Session, name: str) -> None:
    method = getattr(log, name)
    parameters = inspect.signature(method).parameters
    assert parameters["principal"].default is inspect.Parameter.empty
    given: dict[str, Any] = {"session_id": session.id} if "session_id" in parameters else {}
    async with nothing_stored(log):
        with refused("principal"):
            result = method(**given, principal=None)
            if inspect.isawaitable(result):
                await result
            elif inspect.isasyncgen(result):
                await anext(result)


async def test_a_user_who_is_called_system_is_a_user(log: SessionLog, session: Session) -> None:
    for name in ("SYSTEM", "system", repr(SYSTEM), str(SYSTEM)):
        with pytest.raises(SessionNotFoundError):
            await log.session(session.id, name).view()


# Sessions


@pytest.mark.parametrize("session_id", ["", "not-a-uuid", "1234", 5, b"x" * 16, "\0", ["a"]])
async def test_an_id_that_is_not_a_uuid_starts_no_session(log: SessionLog, session_id: Any) -> None:
    async with nothing_stored(log):
        with refused("session_id"):
            await log.start_session("u1", session_id=session_id)


@pytest.mark.parametrize("session_id", ["", "not-a-uuid", 5, None, "\0"])
async def test_an_id_that_is_not_a_uuid_is_an_unknown_session(log: SessionLog, session_id: Any) -> None:
    with pytest.raises(SessionNotFoundError):
        await log.session(session_id, "u1")
    with pytest.raises(SessionNotFoundError):
        await log.assign_owner(session_id, "u1")
    assert await log.delete_session(session_id, "u1") is False


async def test_a_taken_id_starts_no_second_session(log: SessionLog, other_log: SessionLog, session: Session) -> None:
    unowned = await log.start_session(None)
    async with nothing_stored(log):
        for each in (log, other_log):
            for user_id in ("u2", None):
                with pytest.raises(SessionExistsError):
                    await each.start_session(user_id, session_id=session.id)
            with pytest.raises(SessionExistsError):
                await each.start_session("u1", session_id=unowned.id)
    assert (await session.view()).user_id == "u1"


async def test_the_same_user_who_starts_a_session_again_gets_it_as_it_is(log: SessionLog, session: Session) -> None:
    await session.say("Hello")
    async with nothing_stored(log):
        again = await log.start_session("u1", session_id=str(session.id), title="ignored")
    assert await again.view() == await session.view()


async def test_the_id_of_a_deleted_session_stays_taken(log: SessionLog, other_log: SessionLog) -> None:
    session = await log.start_session("u1")
    assert await log.delete_session(session.id, "u1")
    async with nothing_stored(log):
        for each in (log, other_log):
            with pytest.raises(SessionExistsError):
                await each.start_session("u1", session_id=session.id)


@pytest.mark.parametrize("second", ["u1", "u2"])
async def test_an_owner_is_assigned_once(log: SessionLog, other_log: SessionLog, second: str) -> None:
    unowned = await log.start_session(None)
    await log.assign_owner(unowned.id, "u1")
    async with nothing_stored(log):
        for each in (log, other_log):
            with pytest.raises(SessionOwnedError):
                await each.assign_owner(unowned.id, second)
    assert (await unowned.view()).user_id == "u1"


async def test_an_unknown_session_gets_no_owner(log: SessionLog) -> None:
    async with nothing_stored(log):
        with pytest.raises(SessionNotFoundError):
            await log.assign_owner(uuid4(), "u1")


BAD_PAGES = [
    ("limit", 0),
    ("limit", -1),
    ("limit", 101),
    ("limit", "10"),
    ("limit", 1.5),
    ("limit", None),
    ("limit", True),
    ("offset", -1),
    ("offset", "0"),
    ("offset", 0.0),
    ("offset", None),
    ("offset", 2**63),
    ("offset", False),
]


@pytest.mark.parametrize(("field", "value"), BAD_PAGES)
async def test_a_bad_page_of_the_list_is_refused(log: SessionLog, field: str, value: Any) -> None:
    with refused(field):
        await log.list_sessions("u1", **{field: value})


@pytest.mark.parametrize("after", ["0", None, 1.5, True, 2**70])
async def test_a_bad_position_is_refused(session: Session, after: Any) -> None:
    with refused("after"):
        await anext(session.events(after))


@pytest.mark.parametrize("api", ["", "anthropics", None, 5])
async def test_a_prompt_for_an_unknown_api_is_refused(session: Session, api: Any) -> None:
    with refused("api"):
        await session.prompt(api)


@pytest.mark.parametrize("setting", ["redis_url", "database_url"])
async def test_a_log_with_a_url_that_is_none_is_not_opened(settings: Settings, setting: str) -> None:
    bad = settings.model_copy(update={setting: "no url at all", "store_timeout_seconds": 1})
    with pytest.raises(TurnlogError):
        async with SessionLog.open(bad):
            pass
