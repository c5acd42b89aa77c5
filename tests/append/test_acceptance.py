"""The acceptance cases of a chat back end's session store, A1 to A19, against a real Postgres and a real Valkey."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from redis import Redis

from tests.support.prompt_rules import check_chat_prompt, check_no_neighbours
from turnlog import SYSTEM, Session, SessionLog, SessionNotFoundError, SessionView, Settings
from turnlog.domain.errors import StoreUnavailableError
from turnlog.infrastructure import cache
from turnlog.infrastructure.embedded import EmbeddedServers

FEW_SECONDS = 5.0


# What the stories below have in common


@pytest.fixture
async def other_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """A second process, as far as the database can tell."""
    async with SessionLog.open(settings) as opened:
        yield opened


async def answer(session: Session, *texts: str) -> None:
    """A step of text deltas."""
    async with session.completion(model="m") as completion:
        for text in texts:
            await completion.text(text)
        await completion.finish("stop")


async def call_tools(session: Session, *call_ids: str, text: str = "") -> None:
    """A step with a text and whole tool calls."""
    async with session.completion(model="m") as completion:
        await completion.text(text)
        for call_id in call_ids:
            await completion.tool_call(call_id, "search", '{"q": "cats"}')
        await completion.finish("tool_calls")


async def have_a_whole_conversation(session: Session) -> None:
    """Something of everything that a view can hold."""
    await session.set_title("Weather")
    await session.set_metadata({"provider": {"account": 7}})
    await session.increment("runs", "graph-1")
    await session.add_message("system", "Be brief.")
    await session.add_message("user", [{"type": "text", "text": "Weather?"}], name="anna", message_id="m-1")
    async with session.completion(model="m") as completion:
        await completion.reasoning("Two cities.")
        await completion.text("Let me ")
        await completion.text("see.")
        await completion.tool_call("call-1", "weather", '{"city": "Paris"}')
        await completion.tool_call_delta(1, id="call-2", name="weather", arguments='{"city"')
        await session.add_tool_result("call-1", "asked", status="pending")
        await completion.tool_call_delta(1, arguments=': "Rome"}')
        await completion.finish("tool_calls", usage={"prompt_tokens": 10, "completion_tokens": 5})
    await session.add_tool_result("call-1", "21 C")
    await session.add_tool_result("call-2", [{"type": "text", "text": "no answer"}], status="error")
    await answer(session, "21 degrees ", "in Paris.")
    await session.add_usage(prompt_tokens=3, completion_tokens=4, model="m")
    await session.say("And a joke?")
    async with session.completion() as completion:
        await completion.refusal("I do not joke.")


def roles(messages: list[Any]) -> list[str]:
    return [message["role"] for message in messages]


async def checked_prompt(session: Session) -> list[Any]:
    """The prompt, which the API would take."""
    prompt: list[Any] = list(await session.prompt())
    check_chat_prompt(prompt)
    return prompt


async def wait_until_cached(redis: Redis, session: Session) -> bytes:
    """The key of the session's entry, which is written after the reader was answered."""
    async with asyncio.timeout(FEW_SECONDS):
        while True:
            keys: Any = redis.keys(f"*{session.id}")
            if keys:
                return bytes(keys[0])
            await asyncio.sleep(0.01)


async def event_ids(session: Session) -> list[int]:
    return [event.position async for event in session.events()]


# A1 to A4: what goes in comes out


async def test_a1_a_view_round_trips_through_json(session: Session) -> None:
    await have_a_whole_conversation(session)
    view = await session.view()
    assert SessionView.model_validate_json(view.model_dump_json()) == view
    assert SessionView.from_json(view.to_json()) == view
    assert SessionView.model_validate(view.model_dump(mode="json")) == view


