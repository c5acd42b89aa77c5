"""What is looked at after each injection: the stored events beside the model, and every answer beside the events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from tests.chaos.model import Model
from tests.chaos.reads import TAG
from tests.chaos.servers import ROLE, Servers
from tests.chaos.talks import Till, decide_all, may_run_again, tools
from tests.chaos.turns import faults_of_turns
from tests.chaos.worker import digest
from tests.support.rules import CHECKS
from turnlog.domain import events as e
from turnlog.domain.errors import PromptTooLongError, SessionNotFoundError, TurnlogError
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import build_prompt
from turnlog.projections.view import SessionView

MOST_CONNECTIONS = 12
"""Of one process to Postgres."""
END_SECONDS = 15.0
"""Every turn can be gone on with, and has ended, by then."""
MOST_LOOKS = 20
"""At a session in which somebody appends."""
_MAPPER = EventMapper()
_EVENTS = """select originator_id, originator_version, notification_id, topic, state from turnlog_events
    where originator_id = any(%s) order by originator_id, originator_version"""


class Checker:
    """Looks at everything past the proxies."""

    def __init__(self, servers: Servers, settings: Settings, model: Model, till: Till) -> None:
        self._servers, self._model, self._till = servers, model, till
        self._theirs = settings

    @property
    def _settings(self) -> Settings:
        where = {"database_url": self._servers.direct_database_url, "redis_url": self._servers.direct_redis_url}
        return self._theirs.model_copy(update={**where, "reap_seconds": 0, "store_timeout_seconds": 10})

    def histories(self, session_ids: Iterable[UUID]) -> dict[UUID, list[RecordedEvent]]:
        """The stored events of sessions, read without turnlog's store."""
        found: dict[UUID, list[RecordedEvent]] = {session_id: [] for session_id in session_ids}
        with self._servers.admin() as admin:
            for session_id, position, log_position, topic, state in admin.execute(_EVENTS, (list(found),)):
                event = _MAPPER.event(topic, bytes(state))
                found[session_id].append(RecordedEvent(session_id, position, log_position, event))
        return found

    async def faults(self, processes: int) -> list[str]:
        """Everything that is wrong with what was touched since the last look."""
        async with SessionLog.open(self._settings) as log:
            await self._end_turns(log)
            histories = self.histories(self._model.touched)
            found = [what for each, events in histories.items() for what in self._model.faults_of(each, events)]
            found += self._held(processes)
            found += [what for each in self._model.talks() for what in self._faults_of_talk(each, histories[each])]
            for session_id, events in histories.items():
                found += await self._wrong_answers(log, session_id, events)
            found += await self._wrong_lists(log, histories)
        return found

    async def _end_turns(self, log: SessionLog) -> None:
        """Somebody decides about what waits, and goes on with the turns of the dead, until nothing is left to do."""
        talks = set(self._model.talks())
        async with self._till.client() as client:

            async def answered(session: Session) -> Any:
                if session.id not in talks:
                    return None  # something was wrong with it: it would be told again each time
                return await session.answer(client, model=session.id.hex, tools=tools(), on_break="again")

            with suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    while await self._is_unfinished(log, talks):
                        await log.resume(answered)
                        await asyncio.sleep(0.05)

    async def _is_unfinished(self, log: SessionLog, talks: set[UUID]) -> bool:
        for session_id in talks:
            with suppress(SessionNotFoundError):
                await decide_all(log.session(session_id, SYSTEM))
        found, after = set[UUID](), None
        while page := await log.unfinished_turns(SYSTEM, after=after):
            after = page[-1].session_id
            found |= {turn.session_id for turn in page}
        return bool(found & talks)

    def _faults_of_talk(self, session_id: UUID, events: list[RecordedEvent]) -> list[str]:
        is_whole = session_id not in self._model.incomplete
        found = faults_of_turns(session_id, events, self._till.paid(session_id) if is_whole else None) if events else []
        found += [
            f"tool {name} has run {count} times for {key}"
            for (session, name, key), count in self._model.effects.items()
            if session == session_id and is_whole and count > 1 and not may_run_again(name)
        ]
        return [f"session {session_id}: {what}" for what in found]

    async def _wrong_answers(self, log: SessionLog, session_id: UUID, events: list[RecordedEvent]) -> list[str]:
        """What is answered wrongly. Reapers may append meanwhile, and commits whose caller is gone may come: then the
        answers are compared with the events that are there by then."""
        for _ in range(MOST_LOOKS):
            found = await _wrong_answers(log, session_id, events, self._model)
            before, events = events, self.histories([session_id])[session_id] if found else events
            if len(events) == len(before):
                break
        return found

    def _held(self, processes: int) -> list[str]:
        """Locks, transactions and connections that outlived their work."""
        locks, transactions, connections = self._servers.execute(
            f"""select
                (select count(*) from pg_locks join pg_stat_activity using (pid)
                 where locktype = 'advisory' and usename = '{ROLE}' and state like 'idle%'),
                (select count(*) from pg_stat_activity where usename = '{ROLE}' and state like 'idle in transaction%'
                 and state_change < now() - interval '1 second'),
                (select count(*) from pg_stat_activity where usename = '{ROLE}')"""
        )[0]
        found = [f"{locks} advisory locks are held by nobody"] if locks else []
        found += [f"{transactions} transactions are open"] if transactions else []
        return found + ([f"{connections} connections"] if connections > MOST_CONNECTIONS * processes else [])

    async def _wrong_lists(self, log: SessionLog, histories: dict[UUID, list[RecordedEvent]]) -> list[str]:
        expected: dict[str, set[UUID]] = {}
        for session_id, events in histories.items():
            projector = Projector(session_id).apply_all(events)
            if projector.exists and projector.user_id:
                expected.setdefault(projector.user_id, set()).add(session_id)
        found = []
        for user, ids in expected.items():
            listed = {session_id async for session_id in log.session_ids(user)}
            found += [f"sessions {ids - listed} are not in the list of {user}"] if ids - listed else []
        return found

    async def open_steps(self) -> list[str]:
        """The steps that are still open once every lease has run out and was reaped."""
        async with SessionLog.open(self._settings) as log:
            await log.reap()
            recent = list(self._model.by_session)[-200:]
            views = [Projector(each).apply_all(events) for each, events in self.histories(recent).items() if events]
        steps = [step for each in views if each.exists for turn in each.view().turns for step in turn.steps]
        return [f"step {step.step_id} is still open" for step in steps if step.status == "open"]


