"""Where an answer cannot be used: in a session that is gone or somebody else's, a closed log, another process."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from uuid import uuid4

import pytest

from tests.support.answering import Gate, asking, calling, slow, told, turns_of
from turnlog import (
    LogClosedError,
    Session,
    SessionLog,
    SessionNotFoundError,
    Settings,
    WrongLoopError,
    WrongProcessError,
)


async def test_a_session_that_is_deleted_meanwhile(session: Session, log: SessionLog) -> None:
    gate = Gate()
    async with asking([calling("wait")]) as model:
        answer = model.answer(session, "Hi", tools=[gate.tool])
        await gate.begun.wait()
        await log.delete_session(session.id, "u1")
        with pytest.raises(SessionNotFoundError):
            await answer
        with pytest.raises(SessionNotFoundError):
            await model.answer(session, "Hi")
        assert model.asked == 1


async def test_somebody_elses_session_is_not_there(session: Session, log: SessionLog) -> None:
    async with asking() as model:
        for stranger in (log.session(session.id, "mallory"), log.session(uuid4(), "u1")):
            for answer in (model.answer(stranger, "Hi"), model.answer(stranger)):
                with pytest.raises(SessionNotFoundError):
                    await answer
            with pytest.raises(SessionNotFoundError):
                await stranger.turn().__aenter__()
            with pytest.raises(SessionNotFoundError):
                await told(aiter(model.answer(stranger, "Hi")))
        assert model.asked == 0
    assert await turns_of(session) == ()


async def test_a_closed_log_answers_nothing(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
    async with asking() as model:
        with pytest.raises(LogClosedError):
            model.answer(session, "Hi")


async def test_another_process_and_another_loop_are_told_so(session: Session) -> None:
    async with asking([slow()]) as model:
        answer = await model.answer(session, "Hi").begun()

        def elsewhere() -> list[str]:
            async def used() -> list[str]:
                names = list[str]()
                for way in (
                    lambda: model.answer(session, "Hi"),
                    answer.begun,
                    lambda: anext(aiter(answer)),
                    lambda: _awaited(answer),
                    lambda: session.turn().__aenter__(),
                ):
                    try:
                        await way()
                    except Exception as error:  # noqa: BLE001 it is what is looked at
                        names.append(type(error).__name__)
                return names

            return asyncio.run(used())

        assert await asyncio.to_thread(elsewhere) == [WrongLoopError.__name__] * 5
        read, write = os.pipe()
        if not (pid := os.fork()):
            try:
                asyncio.events._set_running_loop(None)
                os.write(write, " ".join(elsewhere()).encode())
            finally:
                os._exit(0)
        os.close(write)
        heard = await asyncio.to_thread(os.read, read, 10_000)
        os.close(read)
        await asyncio.to_thread(os.waitpid, pid, 0)
        assert heard.decode().split() == [WrongProcessError.__name__] * 5
        assert (await answer).status == "finished"


async def _awaited(answer: Any) -> Any:
    return await answer