async def test_a2_what_was_appended_is_what_every_reader_gets(
    log: SessionLog, other_log: SessionLog, session: Session
) -> None:
    await have_a_whole_conversation(session)
    view = await session.view()
    assert view == await log.session(session.id, "u1").view()
    assert view == await other_log.session(session.id, "u1").view()
    assert view.turns[0].messages[1].content == ({"type": "text", "text": "Weather?"},)
    assert [call.arguments for call in view.turns[0].steps[0].message.tool_calls] == [
        '{"city": "Paris"}',
        '{"city": "Rome"}',
    ]
    assert view.messages[-1] == {"role": "assistant", "content": None, "refusal": "I do not joke."}


async def test_a3_somebody_elses_session_looks_like_one_that_was_never_there(log: SessionLog, session: Session) -> None:
    unknown = uuid4()
    said = []
    for session_id in (session.id, unknown):
        with pytest.raises(SessionNotFoundError) as refused:
            await log.session(session_id, "u2").view()
        said.append(str(refused.value).replace(str(session_id), "ID"))
    assert said[0] == said[1]


async def test_a4_a_dropped_cache_changes_nothing_in_the_view(
    other_log: SessionLog, session: Session, redis: Redis
) -> None:
    await have_a_whole_conversation(session)
    before = await session.view()
    redis.delete(await wait_until_cached(redis, session))
    after = await other_log.session(session.id, "u1").view()
    assert after == before
    assert after.usage.entries == before.usage.entries
    assert len(after.usage.entries) == 2


async def test_a4_an_entry_that_expired_changes_nothing_in_the_view(settings: Settings) -> None:
    """An answer of many minutes, then an empty page: the cache had been the only place where it was."""
    async with SessionLog.open(settings.model_copy(update={"cache_ttl_seconds": 0.05})) as log:
        session = await log.start_session("u1")
        await have_a_whole_conversation(session)
        before = await session.view()
        await asyncio.sleep(0.1)
        assert await log.session(session.id, "u1").view() == before


async def test_a4_a_view_from_the_cache_is_the_view_from_the_log(
    other_log: SessionLog, session: Session, redis: Redis
) -> None:
    await have_a_whole_conversation(session)
    folded = await session.view()
    await wait_until_cached(redis, session)
    assert await other_log.session(session.id, "u1").view() == folded


# A5 to A8: one assistant message a step


async def test_a5_text_and_a_long_running_call_with_its_pending_result_are_one_assistant_message(
    session: Session,
) -> None:
    await session.say("Report, please.")
    async with session.completion() as completion:
        await completion.text("I'll put it together.")
        await completion.tool_call("call-1", "report", "{}")
        await session.add_tool_result("call-1", "started", status="pending")
        await completion.text(" It takes a minute.")
        await completion.finish("tool_calls")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "tool"]
    assert messages[1]["content"] == "I'll put it together. It takes a minute."
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call-1"]
    assert await checked_prompt(session) == messages


async def test_a6_a_call_without_text_is_one_assistant_message_without_content(session: Session) -> None:
    await session.say("Report, please.")
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "done")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "tool"]
    assert messages[1]["content"] is None
    assert await checked_prompt(session) == messages


async def test_a7_a_call_after_a_user_message_leaves_the_older_assistant_message_alone(session: Session) -> None:
    await session.say("Hello")
    await answer(session, "Hi!")
    await session.say("Search for cats.")
    await call_tools(session, "call-1")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "user", "assistant"]
    assert messages[1] == {"role": "assistant", "content": "Hi!"}
    assert [call["id"] for call in messages[3]["tool_calls"]] == ["call-1"]
    assert roles(await checked_prompt(session)) == ["user", "assistant", "user", "assistant", "tool"]


async def test_a7_a_call_of_an_open_step_stays_in_it_though_a_user_message_came_in_between(session: Session) -> None:
    await session.say("Search for cats.")
    async with session.completion() as completion:
        await completion.text("Searching.")
        await session.say("And for dogs!")
        await completion.tool_call("call-1", "search", "{}")
        await completion.finish("tool_calls")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "user"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call-1"]
    assert roles(await checked_prompt(session)) == ["user", "assistant", "tool", "user"]


