"""Going on with the turns of the dead: `SessionLog.resume` and `turnlog work`."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.answering import asking, slow, statuses, until
from tests.support.processes import turnlog
from turnlog import SYSTEM, InvalidInputError, Session, SessionLog, Settings, StoreUnavailableError
from turnlog.infrastructure.answer.answer import Answer as AnswerTask
from turnlog.infrastructure.cli.app import cli
from turnlog.testing import Answer, Failure


async def abandoned(log: SessionLog, text: str = "Hi", user: str = "u1") -> Session:
    """A session whose turn was left by its owner."""
    session = await log.start_session(user)
    await session.say(text)

    async def hold() -> None:
        async with session.turn():
            await asyncio.sleep(60)

    task = asyncio.create_task(hold())
    while await statuses(session) != ["answering"]:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert await statuses(session) == ["abandoned"]
    return session


async def test_what_was_abandoned_is_gone_on_with_and_what_lives_or_is_finished_is_not(log: SessionLog) -> None:
    left = [await abandoned(log) for _ in range(3)]
    async with asking([Answer("done"), slow(), Answer("a"), Answer("b"), Answer("c")]) as model:
        finished = await log.start_session("u1")
        await model.answer(finished, "Hi")
        living = await log.start_session("u1")
        answer = model.answer(living, "Hi")
        await until(lambda: model.asked == 2)
        outcomes = await log.resume(model.answer, parallel=2)
        assert {outcome.session_id for outcome in outcomes} == {session.id for session in left}
        assert {outcome.status for outcome in outcomes} == {"finished"}
        assert await log.resume(model.answer) == ()
        assert (await answer).status == "finished"
        assert model.asked == 5
    assert await log.unfinished_turns(SYSTEM) == ()


async def test_a_function_that_waits_for_its_answer_will_do_and_sees_whose_session_it_is(log: SessionLog) -> None:
    mine, theirs = await abandoned(log), await abandoned(log, user="u2")
    async with asking() as model:

        async def answer(session: Session) -> Any:
            return await model.answer(session) if (await session.view()).user_id == "u1" else None

        outcomes = await log.resume(answer)
    assert [outcome.session_id for outcome in outcomes] == [mine.id]
    assert await statuses(theirs) == ["abandoned"]


async def test_a_log_looks_again_until_it_is_cancelled(log: SessionLog) -> None:
    async with asking() as model:
        resuming = asyncio.create_task(log.resume(model.answer, every=0.05))
        session = await abandoned(log)
        while await statuses(session) != ["finished"]:
            await asyncio.sleep(0.02)
        resuming.cancel()
        await asyncio.wait([resuming])
    assert resuming.cancelled()


async def test_a_log_that_looks_again_and_again_outlives_an_outage(
    log: SessionLog, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await abandoned(log)
    async with asking() as model:
        lists = type(log._parts.store.lists)

        async def away(*_: Any) -> Any:
            raise StoreUnavailableError("away")

        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "turnlog"):
            patch.setattr(lists, "unfinished", away)
            with pytest.raises(StoreUnavailableError):
                await log.resume(model.answer)
            resuming = asyncio.create_task(log.resume(model.answer, every=0.05))
            await until(lambda: caplog.records)
        while await statuses(session) != ["finished"]:
            await asyncio.sleep(0.02)
        resuming.cancel()
    assert caplog.records[0].getMessage() == "unfinished turns were not looked for: away"


async def test_a_turn_that_cannot_be_gone_on_with_is_logged_and_the_others_are(
    log: SessionLog, caplog: pytest.LogCaptureFixture
) -> None:
    refused, broken, sound = [await abandoned(log) for _ in range(3)]
    async with asking() as model:

        def answer(session: Session) -> Any:
            if session.id == refused.id:
                raise StoreUnavailableError("away")
            if session.id == broken.id:
                raise ZeroDivisionError
            return model.answer(session)

        with caplog.at_level(logging.WARNING, "turnlog"):
            (outcome,) = await log.resume(answer)
    assert outcome.session_id == sound.id
    lines = {record.getMessage().partition("was not gone on with")[2] for record in caplog.records}
    assert lines == {": away", ""}
    assert [await statuses(session) for session in (refused, broken)] == [["abandoned"], ["abandoned"]]


async def test_an_answer_that_nobody_waits_for_says_what_went_wrong(
    log: SessionLog, session: Session, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking([slow(), Answer("never")]) as model:
        answer = model.answer(session, "Hi")
        await until(lambda: model.asked)
        await session.say("And?", on_busy="queue")

        async def away(*_: Any) -> None:
            raise StoreUnavailableError("away")

        monkeypatch.setattr(AnswerTask, "_own", away)
        with caplog.at_level(logging.WARNING, "turnlog"):
            await answer
            await until(lambda: caplog.records)
            left = model.answer(session, None)
            await until(lambda: left not in log._parts.answers)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "a queued message was not answered: away",
        "an answer that nobody waits for has failed: away",
    ]


@pytest.mark.parametrize("wrong", [{"every": 0}, {"every": "1"}, {"parallel": 0}])
async def test_what_no_pass_can_be_made_with_is_refused(log: SessionLog, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=f"^{next(iter(wrong))}"):
        await log.resume(lambda session: session.answer(None, model="m"), **wrong)
    with pytest.raises(InvalidInputError, match=r"^answer"):
        await log.resume(None)  # type: ignore[arg-type]


WORKER = """
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url={base_url!r}, api_key="none")