async def _wrong_answers(log: SessionLog, session_id: UUID, events: list[RecordedEvent], model: Model) -> list[str]:
    projector = Projector(session_id).apply_all(events)
    owner = projector.user_id or SYSTEM
    session = log.session(session_id, owner)
    try:
        if projector.exists:
            await _check_answers(session, projector, model)
            await _check_intruder(log.session(session_id, "an intruder"))
        else:
            await _check_intruder(session)
    except (AssertionError, TurnlogError, KeyError) as error:
        return [f"session {session_id}: {type(error).__name__}: {str(error)[:400]}"]
    return []


async def _check_answers(session: Session, projector: Projector, model: Model) -> None:
    """Asserts that every way of asking says what the events say, and that it is the session's own."""
    expected = projector.view()
    seen = await session.view()
    assert seen == expected, f"the view at {seen.version} is not the fold at {expected.version}"
    prompts = {}
    for api, check in CHECKS.items():
        prompts[api] = await session.prompt(api)
        check(prompts[api])
        assert prompts[api] == build_prompt(expected.turns, api, expected.compaction), f"the {api} prompt"
    with suppress(PromptTooLongError):
        CHECKS["chat"](await session.prompt(max_tokens=200))
    tags = set(TAG.findall(json.dumps(prompts) + expected.model_dump_json()))
    assert tags <= {session.id.hex[:12]}, f"of other sessions: {tags}"
    _check_seen(model, session.id, expected, prompts["chat"])


def _check_seen(model: Model, session_id: UUID, expected: SessionView, prompt: Any) -> None:
    """Asserts that the processes have seen the same, with all that they remember. A step may have been ended since."""
    if expected.user_id is None:
        return  # nobody may see it yet
    for version, view, chat in model.seen[session_id]:
        if version == expected.version:
            assert view == digest(expected.model_dump(mode="json")), f"another view at {version}"
            assert chat == digest(prompt), f"another prompt at {version}"
        else:
            later = isinstance(version, int) and version < expected.version
            assert later, f"a process has seen {version} where {expected.version} is stored"


async def _check_intruder(session: Session) -> None:
    for attempt in (session.view, session.prompt, lambda: session.say("x")):
        try:
            await attempt()
        except SessionNotFoundError:
            continue
        raise AssertionError("a stranger was let in")


def copied_wrongly(source: list[RecordedEvent], fork: list[RecordedEvent]) -> str | None:
    """What is wrong with a fork: it begins as its source does, and says that it is one."""
    marks = [at for at, recorded in enumerate(fork) if isinstance(recorded.event, e.SessionForked)]
    if len(marks) != 1:
        return f"{len(marks)} marks of a fork"
    bodies = [recorded.event.to_json() for recorded in fork[: marks[0]]]
    return None if bodies == [recorded.event.to_json() for recorded in source[: len(bodies)]] else "another beginning"
