"""Each line that turnlog logs for an operator: what leads to it is done here, and it is said once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import OperationalError

from tests.support.database import rows
from tests.support.recording import chunk, played, spoken
from tests.support.sessions import answer, contents, talked
from tests.support.views import settled
from tests.support.writers import begun
from turnlog import Answer, Session, SessionLog, Settings, StoreUnavailableError, UnreadableEventError
from turnlog.infrastructure.embedded.valkey import Valkey
from turnlog.infrastructure.store import commit_recovery, group_commit
from turnlog.infrastructure.tables import worker as projection_worker
from turnlog.infrastructure.tables.usage import UsageProjection
from turnlog.infrastructure.tables.worker import Worker

Scene = Callable[[SessionLog, Settings, pytest.MonkeyPatch], Awaitable[None]]


def lines_in(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# Warnings


async def a_batch_is_refused(log: SessionLog, _: Settings, patch: pytest.MonkeyPatch) -> None:
    sessions = [await log.start_session("u1") for _ in range(3)]
    pack = group_commit.pack_appends

    def packed(batch: Any, *more: Any) -> Any:
        if any(append.id_bytes == sessions[1].id.bytes for append in batch):
            raise OverflowError("too large for its column")
        return pack(batch, *more)

    for module in (group_commit, commit_recovery):
        patch.setattr(module, "pack_appends", packed)
    await asyncio.gather(*(session.say("hi") for session in sessions), return_exceptions=True)


async def the_sequence_was_not_restored(log: SessionLog, settings: Settings, _: pytest.MonkeyPatch) -> None:
    session = await talked(await log.start_session("u1"))
    rows(settings, f"select setval('{settings.database_schema}.turnlog_events_positions', 1)")
    await session.say("and on")


async def an_event_of_a_newer_version_is_in_the_way(log: SessionLog, settings: Settings, _: pytest.MonkeyPatch) -> None:
    session = await log.start_session("u1")
    async with SessionLog.open(settings.model_copy(update={"reap_seconds": 0})) as other:
        await begun(other.session(session.id, "u1"), "half")
        rows(
            settings,
            f"insert into turnlog_events values ('{session.id}', 4, 'newer.v1', '{{}}', "
            "nextval('turnlog_events_positions'))",
        )
        rows(settings, "update turnlog_writers set expires_at = now() - interval '1 second'")
        await log.reap()
        with pytest.raises(UnreadableEventError):
            await log.session(session.id, "u1").view()
        other._parts.lease._live.clear()


async def a_lease_is_lost(log: SessionLog, settings: Settings, _: pytest.MonkeyPatch) -> None:
    await begun(await log.start_session("u1"), "half")
    rows(settings, "update turnlog_writers set expires_at = now() - interval '1 second'")
    await log._parts.lease._renew()


async def an_end_is_not_stored(log: SessionLog, _: Settings, patch: pytest.MonkeyPatch) -> None:
    session = await log.start_session("u1")

    async def gone() -> None:
        raise StoreUnavailableError("Postgres: gone")

    with suppress(RuntimeError):
        async with session.completion() as completion:
            patch.setattr(type(completion._step), "end", lambda *_: asyncio.ensure_future(gone()))
            raise RuntimeError("the handler's own")


async def nobody_waits_for_a_recording_that_fails(log: SessionLog, _: Settings, __: pytest.MonkeyPatch) -> None:
    session = await log.start_session("u1")

    async def failing() -> Any:
        yield chunk("Hel")
        raise RuntimeError("the provider hung up")

    with suppress(RuntimeError):
        await session.record_in_background(failing())


async def a_kept_view_is_damaged(log: SessionLog, settings: Settings, _: pytest.MonkeyPatch) -> None:
    session = await talked(await log.start_session("u1"))
    await log.rebuild_views()
    rows(settings, "update turnlog_pages set body = 'x'")
    async with SessionLog.open(settings.model_copy(update={"redis_url": "none"})) as other:
        assert len((await other.session(session.id, "u1").view()).messages) == 6
        await settled(other)


async def a_stream_has_two_choices(log: SessionLog, _: Settings, __: pytest.MonkeyPatch) -> None:
    session = await log.start_session("u1")
    second = {"choices": [{"index": 1, "delta": {"content": "Or so."}}]}
    async for _ in session.record(played(chunk("So."), second, second, chunk(finish_reason="stop"))):
        pass
    assert contents((await session.view()).messages) == ["So."]


async def a_usage_object_is_no_json(log: SessionLog, _: Settings, __: pytest.MonkeyPatch) -> None:
    session = await log.start_session("u1")
    odd = {"choices": [], "usage": {"prompt_tokens": float("nan")}}
    async for _ in session.record(played(chunk("So."), chunk(finish_reason="stop"), odd)):
        pass
    assert contents((await session.view()).messages) == ["So."]


async def background_work_fails(log: SessionLog, _: Settings, __: pytest.MonkeyPatch) -> None:
    async def failing() -> None:
        raise StoreUnavailableError("Postgres: gone")

    log._parts.background.spawn(failing())
    await settled(log)


async def a_projection_loses_postgres(log: SessionLog, _: Settings, patch: pytest.MonkeyPatch) -> None:
    worker = log.projections.worker(UsageProjection())
    run_once, lost = Worker._run_once, []

    def losing(self: Worker, tables: Any) -> None:
        if not lost:
            lost.append(True)
            raise OperationalError("the connection was lost")
        self.stop()
        run_once(self, tables)

    patch.setattr(Worker, "_run_once", losing)
    patch.setattr(projection_worker, "RETRY_SECONDS", 0.01)
    await worker.run()


async def _created(**_: Any) -> Any:
    return spoken("Hel", "lo")


CLIENT = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=_created)))
"""As much of a client as an answer needs."""


async def nobody_waits_for_an_answer_that_fails(log: SessionLog, _: Settings, __: pytest.MonkeyPatch) -> None:
    session = await log.start_session("u1")
    left = log.session(session.id, "u2").answer(CLIENT, model="any", message="hi")
    await asyncio.wait([left._task])


async def a_queued_message_cannot_be_answered(log: SessionLog, _: Settings, patch: pytest.MonkeyPatch) -> None:
    async def gone(_: Answer) -> None:
        raise StoreUnavailableError("Postgres: gone")

    patch.setattr(Answer, "_go_on_with_queue", gone)
    answered = (await log.start_session("u1")).answer(CLIENT, model="any", message="hi")
    assert (await answered).text == "Hello"
    await asyncio.wait([answered._task])


async def a_turn_cannot_be_gone_on_with(log: SessionLog, _: Settings, __: pytest.MonkeyPatch) -> None:
    await _resumed(log, StoreUnavailableError("Postgres: gone"))


async def _resumed(log: SessionLog, error: Exception) -> None:
    """Goes on with a turn that was abandoned, by a function that raises this."""
    session = await log.start_session("u1")
    await session.say("hi")
    with suppress(asyncio.CancelledError):
        async with session.turn():
            raise asyncio.CancelledError

    async def answer(_: Session) -> Any:
        raise error

    assert await log.resume(answer) == ()


WARNINGS: dict[str, Scene] = {
    "Postgres refused a batch of …": a_batch_is_refused,
    "the sequence of the log positions lags the log, and is set right": the_sequence_was_not_restored,
    "what is open in session … could not be ended: …": an_event_of_a_newer_version_is_in_the_way,
    "the lease ran out before it was renewed: … steps and turns are given up": a_lease_is_lost,
    "the end of step … was not recorded: …": an_end_is_not_stored,
    "the recording of step …: …": nobody_waits_for_a_recording_that_fails,
    "the kept view of session … does not parse and is folded anew": a_kept_view_is_damaged,
    "step … has several choices; only choice 0 is recorded": a_stream_has_two_choices,
    "what a provider sent is not recorded: …": a_usage_object_is_no_json,
    "an answer that nobody waits for has failed: …": nobody_waits_for_an_answer_that_fails,
    "a queued message was not answered: …": a_queued_message_cannot_be_answered,
    "turn … of session … was not gone on with: …": a_turn_cannot_be_gone_on_with,
    "background work failed: …": background_work_fails,
    "projection … lost Postgres and tries again: …": a_projection_loses_postgres,
}


@pytest.mark.owner
@pytest.mark.parametrize("line", WARNINGS)
async def test_a_warning_is_logged_once(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    async with SessionLog.open(settings.model_copy(update={"reap_seconds": 0})) as log:
        await WARNINGS[line](log, settings, monkeypatch)
        said = lines_in(caplog)
        monkeypatch.undo()
    assert len(said) == 1, said
    assert said[0].startswith(line.partition("…")[0])
    assert all(record.name == "turnlog" for record in caplog.records if record.levelno >= logging.WARNING)


async def test_a_function_for_resume_that_raises_is_logged_with_its_traceback(
    log: SessionLog, caplog: pytest.LogCaptureFixture
) -> None:
    await _resumed(log, ValueError("not thought of"))
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().endswith("was not gone on with")
    assert record.exc_info


def test_an_embedded_server_that_does_not_stop_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Valkey):
        def _ends_after(self, *_: Any) -> bool:
            return False

    Stubborn(tmp_path).stop()
    assert lines_in(caplog) == [f"Valkey in {tmp_path} could not be stopped"]


# Errors: faults of turnlog's own


async def the_reaper_has_a_fault(log: SessionLog, _: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log._parts.store.leases, "lapsed", None)
    reaping = asyncio.create_task(log._reaper.keep_reaping(60))
    await asyncio.sleep(0.05)
    reaping.cancel()


async def the_group_commit_has_a_fault(log: SessionLog, _: Settings, patch: pytest.MonkeyPatch) -> None:
    session = await log.start_session("u1")
    patch.setattr(group_commit, "pack_appends", _not_now)
    patch.setattr(commit_recovery.CommitRecovery, "_unbroken", None)
    await asyncio.gather(session.say("hi"), return_exceptions=True)


async def an_append_cannot_be_told(log: SessionLog, _: Settings, patch: pytest.MonkeyPatch) -> None:
    session = await log.start_session("u1")
    for module in (group_commit, commit_recovery):
        patch.setattr(module, "pack_appends", _not_now)
    patch.setattr(session._aggregate, "settled", None)
    forgotten = asyncio.create_task(session.say("hi"))
    await asyncio.sleep(0.1)
    forgotten.cancel()


async def followers_cannot_be_told(log: SessionLog, _: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log._parts.group_commit, "on_stored", _not_now)
    session = await log.start_session("u1")
    await session.say("hi")
    assert contents((await session.view()).messages) == ["hi"]


def _not_now(*_: Any) -> Any:
    raise OverflowError("not now")


ERRORS: dict[str, Scene] = {
    "not reaped": the_reaper_has_a_fault,
    "the group commit failed": the_group_commit_has_a_fault,
    "an append could not be settled": an_append_cannot_be_told,
    "followers could not be told what was stored": followers_cannot_be_told,
}


@pytest.mark.parametrize("line", ERRORS)
async def test_a_fault_of_turnlog_is_logged_as_an_error_with_its_traceback_and_the_log_goes_on(
    log: SessionLog,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
) -> None:
    with monkeypatch.context() as patch:
        await ERRORS[line](log, settings, patch)
    assert line in lines_in(caplog, logging.ERROR)
    assert all(record.exc_info for record in caplog.records if record.levelno >= logging.ERROR)
    session = await log.start_session("u1", session_id=UUID(int=1))
    await answer(session, "and on")


async def test_nothing_is_logged_where_nothing_is_wrong(log: SessionLog, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "turnlog")
    session: Session = await log.start_session("u1")
    async for _ in session.record(spoken("Hel", "lo")):
        pass
    await session.view(), await session.prompt()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("turnlog")] == []