async def test_a8_two_calls_with_a_pending_result_between_them_are_one_assistant_message(session: Session) -> None:
    await session.say("Two reports, please.")
    async with session.completion() as completion:
        await completion.tool_call("t1", "report", "{}")
        await session.add_tool_result("t1", "started", status="pending")
        await completion.tool_call("t2", "report", "{}")
        await completion.finish("tool_calls")
    await session.add_tool_result("t2", "done")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["t1", "t2"]
    assert [message["tool_call_id"] for message in messages[2:]] == ["t1", "t2"]
    assert await checked_prompt(session) == messages


# A9 and A10: no recording can produce a split


async def add_whole(session: Session, number: int) -> None:
    await session.add_message("assistant", f"part {number}.")


async def add_finished_step(session: Session, number: int) -> None:
    await answer(session, f"part {number}.")


async def add_interrupted_step(session: Session, number: int) -> None:
    async with session.completion() as completion:
        await completion.text(f"part {number}.")


async def add_step_with_a_call(session: Session, number: int) -> None:
    await call_tools(session, f"call-{number}", text=f"part {number}.")


async def add_whole_with_a_call(session: Session, number: int) -> None:
    call = {"id": "same-id", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    await session.add_message("assistant", f"part {number}.", tool_calls=[call])


SPLITS = [add_whole, add_finished_step, add_interrupted_step, add_step_with_a_call, add_whole_with_a_call]


@pytest.mark.parametrize("first", SPLITS)
async def test_a9_two_assistant_messages_in_a_row_are_never_side_by_side(log: SessionLog, first: Any) -> None:
    for second in SPLITS:
        session = await log.start_session("u1")
        await session.say("Hello")
        await first(session, 1)
        await second(session, 2)
        messages = (await session.view()).messages
        check_no_neighbours(messages)
        check_no_neighbours(await checked_prompt(session))
        said = [message["content"] or "" for message in messages if message["role"] == "assistant"]
        assert "".join(said) == "part 1.part 2.", second


@pytest.mark.parametrize("add", SPLITS)
async def test_a10_three_assistant_messages_in_a_row_are_never_side_by_side(session: Session, add: Any) -> None:
    await session.say("Hello")
    for number in (1, 2, 3):
        await add(session, number)
    check_no_neighbours((await session.view()).messages)
    await checked_prompt(session)
    await session.say("Go on")
    check_no_neighbours((await session.view()).messages)
    assert (await checked_prompt(session))[-1]["content"] == "Go on"


async def test_a10_three_steps_that_answer_each_other_keep_their_messages_apart(session: Session) -> None:
    await session.say("Hello")
    for number in (1, 2):
        await call_tools(session, f"call-{number}")
        await session.add_tool_result(f"call-{number}", "done")
    await answer(session, "Here.")
    assert roles(await checked_prompt(session)) == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert roles((await session.view()).messages) == ["user", "assistant", "tool", "assistant", "tool", "assistant"]


# A11 to A13


async def test_a11_an_empty_session_has_a_view_and_an_empty_prompt(session: Session) -> None:
    view = await session.view()
    assert (view.messages, view.turns, view.pending_tool_calls, view.faults) == ([], (), (), ())
    assert view.version == 1
    assert await session.prompt() == []


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
async def test_a11_a_session_of_a_single_message_is_that_message(session: Session, role: Any) -> None:
    await session.add_message(role, "Hello")
    assert (await session.view()).messages == [{"role": role, "content": "Hello"}]
    assert await checked_prompt(session) == [{"role": role, "content": "Hello"}]


async def test_a12_a_follow_up_after_a_long_running_tool_gives_a_valid_prompt(session: Session) -> None:
    await session.say("Report, please.")
    await call_tools(session, "call-1", text="On it.")
    await session.add_tool_result("call-1", "started", status="pending")
    await answer(session, "I have started it.")
    await session.say("Is it done?")
    prompt = await checked_prompt(session)
    assert roles(prompt) == ["user", "assistant", "tool", "assistant", "user"]
    assert prompt[2]["content"] == "started"


async def test_a13_a_late_final_result_replaces_the_pending_one(
    session: Session, other_log: SessionLog, redis: Redis
) -> None:
    await session.say("Report, please.")
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "started", status="pending")
    await session.say("Hello?")
    await answer(session, "Still waiting.")
    await session.view()
    await wait_until_cached(redis, session)
    await other_log.session(session.id, SYSTEM).add_tool_result("call-1", "the report")
    view = await session.view()
    assert [message["content"] for message in view.messages if message["role"] == "tool"] == ["the report"]
    assert view.turns[0].steps[0].tool_results[0].status == "final"
    assert roles(await checked_prompt(session)) == ["user", "assistant", "tool", "user", "assistant"]