def answer(session):
    return session.answer(client, model="m")


async def later(session):
    return await session.answer(client, model="m")


class Bot:
    at_once = 0

    async def answer(session):
        Bot.at_once += 1
        assert Bot.at_once == 1
        given = session.answer(client, model="m")
        await given
        Bot.at_once -= 1
        return given
"""


async def test_a_worker_goes_on_with_what_is_there(log: SessionLog, settings: Settings, tmp_path: Path) -> None:
    first, second = await abandoned(log), await abandoned(log)
    async with asking() as model:
        (tmp_path / "my_worker.py").write_text(WORKER.format(base_url=model.provider.base_url), "utf-8")

        async def work(*arguments: str) -> tuple[int | None, str, str]:
            urls = ("--database-url", settings.database_url or "", "--redis-url", settings.redis_url or "")
            environment = {"TURNLOG_DATABASE_SCHEMA": settings.database_schema, "PATH": "", "HOME": str(tmp_path)}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "turnlog", *urls, "work", *arguments,
                cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await process.communicate()
            return process.returncode, out.decode(), err.decode()

        code, out, err = await work("my_worker:answer", "--once", "--json")
        assert (code, err) == (0, "")
        outcomes = [json.loads(line) for line in out.splitlines()]
        assert {outcome["session_id"] for outcome in outcomes} == {str(first.id), str(second.id)}
        assert {outcome["status"] for outcome in outcomes} == {"finished"}
        assert not any("turn" in outcome for outcome in outcomes)
        third = await abandoned(log)
        code, out, _ = await work("my_worker:later", "--once")
        assert (code, await statuses(third)) == (0, ["finished"])
        assert f"session {third.id}" in out
        assert "1 turn gone on with" in out


@pytest.mark.parametrize("wrong", ["my_worker", "my_worker:nothing", "no_worker:answer", "my_worker:client", ":answer"])
def test_a_worker_without_a_function_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    (tmp_path / "my_worker.py").write_text(WORKER.format(base_url="http://127.0.0.1:9"), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_worker", raising=False)
    monkeypatch.setenv("TURNLOG_DATABASE_SCHEMA", settings.database_schema)
    urls = ("--database-url", settings.database_url or "", "--redis-url", settings.redis_url or "")
    done = CliRunner().invoke(cli, [*urls, "work", wrong, "--once"])
    assert done.exit_code
    assert "MODULE:FUNCTION" in done.stderr


async def test_a_worker_runs_until_it_is_told_to_stop_and_says_how_each_answer_came_out(
    log: SessionLog, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await abandoned(log) for _ in range(3)]
    monkeypatch.chdir(tmp_path)
    async with asking([Failure(404, message="no such model"), *map(Answer, ("One.", "Two.", "Three."))]) as model:
        (tmp_path / "my_worker.py").write_text(WORKER.format(base_url=model.provider.base_url), "utf-8")
        command = ("work", "my_worker:Bot.answer", "--parallel", "1", "--every", "0.1")
        async with turnlog(settings, *command) as worker, asyncio.timeout(60):
            said = [await worker.line() for _ in sessions]
            sessions.append(await abandoned(log))
            said.append(await worker.line())
            worker.send_signal(signal.SIGINT)
            assert (await worker.rest(), await worker.left()) == ([], 0)
    assert {line.split()[1] for line in said} == {str(session.id) for session in sessions}
    (failed,) = [line for line in said if not line.endswith("finished")]
    assert "  failed: " in failed
    assert "no such model" in failed
    assert model.asked == 4
