"""A session leaves a log as lines, and comes into another one as it was: the same events, at the same positions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.histories import History
from tests.support.owned_talks import everything_in_a_turn, owned_histories
from tests.support.real_data import evenly, real_corpus
from tests.support.recording import chunk, played, record
from tests.support.rules import CHECKS
from tests.support.samples import SAMPLES
from tests.support.sessions import contents, have_a_whole_conversation, stored_events, talked
from tests.support.strategies import any_event, histories
from turnlog import (
    SYSTEM,
    InvalidInputError,
    Session,
    SessionExistsError,
    SessionLog,
    SessionNotFoundError,
    Settings,
    StoreUnavailableError,
    ToolResultConflictError,
    TurnlogError,
)
from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.repair import exporting, restoring
from turnlog.infrastructure.repair.exported_lines import ExportHeader, event_line, is_header, parsed_events
from turnlog.infrastructure.store.appends import Append
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.infrastructure.store.whole import WholeAppend
from turnlog.infrastructure.testing import Stream, own_corpus
from turnlog.projections.prompt import Api

AT = datetime(2026, 3, 1, tzinfo=UTC)
START = e.SessionStarted(at=AT, user_id="u1")
SAY = e.MessageAdded(at=AT, message_id="m1", role="user", content="hi")


async def exported(log: SessionLog, session_id: UUID, **options: Any) -> list[str]:
    return [line async for line in log.export_session(session_id, SYSTEM, **options)]


def lines_of(events: Iterable[e.SessionEvent], user_id: str | None = "u1", session_id: UUID | None = None) -> list[str]:
    """An export that nobody has made."""
    session_id = session_id or uuid4()
    recorded = [RecordedEvent(session_id, position, 0, event) for position, event in enumerate(events, 1)]
    header = ExportHeader(session_id=session_id, user_id=user_id, title=None, started_at=AT, version=len(recorded))
    return [header.model_dump_json(), *map(event_line, recorded)]


def said(events: Sequence[RecordedEvent]) -> list[tuple[int, str, bytes]]:
    return [(recorded.position, recorded.topic, recorded.event.to_json()) for recorded in events]


async def everything_of(session: Session) -> list[Any]:
    """What a reader can see of a session, but for what names its log."""
    prompts = [await session.prompt("chat"), await session.prompt("anthropic"), await session.prompt("responses")]
    return [said(await stored_events(session)), await session.view(), *prompts]


# Round trips


@given(any_event)
def test_an_event_comes_out_of_its_line_as_it_was(event: e.SessionEvent) -> None:
    (found,) = parsed_events([event_line(RecordedEvent(uuid4(), 7, 9, event))], after=6)
    assert found.topic == event.topic
    assert EventMapper().event(found.topic, found.event).to_json() == event.to_json()


async def recorded_session(log: SessionLog, number: int, stream: Stream) -> Session:
    session = await log.start_session(None if number % 5 == 0 else "u1", metadata={"stream": stream.name})
    await session.say(f"message {number}")
    await record(session, played(*stream.parsed()))
    return session


async def test_sessions_are_the_same_in_another_log_whatever_is_in_them(
    log: SessionLog, log_elsewhere: SessionLog
) -> None:
    whole = await log.start_session("u1", title="Caf\ud800e")
    await have_a_whole_conversation(whole)
    streams = [*own_corpus(), *evenly(real_corpus(), 20)]
    made = await asyncio.gather(*(recorded_session(log, number, stream) for number, stream in enumerate(streams)))
    for session in (whole, await whole.fork(), *made):
        lines = await exported(log, session.id)
        report = await log_elsewhere.import_exported(lines)
        assert (report.session_id, report.became) == (session.id, "new")
        copy = log_elsewhere.session(session.id, SYSTEM)
        assert await everything_of(copy) == await everything_of(session)
        assert await exported(log_elsewhere, session.id) == lines
        mine, theirs = await stored_events(session), await stored_events(copy)
        assert {recorded.commit_id for recorded in mine}.isdisjoint(recorded.commit_id for recorded in theirs)
    assert await listed(log_elsewhere) == await listed(log)


async def listed(log: SessionLog) -> set[Any]:
    found = [one for offset in (0, 100) for one in (await log.list_sessions(SYSTEM, 100, offset)).items]
    return {(one.session_id, one.title, one.user_id, one.version, one.turn_status) for one in found}


@hypothesis_settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=histories | owned_histories)
async def test_any_events_are_stored_as_they_were_exported(log: SessionLog, history: History) -> None:
    events = [recorded.event for recorded in history[1:] if not isinstance(recorded.event, e.SessionStarted)]
    owner = next((event.user_id for event in reversed(events) if isinstance(event, e.OwnerAssigned)), "u1")
    lines = lines_of([START, *(event for event in events if not isinstance(event, e.SessionDeleted))], owner)
    report = await log.import_exported(lines)
    assert (await exported(log, report.session_id))[1:] == lines[1:]
    assert (await log.import_exported(lines)).became == "already_there"
    await log.session(report.session_id, SYSTEM).view()


async def test_every_kind_of_event_is_taken_back(log: SessionLog) -> None:
    some = [event for event in SAMPLES if not isinstance(event, e.SessionStarted | e.SessionDeleted)]
    for events in (some, [recorded.event for recorded in everything_in_a_turn()][1:]):
        lines = lines_of([SAMPLES[0], *events])
        report = await log.import_exported(lines)
        assert (await exported(log, report.session_id))[1:] == lines[1:]


# What it holds


async def test_an_export_is_read_in_pages_and_ends_where_it_began(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "EXPORT_PAGE_EVENTS", 3)
    await talked(session)
    told = list[tuple[int, int]]()
    lines = log.export_session(session.id, "u1", progress=lambda *done: told.append(done))
    header = json.loads(await anext(lines))
    await session.say("and one more")
    events = [json.loads(line) async for line in lines]
    assert header == {
        "turnlog_export": 1,
        "session_id": str(session.id),
        "user_id": "u1",
        "title": None,
        "started_at": events[0]["event"]["at"],
        "version": 7,
    }
    assert [event["position"] for event in events] == list(range(1, 8))
    assert told == [(3, 7), (6, 7), (7, 7)]


async def test_an_export_is_for_its_owner(log: SessionLog, session: Session) -> None:
    for format_ in exporting.EXPORT_FORMATS:
        with pytest.raises(SessionNotFoundError):
            await anext(log.export_session(session.id, "u2", format_))
    with pytest.raises(InvalidInputError, match="format: 'xml' is not one of: turnlog, chat"):
        await anext(log.export_session(session.id, "u1", "xml"))  # type: ignore[arg-type]
    await log.delete_session(session.id, "u1")
    with pytest.raises(SessionNotFoundError):
        await anext(log.export_session(session.id, SYSTEM))


@pytest.mark.parametrize("api", CHECKS)
async def test_a_conversation_is_one_line_that_its_api_and_an_import_take(
    log: SessionLog, log_elsewhere: SessionLog, api: Api
) -> None:
    session = await log.start_session("u1", title="Weather")
    await have_a_whole_conversation(session)
    async with session.completion() as completion:
        await completion.text("It is what was said last, and")
    (line,) = await exported(log, session.id, format=api)
    one = json.loads(line)
    assert (one["session_id"], one["user_id"], one["title"], one["format"]) == (str(session.id), "u1", "Weather", api)
    assert one["started_at"] == (await session.view()).started_at.isoformat()
    CHECKS[api]({name: one[name] for name in ("system", "messages")} if api == "anthropic" else one["messages"])
    assert "was said last" in str(one["messages"][-1])

    system = [{"role": "system", "content": one["system"]}] if api == "anthropic" else []
    copy = await log_elsewhere.import_session([*system, *one["messages"]], "u1", session.id, api, one["title"])
    assert contents((await copy.view()).messages)[:1] == ["Be brief."]
    CHECKS[api](await copy.prompt(api))


async def test_a_compacted_conversation_is_exported_whole(log: SessionLog, session: Session) -> None:
    await talked(session)
    await session.compact("They talked.", upto=5)
    (line,) = await exported(log, session.id, format="chat")
    assert contents(json.loads(line)["messages"])[:2] == ["question 0", "answer 0"]


# Again, and beside others


async def test_the_same_again_changes_nothing_also_where_the_session_went_on(
    log: SessionLog, session: Session, log_elsewhere: SessionLog
) -> None:
    await talked(session)
    lines = await exported(log, session.id)
    await log_elsewhere.import_exported(lines)
    assert (await log_elsewhere.import_exported(lines)).became == "already_there"
    copy = log_elsewhere.session(session.id, "u1")
    await copy.say("more")
    assert (await log_elsewhere.import_exported(lines)).became == "already_there"
    assert contents((await copy.view()).messages)[-1] == "more"


async def test_another_session_under_the_id_is_refused(
    log: SessionLog, session: Session, log_elsewhere: SessionLog
) -> None:
    await talked(session)
    lines = await exported(log, session.id)
    await log_elsewhere.import_exported(lines)
    await session.say("more")
    grown = await exported(log, session.id)
    edited = [line.replace("answer 1", "answer one") for line in lines]
    for other in (grown, edited):
        with pytest.raises(SessionExistsError, match="is there, and has other events"):
            await log_elsewhere.import_exported(other)
    with pytest.raises(SessionExistsError, match="is taken"):
        await log_elsewhere.import_exported(lines, user_id="u2")
    await log_elsewhere.delete_session(session.id, "u1")
    with pytest.raises(SessionExistsError, match="is taken"):
        await log_elsewhere.import_exported(lines)


async def test_what_was_accepted_is_known_after_an_import(
    log: SessionLog, session: Session, log_elsewhere: SessionLog
) -> None:
    await session.say("Weather?", message_id="m-1")
    async with session.completion() as completion:
        await completion.tool_call("call-1", "weather", "{}")
        await completion.finish("tool_calls")
    await session.add_tool_result("call-1", "21 C")
    await session.increment("runs", "graph", id="i-1")
    for number in range(600):  # more than a state remembers
        await session.increment("runs", "other", id=f"n-{number}")
    await log_elsewhere.import_exported(await exported(log, session.id))
    copy = log_elsewhere.session(session.id, "u1")
    before = await stored_events(copy)
    assert not (await copy.say("Weather?", message_id="m-1")).is_new
    await copy.add_tool_result("call-1", "21 C")
    await copy.increment("runs", "graph", id="i-1")
    assert await stored_events(copy) == before
    with pytest.raises(ToolResultConflictError):
        await copy.add_tool_result("call-1", "22 C")


async def test_a_step_that_was_open_is_abandoned_in_the_copy(
    log: SessionLog, session: Session, log_elsewhere: SessionLog
) -> None:
    await session.say("hi")
    async with session.completion() as completion:
        await completion.text("Hel")
        await log_elsewhere.import_exported(await exported(log, session.id))
        await completion.finish("stop")
    assert [step.session_id for step in await log_elsewhere.reap()] == [session.id]
    copy = log_elsewhere.session(session.id, "u1")
    assert (await copy.view()).turns[-1].status == "abandoned"
    await record(copy, played(chunk("Hello."), chunk(None, finish_reason="stop")))
    assert (await copy.view()).turns[-1].status == "finished"


# Owners


OWNERS: list[tuple[list[e.SessionEvent], str | None]] = [
    ([e.SessionStarted(at=AT, user_id="u1")], "u1"),
    ([e.SessionStarted(at=AT, user_id=None)], None),
    ([e.SessionStarted(at=AT, user_id=None), e.OwnerAssigned(at=AT, user_id="u1")], "u1"),
]


@pytest.mark.parametrize(("events", "owner"), OWNERS)
async def test_an_owner_stays_or_is_another_one(
    log: SessionLog, events: list[e.SessionEvent], owner: str | None
) -> None:
    kept = await log.import_exported(lines_of(events, owner))
    assert (await log.session(kept.session_id, SYSTEM).view()).user_id == owner
    lines = lines_of(events, owner)
    given_away = await log.import_exported(lines, user_id="u9")
    session = log.session(given_away.session_id, "u9")
    assert len(await stored_events(session)) == len(events)
    assert (await session.view()).user_id == "u9"
    assert given_away.session_id in [one.session_id for one in (await log.list_sessions("u9")).items]
    assert (await log.import_exported(lines, user_id="u9")).became == "already_there"
    starts = [recorded.event for recorded in await stored_events(session)]
    assert [getattr(event, "user_id", None) is None for event in starts] == [
        event.user_id is None and owner is not None  # type: ignore[union-attr]
        for event in events
    ]


# What is refused


def damaged(number: int, **fields: Any) -> list[str]:
    """An export in which one line has other fields."""
    lines = lines_of([START, SAY, SAY.model_copy(update={"message_id": "m2"})])
    lines[number] = json.dumps({**json.loads(lines[number]), **fields})
    return lines


TIMELESS = {**json.loads(SAY.model_dump_json()), "at": "2026-03-01T00:00:00"}

REFUSED: list[tuple[str, list[Any], str]] = [
    ("nothing", [], "lines: there are none"),
    ("blank lines", ["", " \n"], "lines: there are none"),
    ("no header", lines_of([START])[1:], "line: is no header of an exported session"),
    ("no JSON", ["{", *lines_of([START])[1:]], "line: is not JSON"),
    ("deep JSON", ["[" * 100_000], "line: is not JSON"),
    ("a list", ["[]"], "line: is no header"),
    ("a newer format", damaged(0, turnlog_export=2), "turnlog_export: format 2 is not known"),
    ("no session id", damaged(0, session_id="x"), "a field is missing or wrong"),
    ("a bad owner", damaged(0, user_id="u" * 10_000), "user_id: "),
    ("another owner", damaged(0, user_id="u2"), "user_id: is not the one that the events say"),
    ("a cut off end", lines_of([START, SAY])[:-1], "lines: there are 1 events, and by the header 2"),
    ("more than there was", damaged(0, version=2), "lines: there are 3 events, and by the header 2"),
    ("a gap", [*lines_of([START, SAY])[:2], *lines_of([START, SAY, SAY])[3:]], "event 2: has the position 3"),
    ("a position twice", damaged(2, position=1), "event 2: has the position 1"),
    ("a position that is none", damaged(1, position=True), "event 1: has the position True"),
    ("an unknown topic", damaged(3, topic="thought-shared.v1"), "event 3: unknown topic 'thought-shared.v1'"),
    ("no topic", damaged(3, topic=None), "event 3: has no topic"),
    ("no event", damaged(3, event=7), "event 3: is no event"),
    ("a broken event", damaged(3, event={"at": "yesterday"}), "event 3: a stored message-added.v1 does not parse"),
    ("a time without a zone", damaged(2, event=TIMELESS), "event 2: its time has no zone"),
    ("infinity", [lines_of([START, SAY])[0], '{"position": 1e999}'], "line: is not JSON: 1e999 is no finite number"),
    ("NaN", [lines_of([START, SAY])[0], '{"position": NaN}'], "line: is not JSON"),
    ("no start", lines_of([SAY]), "event 1: a message-added.v1 cannot stand there"),
    ("two starts", lines_of([START, START]), "event 2: a session-started.v1 cannot stand there"),
    ("a deleted one", lines_of([START, e.SessionDeleted(at=AT)]), "event 2: the session was deleted"),
    ("no text", [7], "lines[0]: must be a line of text, not int"),
]


@pytest.mark.parametrize(("lines", "reason"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
async def test_what_is_no_whole_export_is_refused_and_nothing_is_stored(
    log: SessionLog, monkeypatch: pytest.MonkeyPatch, lines: list[Any], reason: str
) -> None:
    monkeypatch.setattr(restoring, "PAGE_LINES", 2)
    for dry_run in (True, False):
        with pytest.raises(InvalidInputError) as raised:
            await log.import_exported(lines, dry_run=dry_run)
        assert reason in str(raised.value)
    assert (await log.list_sessions(SYSTEM)).total == 0


any_json = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["\ud800", "\0", "2026"])
    ),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)
any_object = st.dictionaries(st.text(), any_json, max_size=3)
LIKE: dict[type, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(exclude_categories=())),
    int: st.integers(),
    dict: any_object,
    list: st.lists(any_object, max_size=2),
}


def like(value: Any) -> st.SearchStrategy[Any]:
    """Mostly values of the same kind, which an event may hold."""
    return st.one_of(LIKE.get(type(value), any_json), LIKE.get(type(value), any_json), any_json)


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(event=st.sampled_from([event for event in SAMPLES if not isinstance(event, e.SessionStarted)]), data=st.data())
async def test_whatever_stands_in_an_event_is_refused_or_read_again(
    log: SessionLog, event: e.SessionEvent, data: st.DataObject
) -> None:
    fields = json.loads(event.model_dump_json())
    names = data.draw(st.lists(st.sampled_from(sorted(set(fields) - {"at"})), max_size=2)) if len(fields) > 1 else []
    fields |= {name: data.draw(like(fields[name])) for name in names}
    lines = lines_of([START, event, SAY])
    lines[2] = json.dumps({**json.loads(lines[2]), "event": fields})
    try:
        report = await log.import_exported(lines)
    except TurnlogError:
        return
    await log.session(report.session_id, SYSTEM).view()
    assert (await log.import_exported(await exported(log, report.session_id))).became == "already_there"


async def test_a_text_is_not_taken_for_lines(log: SessionLog) -> None:
    with pytest.raises(InvalidInputError, match="lines: must be lines"):
        await log.import_exported("\n".join(lines_of([START])))


async def test_a_dry_run_stores_nothing(log: SessionLog) -> None:
    lines = lines_of([START, SAY])
    assert (await log.import_exported(lines, dry_run=True)).became == "new"
    assert (await log.list_sessions(SYSTEM)).total == 0


@pytest.mark.parametrize("fails_at", [1, 2, 3])
async def test_an_import_is_whole_or_not_there(
    log: SessionLog, settings: Settings, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    monkeypatch.setattr(restoring, "PAGE_LINES", 4)
    says = [SAY.model_copy(update={"message_id": f"m{number}"}) for number in range(10)]
    lines, added, add = lines_of([START, *says]), 0, WholeAppend.add

    async def failing(self: WholeAppend, append: Append) -> None:
        nonlocal added
        added += 1
        if added == fails_at:
            raise StoreUnavailableError("gone")
        await add(self, append)

    async def cut_off() -> AsyncIterator[str]:
        for line in lines[: 4 * fails_at]:
            yield line
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(WholeAppend, "add", failing)
        with pytest.raises(StoreUnavailableError):
            await log.import_exported(lines)
    with pytest.raises(OSError, match="the disk is gone"):
        await log.import_exported(cut_off())
    async with SessionLog.open(settings) as other:
        assert (await other.list_sessions(SYSTEM)).total == 0
        report = await other.import_exported(lines)
        assert len(await stored_events(other.session(report.session_id, "u1"))) == 11


async def test_of_two_imports_at_once_one_session_comes(log: SessionLog, other_log: SessionLog) -> None:
    lines = lines_of([START, SAY])
    both = [log.import_exported(lines), other_log.import_exported(lines)]
    done: list[Any] = list(await asyncio.gather(*both, return_exceptions=True))
    became = [type(one) if isinstance(one, Exception) else one.became for one in done]
    assert became.count("new") == 1
    assert set(became) <= {"new", "already_there", SessionExistsError}
    assert (await log.import_exported(lines)).became == "already_there"


def test_a_header_is_known_by_its_beginning() -> None:
    header, event = lines_of([START])
    assert is_header(header)
    assert is_header(header.encode())
    assert not is_header(event)
    assert not is_header('{"messages": []}')