# A14 and A15


async def ids_on_page(log: SessionLog, principal: Any, **page: int) -> list[UUID]:
    return [item.session_id for item in (await log.list_sessions(principal, **page)).items]


async def test_a14_a_list_has_limit_offset_total_and_newest_activity_first(log: SessionLog) -> None:
    mine = [await log.start_session("u1", title=f"number {number}") for number in range(5)]
    theirs = await log.start_session("u2")
    await mine[1].say("Hello")
    newest_first = [mine[place].id for place in (1, 4, 3, 2, 0)]
    assert await ids_on_page(log, "u1") == newest_first
    assert await ids_on_page(log, "u1", limit=2) == newest_first[:2]
    assert await ids_on_page(log, "u1", limit=2, offset=2) == newest_first[2:4]
    assert await ids_on_page(log, "u1", offset=5) == []
    assert [(await log.list_sessions("u1", limit=1, offset=offset)).total for offset in (0, 4, 9)] == [5, 5, 5]
    assert set(await ids_on_page(log, SYSTEM)) == {*newest_first, theirs.id}
    assert (await log.list_sessions("nobody")).total == 0


async def test_a14_a_line_of_the_list_says_what_the_view_says(log: SessionLog, session: Session) -> None:
    await have_a_whole_conversation(session)
    view, line = await session.view(), (await log.list_sessions("u1")).items[0]
    assert (line.session_id, line.user_id, line.title) == (view.session_id, view.user_id, view.title)
    assert (line.started_at, line.updated_at, line.version) == (view.started_at, view.updated_at, view.version)


async def test_a15_a_deleted_session_is_gone_everywhere(
    log: SessionLog, other_log: SessionLog, session: Session, redis: Redis
) -> None:
    await have_a_whole_conversation(session)
    await session.view()
    await wait_until_cached(redis, session)
    assert await log.delete_session(session.id, "u1") is True
    assert redis.keys(f"*{session.id}*") == []
    for reader in (session, log.session(session.id, SYSTEM), other_log.session(session.id, "u1")):
        with pytest.raises(SessionNotFoundError):
            await reader.view()
    assert (await log.list_sessions("u1")).total == 0
    assert await log.delete_session(session.id, "u1") is False


async def test_a15_only_the_owner_deletes(log: SessionLog, session: Session) -> None:
    assert await log.delete_session(session.id, "u2") is False
    assert await log.delete_session(uuid4(), "u1") is False
    assert (await session.view()).version == 1


# A16


async def test_a16_a_rename_during_a_stream_loses_neither_a_message_nor_the_title(
    session: Session, other_log: SessionLog
) -> None:
    renaming = other_log.session(session.id, "u1")
    await renaming.view()
    for number in range(20):
        await session.say(f"question {number}")
        await answer(session, f"answer {number}")
    async with session.completion() as completion:
        await completion.text("Still ")
        await renaming.set_title("All of it")
        await completion.text("here.")
        await completion.finish("stop")
    for reader in (session, renaming):
        view = await reader.view()
        assert view.title == "All of it"
        assert roles(view.messages) == ["user", "assistant"] * 20
        assert view.messages[-1]["content"] == "answer 19Still here."
    await checked_prompt(session)


# A17


GARBAGE = (b"", b"\xff\x00garbage", b"{}", b"null", b'{"version": 1e999}', b"\n\n\n", b"9" * 60)


async def test_a17_corrupt_bytes_anywhere_in_the_cache_change_no_answer(
    session: Session, other_log: SessionLog, redis: Redis
) -> None:
    await have_a_whole_conversation(session)
    view, prompt = await session.view(), await session.prompt()
    other = other_log.session(session.id, "u1")
    for place in ("view", "chat"):
        key = await wait_until_cached(redis, session) + (b"" if place == "view" else b":chat")
        intact: Any = await other_log_fills(redis, other, key)
        lines = [i for i in range(len(intact)) if intact[i : i + 1] == b"\n"]
        spoilt = [*GARBAGE, *(intact[:cut] for cut in (1, 30, 42, *lines, len(intact) - 1))]
        spoilt += [intact[: cut + 1] + garbage + intact[cut + 1 :] for cut in lines for garbage in GARBAGE[1:]]
        for value in spoilt:
            redis.set(key, value)
            assert (await other.view(), await other.prompt()) == (view, prompt)


async def other_log_fills(redis: Redis, session: Session, key: bytes) -> bytes:
    async with asyncio.timeout(FEW_SECONDS):
        while not (value := redis.get(key)):
            await session.prompt()
            await asyncio.sleep(0.01)
    return bytes(value)  # type: ignore[arg-type]


async def test_a17_a_cache_entry_of_the_wrong_type_is_replaced_and_silences_nothing_else(
    session: Session, other_log: SessionLog, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await have_a_whole_conversation(session)
    expected = await session.view()
    key = await wait_until_cached(redis, session)
    redis.delete(key)
    redis.hset(key, "not", "a string")
    assert await other_log.session(session.id, "u1").view() == expected
    assert "views come from Postgres" not in caplog.text  # Redis is not down, only one entry is broken
    await asyncio.sleep(0.2)
    assert await other_log.session(session.id, "u1").view() == expected
    assert redis.type(key) == b"string"


async def test_a17_an_entry_of_another_session_opens_no_door(
    log: SessionLog, other_log: SessionLog, session: Session, redis: Redis
) -> None:
    await session.say("mine")
    theirs = await log.start_session("u2")
    await theirs.say("theirs")
    for each in (session, theirs):
        await each.view()
    keys = [await wait_until_cached(redis, each) for each in (session, theirs)]
    redis.copy(keys[0].decode(), keys[1].decode(), replace=True)
    intruder = other_log.session(theirs.id, "u1")
    with pytest.raises(SessionNotFoundError):
        await intruder.say("hello")
    with pytest.raises(SessionNotFoundError):
        await intruder.view()
    assert [message["content"] for message in (await theirs.view()).messages] == ["theirs"]


# A18 and A19: servers of the test's own, for the others' tests need theirs


@contextmanager
def short_lived_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class KillableServers:
    """A pair that the test can kill, freeze and start again."""

    def __init__(self, folder: Path) -> None:
        self._embedded = EmbeddedServers(folder)
        self.servers = self._embedded.start()
        self.settings = Settings(
            database_url=self.servers.database_url,
            redis_url=self.servers.redis_url,
            store_timeout_seconds=1,
            redis_timeout_seconds=0.3,
        )

    def kill_postgres(self) -> None:
        _signal(self._postgres(), signal.SIGKILL)

    def kill_redis(self) -> None:
        _signal(self._redis(), signal.SIGKILL)

    def start_again(self) -> None:
        """Starts what was killed. Blocks for the time of a crash recovery."""
        self._embedded.start()

    @contextmanager
    def frozen_postgres(self) -> Iterator[None]:
        """Keeps every connection open and answers none."""
        with _frozen(self._postgres()):
            yield

    @contextmanager
    def frozen_redis(self) -> Iterator[None]:
        with _frozen(self._redis()):
            yield

    def close(self) -> None:
        self._embedded.close()

    def _postgres(self) -> list[psutil.Process]:
        assert self.servers.database_url is not None
        with psycopg.connect(self.servers.database_url) as connection:
            row = connection.execute("select pg_backend_pid()").fetchone()
            assert row is not None
            postmaster = psutil.Process(row[0]).parent()
            return [postmaster, *postmaster.children(recursive=True)]

    def _redis(self) -> list[psutil.Process]:
        assert self.servers.redis_url is not None
        with Redis.from_url(self.servers.redis_url) as client:
            info: Any = client.info("server")
        return [psutil.Process(int(info["process_id"]))]


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


@contextmanager
def _frozen(processes: list[psutil.Process]) -> Iterator[None]:
    _signal(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(processes, signal.SIGCONT)


@pytest.fixture(scope="module")
def killable() -> Iterator[KillableServers]:
    with short_lived_folder() as folder:
        pair = KillableServers(folder)
        try:
            yield pair
        finally:
            pair.close()


@pytest.fixture
async def fragile_log(killable: KillableServers) -> AsyncIterator[SessionLog]:
    """A log on servers that will go down."""
    killable.start_again()
    async with SessionLog.open(killable.settings) as opened:
        yield opened
        killable.start_again()


def warnings_of(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(1 for record in caplog.records if record.levelno >= logging.WARNING and text in record.getMessage())


async def cached_bytes(killable: KillableServers, session: Session) -> bytes:
    """All that Redis holds of the session, once it holds something."""
    assert killable.servers.redis_url is not None
    with Redis.from_url(killable.servers.redis_url) as client:
        entry: Any = client.get(await wait_until_cached(client, session))
    return bytes(entry)


async def test_a18_redis_goes_down_and_comes_back_and_only_that_is_logged(
    killable: KillableServers,
    fragile_log: SessionLog,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "PROBE_SECONDS", 0.02)
    session = await fragile_log.start_session("u1")
    await session.view()
    killable.kill_redis()
    for number in range(10):
        await session.say(f"question {number}")
        await answer(session, f"answer {number}")
        assert len((await session.view()).messages) == 2 * (number + 1)
        await checked_prompt(session)
        await asyncio.sleep(0.03)
    assert (await fragile_log.list_sessions("u1", limit=1)).items[0].session_id == session.id
    assert warnings_of(caplog, "Redis") == 1
    killable.start_again()
    await asyncio.sleep(0.05)
    for _ in range(3):
        assert len((await session.view()).messages) == 20
    assert warnings_of(caplog, "Redis is back") == 1
    assert warnings_of(caplog, "") == 2


async def test_a18_the_cache_fills_again_after_an_outage(
    killable: KillableServers, fragile_log: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PROBE_SECONDS", 0.02)
    session = await fragile_log.start_session("u1")
    killable.kill_redis()
    await session.say("Hello")
    await session.view()
    killable.start_again()
    await asyncio.sleep(0.05)
    await session.view()
    await session.view()
    assert killable.servers.redis_url is not None
    with Redis.from_url(killable.servers.redis_url) as client:
        await wait_until_cached(client, session)


async def test_a18_a_redis_that_does_not_answer_only_costs_its_timeout(
    killable: KillableServers, fragile_log: SessionLog, caplog: pytest.LogCaptureFixture
) -> None:
    session = await fragile_log.start_session("u1")
    await session.view()
    with killable.frozen_redis():
        async with asyncio.timeout(FEW_SECONDS):
            for number in range(20):
                await session.say(f"question {number}")
                await session.view()
    assert warnings_of(caplog, "Redis") == 1


async def test_a18_stale_entries_left_by_a_process_that_could_not_reach_redis_are_not_shown(
    settings: Settings, log: SessionLog, other_log: SessionLog, redis: Redis
) -> None:
    growing, deleted = await log.start_session("u1"), await log.start_session("u1")
    for session in (growing, deleted):
        await session.say("one")
        await session.view()
        await wait_until_cached(redis, session)
    async with SessionLog.open(settings.model_copy(update={"redis_url": "none"})) as cut_off:
        await cut_off.session(growing.id, "u1").say("two")
        assert await cut_off.delete_session(deleted.id, "u1")
    assert redis.exists(await wait_until_cached(redis, deleted))
    assert len((await other_log.session(growing.id, "u1").view()).messages) == 2
    with pytest.raises(SessionNotFoundError):
        await other_log.session(deleted.id, "u1").view()


@pytest.mark.parametrize("redis_url", ["none", "redis://127.0.0.1:1/0", "unix:///nowhere/at/all.sock"])
async def test_a18_a_log_without_redis_does_the_same(settings: Settings, redis_url: str) -> None:
    async with SessionLog.open(settings.model_copy(update={"redis_url": redis_url})) as log:
        session = await log.start_session("u1")
        await have_a_whole_conversation(session)
        await checked_prompt(session)
        assert (await session.view()).title == "Weather"
        assert await log.delete_session(session.id, "u1") is True


async def test_a19_postgres_down_is_an_error_within_seconds_and_nothing_unstored_is_seen(
    killable: KillableServers, fragile_log: SessionLog
) -> None:
    session = await fragile_log.start_session("u1")
    await session.say("before", message_id="m-1")
    await session.view()
    killable.kill_postgres()
    async with asyncio.timeout(FEW_SECONDS):
        with pytest.raises(StoreUnavailableError):
            await session.say("during", message_id="m-2")
    async with asyncio.timeout(FEW_SECONDS):
        with pytest.raises(StoreUnavailableError):
            await session.view()
    assert b"during" not in await cached_bytes(killable, session)
    await asyncio.to_thread(killable.start_again)
    async with SessionLog.open(killable.settings) as reader:
        for seen in (reader.session(session.id, "u1"), session):
            assert [message["content"] for message in (await seen.view()).messages] == ["before"]


async def test_a19_the_same_log_works_again_and_a_retry_stores_once(
    killable: KillableServers, fragile_log: SessionLog
) -> None:
    session = await fragile_log.start_session("u1")
    killable.kill_postgres()
    with pytest.raises(StoreUnavailableError):
        await session.say("during", message_id="m-2")
    await asyncio.to_thread(killable.start_again)
    for _ in range(2):
        assert await session.say("during", message_id="m-2") == "m-2"
    await answer(session, "Here again.")
    assert [message["content"] for message in (await session.view()).messages] == ["during", "Here again."]
    assert await event_ids(session) == [1, 2, 3, 4, 5]


async def test_a19_a_short_outage_is_waited_out(killable: KillableServers, fragile_log: SessionLog) -> None:
    session = await fragile_log.start_session("u1")
    patient = killable.settings.model_copy(update={"store_timeout_seconds": 20})
    async with SessionLog.open(patient) as log:
        waiting = log.session(session.id, "u1")
        await waiting.view()
        killable.kill_postgres()
        saying = asyncio.create_task(waiting.say("through the outage"))
        await asyncio.to_thread(killable.start_again)
        await saying
        assert [message["content"] for message in (await waiting.view()).messages] == ["through the outage"]


async def test_a19_proxy_retries_during_the_outage_all_get_an_answer_and_store_once(
    killable: KillableServers, fragile_log: SessionLog
) -> None:
    session = await fragile_log.start_session("u1")
    killable.kill_postgres()
    async with asyncio.timeout(FEW_SECONDS):
        outcomes = await asyncio.gather(
            *(session.say("once", message_id="m-1") for _ in range(3)), return_exceptions=True
        )
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
    await asyncio.to_thread(killable.start_again)
    await session.say("once", message_id="m-1")
    assert [message["content"] for message in (await session.view()).messages] == ["once"]


async def test_a19_a_delta_that_was_not_stored_is_not_shown(killable: KillableServers, fragile_log: SessionLog) -> None:
    session = await fragile_log.start_session("u1")
    stream = session.record(provider("one ", "two ", "three "))
    for text in ("one ", "two "):
        assert text_of(await anext(stream)) == text
    killable.kill_postgres()
    with pytest.raises(StoreUnavailableError):
        await anext(stream)
    await asyncio.to_thread(killable.start_again)
    assert (await session.view()).messages == [{"role": "assistant", "content": "one two "}]
    await answer(session, "Once more.")
    first, second = (await session.view()).turns[0].steps
    assert first.status in ("failed", "abandoned")  # whether its end was stored depends on when Postgres came back
    assert second.status == "finished"
    await checked_prompt(session)


async def provider(*texts: str) -> AsyncIterator[dict[str, Any]]:
    for text in texts:
        yield {"choices": [{"index": 0, "delta": {"content": text}}]}


def text_of(chunk: dict[str, Any]) -> str:
    return str(chunk["choices"][0]["delta"]["content"])


async def test_a19_a_postgres_that_does_not_answer_is_an_error_within_seconds_too(
    killable: KillableServers, fragile_log: SessionLog
) -> None:
    session = await fragile_log.start_session("u1")
    with killable.frozen_postgres():
        async with asyncio.timeout(FEW_SECONDS):
            with pytest.raises(StoreUnavailableError):
                await session.say("into the void", message_id="m-1")
        async with asyncio.timeout(FEW_SECONDS):
            with pytest.raises(StoreUnavailableError):
                await session.view()
    await session.say("into the void", message_id="m-1")
    assert [message["content"] for message in (await session.view()).messages] == ["into the void"]


class CuttingProxy:
    """In front of Postgres' socket. Can throw away the server's next-but-n answer and hang up, after the server has
    done the work: what a broken network does to a commit."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._target = conninfo_to_dict(database_url)
        self._name = f".s.PGSQL.{self._target['port']}"
        self._folder = folder
        self.answers_until_cut: int | None = None
        self.cuts = 0

    @property
    def url(self) -> str:
        target = self._target
        return f"postgresql://{target['user']}@/{target['dbname']}?host={self._folder}&port={target['port']}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CuttingProxy]:
        server = await asyncio.start_unix_server(self._serve, self._folder / self._name)
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = os.path.join(str(self._target["host"]), self._name)  # noqa: PTH118 a str from a URL
        from_server, to_server = await asyncio.open_unix_connection(path)
        try:
            await asyncio.wait(
                {
                    asyncio.create_task(self._pass_on(reader, to_server)),
                    asyncio.create_task(self._pass_answers(from_server, writer)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            to_server.close()
            writer.close()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

    async def _pass_answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if self._is_cut():
                    return
                sink.write(data)
                await sink.drain()

    def _is_cut(self) -> bool:
        if self.answers_until_cut is None:
            return False
        self.answers_until_cut -= 1
        if self.answers_until_cut > 0:
            return False
        self.answers_until_cut = None
        self.cuts += 1
        return True


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[CuttingProxy]:
    with short_lived_folder() as folder:
        async with CuttingProxy(folder, settings.database_url or "").running() as running:
            yield running


@pytest.mark.parametrize("answers", range(1, 6))
async def test_a19_a_connection_that_breaks_at_any_answer_stores_once(
    settings: Settings, proxy: CuttingProxy, log: SessionLog, answers: int
) -> None:
    through_proxy = settings.model_copy(update={"database_url": proxy.url})
    async with SessionLog.open(through_proxy) as cut_log:
        session = await cut_log.start_session("u1")
        await session.say("before")
        proxy.answers_until_cut = answers
        async with asyncio.timeout(FEW_SECONDS):
            await asyncio.gather(*(session.say(f"message {number}") for number in range(3)))
            await answer(session, "Hel", "lo")
        seen = await log.session(session.id, "u1").view()
        assert proxy.cuts == 1
    said = ["before", "message 0", "message 1", "message 2", "Hello"]
    assert [message["content"] for message in seen.messages] == said
    assert await event_ids(log.session(session.id, "u1")) == list(range(1, 10))
