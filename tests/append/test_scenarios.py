"""The bugs that this project exists to make impossible, each as the story in which it was seen in the field."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from openai import AsyncOpenAI

from tests.support import programs
from tests.support.processes import Child
from tests.support.prompt_rules import check_chat_prompt, check_no_neighbours
from turnlog import SYSTEM, RecordedEvent, Session, SessionLog, SessionView, Settings
from turnlog.domain.errors import ToolResultConflictError, TurnInProgressError
from turnlog.projections.view import Step
from turnlog.testing import FakeProvider

A_WHILE = 5.0


@pytest.fixture
async def other_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """A second process, as far as the database can tell."""
    async with SessionLog.open(settings) as opened:
        yield opened


# What the stories below have in common


def chunk(text: str | None = None, *calls: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    """One chunk of a provider's stream."""
    delta: dict[str, Any] = {"content": text}
    if calls:
        delta["tool_calls"] = list(calls)
    return {"id": "r-1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def fragment(index: int, arguments: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    """A piece of a tool call; the first one of an index has id and name."""
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


async def provider(*chunks: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for each in chunks:
        yield each


async def answer(session: Session, *texts: str) -> None:
    async with session.completion() as completion:
        for text in texts:
            await completion.text(text)
        await completion.finish("stop")


async def call_tool(session: Session, call_id: str) -> None:
    async with session.completion() as completion:
        await completion.tool_call(call_id, "search", "{}")
        await completion.finish("tool_calls")


def roles(messages: Sequence[Any]) -> list[str]:
    return [message["role"] for message in messages]


def contents(messages: Sequence[Any]) -> list[Any]:
    return [message["content"] for message in messages]


def call_ids(message: Any) -> list[str]:
    return [call["id"] for call in message.get("tool_calls", ())]


def only_step(view: SessionView) -> Step:
    (step,) = [step for turn in view.turns for step in turn.steps]
    return step


async def checked_prompt(session: Session) -> list[Any]:
    """The prompt, which the API would take."""
    prompt: list[Any] = list(await session.prompt())
    check_chat_prompt(prompt)
    return prompt


async def stored_events(session: Session) -> list[RecordedEvent]:
    return [event async for event in session.events()]


async def assert_conversation_goes_on(session: Session) -> None:
    """The next question, the next answer and the next prompt work as if nothing had happened."""
    await checked_prompt(session)
    await session.say("Go on.")
    assert (await checked_prompt(session))[-1] == {"role": "user", "content": "Go on."}
    await answer(session, "I go on.")
    assert (await checked_prompt(session))[-1] == {"role": "assistant", "content": "I go on."}
    assert (await session.view()).turns[-1].status == "finished"
    assert all(step.status != "open" for turn in (await session.view()).turns for step in turn.steps)


# Row 1: text and a long-running tool call of one response saved as two assistant messages


async def test_text_and_a_long_running_call_of_one_response_are_one_assistant_message(session: Session) -> None:
    await session.say("Build me an agent.")
    stream = session.record(
        provider(
            chunk("I'll "),
            chunk("create it."),
            chunk(None, fragment(0, "", "call-1", "create_agent")),
            chunk(None, fragment(0, '{"goal": "news"}')),
            chunk(" One moment.", finish_reason="tool_calls"),
        )
    )
    async for piece in stream:
        if piece["choices"][0]["delta"].get("tool_calls") and (await session.view()).turns[0].steps[0].message.content:
            await session.add_tool_result("call-1", "operation started", status="pending")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "tool"]
    assert messages[1]["content"] == "I'll create it. One moment."
    assert call_ids(messages[1]) == ["call-1"]
    await session.say("Is it ready?")
    assert roles(await checked_prompt(session)) == ["user", "assistant", "tool", "user"]


async def test_an_awaited_final_result_in_the_middle_of_a_response_splits_nothing(session: Session) -> None:
    async with session.completion() as completion:
        await completion.tool_call("call-1", "search", "{}")
        await session.add_tool_result("call-1", "found it")
        await completion.text("There it is.")
        await completion.finish("stop")
    assert roles((await session.view()).messages) == ["assistant", "tool"]
    assert roles(await checked_prompt(session)) == ["assistant", "tool"]


# Row 2: a tool call attached after its row was saved; the card vanishes, and its result is an orphan after a reload


async def test_a_call_that_came_after_the_view_was_saved_is_there_after_a_reload(
    session: Session, other_log: SessionLog
) -> None:
    await session.say("Search for cats.")
    async with session.completion() as completion:
        await completion.text("Searching.")
        await session.view()  # read, folded and cached in the middle of the message
        await other_log.session(session.id, "u1").view()
        await completion.tool_call("call-1", "search", '{"q": "cats"}')
        await completion.finish("tool_calls")
    await session.add_tool_result("call-1", "three cats")
    reloaded = await other_log.session(session.id, "u1").view()
    assert reloaded.faults == ()
    assert roles(reloaded.messages) == ["user", "assistant", "tool"]
    assert call_ids(reloaded.messages[1]) == ["call-1"]
    assert reloaded == await session.view()
    await checked_prompt(session)


# Row 3: what the first fix missed


async def test_two_long_running_calls_of_one_response_are_one_assistant_message(session: Session) -> None:
    await session.say("Two agents, please.")
    async with session.completion() as completion:
        for call_id in ("call-1", "call-2"):
            await completion.tool_call(call_id, "create_agent", "{}")
            await session.add_tool_result(call_id, "started", status="pending")
        await completion.finish("tool_calls")
    prompt = await checked_prompt(session)
    assert roles(prompt) == ["user", "assistant", "tool", "tool"]
    assert call_ids(prompt[1]) == ["call-1", "call-2"]


async def test_text_a_long_running_and_a_regular_call_of_one_response_are_one_assistant_message(
    session: Session,
) -> None:
    await session.say("An agent, and the weather.")
    async with session.completion() as completion:
        await completion.text("Both at once.")
        await completion.tool_call("long", "create_agent", "{}")
        await session.add_tool_result("long", "started", status="pending")
        await completion.tool_call("regular", "weather", "{}")
        await completion.finish("tool_calls")
    await session.add_tool_result("regular", "21 C")
    prompt = await checked_prompt(session)
    assert roles(prompt) == ["user", "assistant", "tool", "tool"]
    assert call_ids(prompt[1]) == ["long", "regular"]
    assert contents(prompt[2:]) == ["started", "21 C"]


async def test_a_call_of_the_second_round_is_a_message_of_its_own(session: Session) -> None:
    await session.say("Search, then build.")
    await call_tool(session, "call-1")
    await session.add_tool_result("call-1", "found")
    async with session.completion() as completion:
        await completion.tool_call("call-2", "create_agent", "{}")
        await session.add_tool_result("call-2", "started", status="pending")
        await completion.finish("tool_calls")
    prompt = await checked_prompt(session)
    assert roles(prompt) == ["user", "assistant", "tool", "assistant", "tool"]
    assert [call_ids(prompt[place]) for place in (1, 3)] == [["call-1"], ["call-2"]]


async def test_a_call_id_that_comes_back_in_a_later_round_is_answered_there(session: Session) -> None:
    for number in (1, 2):
        await session.say(f"Search number {number}.")
        await call_tool(session, "call_0")
        await session.add_tool_result("call_0", f"result {number}")
    messages = (await session.view()).messages
    assert [message["content"] for message in messages if message["role"] == "tool"] == ["result 1", "result 2"]
    assert roles(await checked_prompt(session)) == ["user", "assistant", "tool"] * 2


# Row 4: orphan or dangling tool calls after a stop, a time-out, a failure: a valid prompt after a crash at any event


async def record_a_turn_with_everything(session: Session) -> None:
    """Text, two calls in interleaved fragments, a pending and two final results, and an answer."""
    await session.add_message("system", "Be brief.")
    await session.say("Weather in Paris and Rome?")
    chunks = (
        chunk("Let me "),
        chunk("see."),
        chunk(None, fragment(0, "", "call-1", "weather")),
        chunk(None, fragment(0, '{"city":')),
        chunk(None, fragment(1, '{"city": "R', "call-2", "weather")),
        chunk(None, fragment(0, ' "Paris"}')),
        chunk(None, fragment(1, 'ome"}')),
        chunk(None, finish_reason="tool_calls"),
    )
    async for _ in session.record(provider(*chunks)):
        pass
    await session.add_tool_result("call-1", "asked", status="pending")
    await session.add_tool_result("call-2", "no answer", status="error")
    await session.add_tool_result("call-1", "21 C")
    await answer(session, "21 C ", "in Paris.")


async def with_raw_events(log: SessionLog, events: Sequence[RecordedEvent]) -> Session:
    """A session that holds these events and nothing else, as after a crash."""
    session_id = uuid4()
    store = log._parts.store
    copies = [RecordedEvent(session_id, event.position, 0, event.event) for event in events]
    await asyncio.to_thread(store.recorder.insert_events, [store.mapper.to_stored_event(copy) for copy in copies])
    return log.session(session_id, "u1")


async def crashed_at_every_event(log: SessionLog, session: Session) -> list[Session]:
    """For each event of the turn a session whose log ends with it."""
    await record_a_turn_with_everything(session)
    events = await stored_events(session)
    assert len({event.topic for event in events}) == 8
    return [await with_raw_events(log, events[:cut]) for cut in range(1, len(events) + 1)]


async def test_a_crash_at_any_event_leaves_a_valid_prompt_and_a_session_that_goes_on(
    log: SessionLog, session: Session
) -> None:
    for crashed in await crashed_at_every_event(log, session):
        await checked_prompt(crashed)
        await assert_conversation_goes_on(crashed)


async def test_a_crash_at_any_event_can_be_gone_on_from_without_a_new_question(
    log: SessionLog, session: Session
) -> None:
    for crashed in await crashed_at_every_event(log, session):
        await answer(crashed, "Once more.")
        assert (await checked_prompt(crashed))[-1]["content"].endswith("Once more.")
        check_no_neighbours((await crashed.view()).messages)


async def test_a_crash_at_any_event_takes_the_late_results_of_its_finished_calls(
    log: SessionLog, session: Session
) -> None:
    for crashed in await crashed_at_every_event(log, session):
        waiting = (await crashed.view()).pending_tool_calls
        for call in waiting:
            await crashed.add_tool_result(call.id, "late")
        assert (await crashed.view()).pending_tool_calls == ()
        prompt = await checked_prompt(crashed)
        assert contents(prompt).count("late") == len(waiting)


# Row 5: the sequence collision between processes


async def say_one_after_the_other(session: Session, writer: str, count: int) -> None:
    for number in range(count):
        await session.say(f"{writer} {number}")


async def say_all_at_once(session: Session, writer: str, count: int) -> None:
    await asyncio.gather(*(session.say(f"{writer} {number}") for number in range(count)))


@pytest.mark.parametrize("say", [say_one_after_the_other, say_all_at_once])
async def test_two_processes_appending_to_one_session_lose_reorder_and_repeat_nothing(
    session: Session, other_log: SessionLog, say: Callable[[Session, str, int], Awaitable[None]]
) -> None:
    theirs = other_log.session(session.id, "u1")
    await asyncio.gather(say(session, "a", 40), say(theirs, "b", 40), say(session, "c", 40), say(theirs, "d", 40))
    events = await stored_events(session)
    assert [event.position for event in events] == list(range(1, 162))
    said = contents((await session.view()).messages)
    for writer in "abcd":
        assert [text for text in said if text[0] == writer] == [f"{writer} {number}" for number in range(40)]
    assert await theirs.view() == await session.view()


async def test_a_stream_and_another_process_in_one_session_leave_each_other_whole(
    session: Session, other_log: SessionLog
) -> None:
    theirs = other_log.session(session.id, SYSTEM)
    await session.say("Count.")
    numbers = [f"{number} " for number in range(60)]
    await asyncio.gather(
        answer(session, *numbers),
        say_one_after_the_other(theirs, "note", 20),
        *(theirs.increment("runs", "graph-1") for _ in range(20)),
        *(session.increment("runs", "graph-1") for _ in range(20)),
    )
    view = await session.view()
    assert view.turns[0].steps[0].message.content == "".join(numbers)
    assert view.counters == {"runs": {"graph-1": 40}}
    assert [event.position for event in await stored_events(session)] == list(range(1, view.version + 1))
    assert contents(view.messages).count("note 7") == 1
    await checked_prompt(session)


async def test_positions_in_the_whole_log_have_no_gap_though_two_processes_write(
    log: SessionLog, other_log: SessionLog
) -> None:
    mine, theirs = await log.start_session("u1"), await other_log.start_session("u1")
    await asyncio.gather(say_all_at_once(mine, "a", 30), say_all_at_once(theirs, "b", 30))
    positions = [event.log_position for each in (mine, theirs) for event in await stored_events(each)]
    assert sorted(positions) == list(range(1, 63))


async def test_a_queue_that_is_full_slows_the_writers_and_loses_and_reorders_nothing(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"max_queued_events": 2})) as slow_log:
        session = await slow_log.start_session("u1")
        await asyncio.gather(*(say_one_after_the_other(session, writer, 10) for writer in "abcdefgh"))
        said = contents((await session.view()).messages)
    for writer in "abcdefgh":
        assert [text for text in said if text[0] == writer] == [f"{writer} {number}" for number in range(10)]


async def test_a_tool_result_of_megabytes_and_thousands_of_deltas_go_through(
    session: Session, other_log: SessionLog
) -> None:
    await call_tool(session, "call-1")
    await session.add_tool_result("call-1", "\u20ac" * 1_000_000)
    numbers = [f"{number} " for number in range(6_000)]
    async with session.completion() as completion:
        await asyncio.gather(*(completion.text(number) for number in numbers))
        await completion.finish("stop")
    view = await other_log.session(session.id, "u1").view()
    assert contents(view.messages)[1:] == ["\u20ac" * 1_000_000, "".join(numbers)]


async def test_two_processes_that_start_one_session_at_once_start_it_once(
    log: SessionLog, other_log: SessionLog
) -> None:
    session_id = uuid4()
    await asyncio.gather(*(each.start_session("u1", session_id=session_id) for each in (log, other_log) * 3))
    assert len(await stored_events(log.session(session_id, "u1"))) == 1


# Row 6: a title update wrote back a stale copy; 101 messages became 35


async def test_a_title_set_from_a_stale_copy_loses_no_message(session: Session, other_log: SessionLog) -> None:
    stale = other_log.session(session.id, "u1")
    await say_one_after_the_other(session, "early", 35)
    await stale.view()
    await say_one_after_the_other(session, "late", 66)
    await stale.set_title("Much to say")
    for reader in (session, stale):
        view = await reader.view()
        assert (view.title, len(view.messages)) == ("Much to say", 101)


async def test_a_title_that_another_process_changed_meanwhile_can_be_set_back(
    session: Session, other_log: SessionLog
) -> None:
    theirs = other_log.session(session.id, "u1")
    await theirs.set_title("Cats")
    await session.set_title("Dogs")
    await theirs.set_title("Cats")
    assert (await session.view()).title == "Cats"


# What one process knows of the other's work


async def test_a_worker_answers_a_call_that_was_made_after_it_had_opened_the_session(
    session: Session, other_log: SessionLog
) -> None:
    worker = other_log.session(session.id, SYSTEM)
    for call_id in ("call-1", "call-2"):
        await session.say("Report, please.")
        await call_tool(session, call_id)
        await session.add_tool_result(call_id, "started", status="pending")
        await worker.add_tool_result(call_id, f"report of {call_id}")
    prompt = await checked_prompt(session)
    assert [message["content"] for message in prompt if message["role"] == "tool"] == [
        "report of call-1",
        "report of call-2",
    ]


async def test_a_session_that_was_not_there_yet_is_found_once_another_process_has_started_it(
    log: SessionLog, other_log: SessionLog
) -> None:
    session_id = uuid4()
    early = other_log.session(session_id, "u1")
    with pytest.raises(LookupError):
        await early.say("Hello?")
    await log.start_session("u1", session_id=session_id)
    await early.say("Hello!")
    assert contents((await early.view()).messages) == ["Hello!"]


async def test_a_new_owner_is_let_in_by_every_process(log: SessionLog, other_log: SessionLog) -> None:
    unowned = await log.start_session(None)
    worker = other_log.session(unowned.id, SYSTEM)
    await worker.say("Before.")
    await log.assign_owner(unowned.id, "u1")
    await other_log.session(unowned.id, "u1").say("Mine.")
    assert contents((await worker.view()).messages) == ["Before.", "Mine."]


async def test_a_pending_result_that_was_replaced_elsewhere_can_be_given_again(
    session: Session, other_log: SessionLog
) -> None:
    worker = other_log.session(session.id, SYSTEM)
    await call_tool(session, "call-1")
    await worker.add_tool_result("call-1", "10 %", status="pending")
    await session.add_tool_result("call-1", "20 %", status="pending")
    await worker.add_tool_result("call-1", "10 %", status="pending")
    assert (await checked_prompt(session))[-1]["content"] == "10 %"


# The same user message three times after proxy retries


async def test_a_message_that_a_proxy_sends_three_times_is_stored_once(
    session: Session, log: SessionLog, other_log: SessionLog
) -> None:
    handlers = [session, log.session(session.id, "u1"), other_log.session(session.id, "u1")]
    sent = await asyncio.gather(*(each.say("Weather?", message_id="m-1") for each in handlers))
    assert sent == ["m-1"] * 3
    for each in handlers:
        await each.say("Weather?", message_id="m-1")
    assert contents((await session.view()).messages) == ["Weather?"]
    assert len(await stored_events(session)) == 2


async def test_a_retry_that_comes_turns_later_and_after_a_restart_is_still_known(
    settings: Settings, session: Session
) -> None:
    await session.say("Weather?", message_id="m-1")
    for number in range(5):
        await answer(session, f"answer {number}")
        await session.say(f"question {number}")
    before = await session.view()
    async with SessionLog.open(settings) as restarted:
        again = restarted.session(session.id, "u1")
        await again.view()
        await again.say("Weather?", message_id="m-1")
        assert await again.view() == before


async def test_a_message_is_known_after_more_messages_than_the_memory_holds(session: Session) -> None:
    await asyncio.gather(*(session.say(f"number {number}", message_id=f"m-{number}") for number in range(1100)))
    await asyncio.gather(*(session.say("again", message_id=f"m-{number}") for number in (0, 500, 1099)))
    assert len((await session.view()).messages) == 1100


async def test_one_message_id_in_two_sessions_is_two_messages(log: SessionLog, session: Session) -> None:
    other = await log.start_session("u1")
    for each in (session, other):
        await each.say("Hello", message_id="m-1")
        assert len((await each.view()).messages) == 1


# A tool that ran twice


async def test_a_tool_that_ran_twice_has_the_first_result(session: Session, other_log: SessionLog) -> None:
    await call_tool(session, "call-1")
    workers = [session, other_log.session(session.id, SYSTEM)]
    outcomes = await asyncio.gather(
        *(worker.add_tool_result("call-1", f"ticket {number}") for number, worker in enumerate(workers)),
        return_exceptions=True,
    )
    (lost,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(lost, ToolResultConflictError)
    winner = outcomes.index(None)
    assert (await checked_prompt(session))[-1]["content"] == f"ticket {winner}"


async def test_a_result_that_is_delivered_twice_is_stored_once(session: Session, other_log: SessionLog) -> None:
    await call_tool(session, "call-1")
    workers = [session, other_log.session(session.id, SYSTEM)] * 2
    await asyncio.gather(*(worker.add_tool_result("call-1", "ticket 1") for worker in workers))
    topics = [event.topic for event in await stored_events(session)]
    assert topics.count("tool-result-added.v1") == 1


async def test_a_call_that_is_delivered_twice_is_one_call(session: Session) -> None:
    async with session.completion() as completion:
        for _ in range(2):
            await completion.tool_call("call-1", "create_ticket", '{"title": "Help"}')
        await completion.finish("tool_calls")
    assert [call.id for call in (await session.view()).pending_tool_calls] == ["call-1"]


async def test_a_call_that_is_being_run_is_not_among_those_to_run(session: Session) -> None:
    async with session.completion() as completion:
        await completion.tool_call("call-1", "create_ticket", "{}")
        assert (await session.view()).pending_tool_calls == ()  # nothing is started on a guess
        await completion.finish("tool_calls")
    assert len((await session.view()).pending_tool_calls) == 1
    await session.add_tool_result("call-1", "started", status="pending")
    assert (await session.view()).pending_tool_calls == ()


# One writer a step


async def test_a_second_completion_is_refused_while_one_is_open(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("First.")
        with pytest.raises(TurnInProgressError):
            await answer(session, "Second.")
        await completion.finish("stop")
    assert contents((await session.view()).messages) == ["First."]


async def test_of_two_completions_that_start_at_once_exactly_one_is_refused(session: Session) -> None:
    outcomes = await asyncio.gather(
        answer(session, "First ", "answer."), answer(session, "Second ", "answer."), return_exceptions=True
    )
    (refused,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(refused, TurnInProgressError)
    assert only_step(await session.view()).status == "finished"


# The partial answer lost on refresh, disconnect, interrupt


async def endless(*, fails_after: int | None = None) -> AsyncIterator[dict[str, Any]]:
    number = 0
    while number != fails_after:
        yield chunk(f"{number} ")
        await asyncio.sleep(0)
        number += 1
    raise ConnectionResetError("the provider hung up")


def text_of(piece: dict[str, Any]) -> str:
    return str(piece["choices"][0]["delta"]["content"])


async def show(stream: AsyncIterator[dict[str, Any]], shown: list[str], enough: asyncio.Event | None = None) -> None:
    """A consumer: `shown` is what its user has seen so far; `enough` is ten texts."""
    async for piece in stream:
        shown.append(text_of(piece))
        if enough and len(shown) == 10:
            enough.set()


async def test_a_reload_in_the_middle_of_an_answer_shows_all_that_was_shown(
    session: Session, other_log: SessionLog
) -> None:
    shown = ""
    async for piece in session.record(provider(chunk("Once "), chunk("upon "), chunk("a time."))):
        shown += text_of(piece)
        reloaded = await other_log.session(session.id, "u1").view()
        assert only_step(reloaded).message.content == shown
        assert reloaded.turns[0].status == "open"


async def test_a_consumer_that_stops_leaves_its_partial_answer_interrupted(session: Session) -> None:
    shown = ""
    async for piece in session.record(endless()):
        shown += text_of(piece)
        if len(shown) > 20:
            break
    step = only_step(await session.view())
    assert (step.status, step.message.content, step.finish_reason) == ("interrupted", shown, None)
    assert step.note
    assert contents((await session.view()).messages) == [shown]  # no marker in the text
    await assert_conversation_goes_on(session)


async def test_a_consumer_that_stops_at_the_finish_reason_leaves_a_finished_answer(session: Session) -> None:
    async for piece in session.record(provider(chunk("Done."), chunk(finish_reason="stop"), chunk("never read"))):
        if piece["choices"][0]["finish_reason"]:
            break
    step = only_step(await session.view())
    assert (step.status, step.finish_reason, step.message.content) == ("finished", "stop", "Done.")


async def test_a_consumer_that_raises_leaves_its_partial_answer_and_gets_its_own_exception(session: Session) -> None:
    with pytest.raises(ZeroDivisionError):
        await show_and_raise(session.record(endless()))
    step = only_step(await session.view())
    assert (step.status, step.message.content) in {("interrupted", "0 "), ("failed", "0 ")}
    await assert_conversation_goes_on(session)


async def show_and_raise(stream: AsyncIterator[dict[str, Any]]) -> None:
    async for _ in stream:
        raise ZeroDivisionError


async def test_a_client_that_disconnects_leaves_the_partial_answer_of_its_handler(session: Session) -> None:
    async def handler() -> AsyncGenerator[str, None]:
        async for piece in session.record(endless()):
            yield text_of(piece)

    response = handler()
    shown = [await anext(response) for _ in range(5)]
    await response.aclose()
    step = only_step(await session.view())
    assert (step.status, step.message.content) == ("interrupted", "".join(shown))
    await assert_conversation_goes_on(session)


async def test_a_recording_that_is_closed_leaves_its_partial_answer_interrupted(session: Session) -> None:
    recording = session.record(endless())
    shown = text_of(await anext(recording))
    await recording.aclose()
    step = only_step(await session.view())
    assert (step.status, step.message.content) == ("interrupted", shown)
    with pytest.raises(StopAsyncIteration):
        await anext(recording)


async def test_a_cancelled_task_leaves_its_partial_answer_interrupted(session: Session) -> None:
    shown: list[str] = []
    enough = asyncio.Event()
    task = asyncio.create_task(show(session.record(endless()), shown, enough))
    await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    step = only_step(await session.view())
    assert step.status == "interrupted"
    assert str(step.message.content).startswith("".join(shown))
    await assert_conversation_goes_on(session)


async def test_a_provider_that_raises_leaves_its_partial_answer_failed_and_the_caller_knows(session: Session) -> None:
    shown: list[str] = []
    with pytest.raises(ConnectionResetError, match="the provider hung up"):
        await show(session.record(endless(fails_after=3)), shown)
    step = only_step(await session.view())
    assert (step.status, step.message.content) == ("failed", "0 1 2 ")
    assert shown == ["0 ", "1 ", "2 "]
    assert step.note == "ConnectionResetError: the provider hung up"
    await assert_conversation_goes_on(session)


async def test_a_provider_that_raises_at_once_leaves_a_failed_step_and_the_caller_knows(session: Session) -> None:
    with pytest.raises(ConnectionResetError):
        await anext(session.record(endless(fails_after=0)))
    assert only_step(await session.view()).status == "failed"
    assert await session.prompt() == []
    await assert_conversation_goes_on(session)


@pytest.mark.parametrize(
    ("error", "status", "note"),
    [
        (asyncio.CancelledError(), "interrupted", "cancelled"),
        (RuntimeError("no more"), "failed", "RuntimeError: no more"),
    ],
)
async def test_a_completion_that_an_exception_ends_says_so_and_the_caller_gets_the_very_exception(
    session: Session, error: BaseException, status: str, note: str
) -> None:
    with pytest.raises(type(error)) as raised:
        await answer_and_raise(session, "Half an ans", error)
    assert raised.value is error
    step = only_step(await session.view())
    assert (step.status, step.note, step.message.content) == (status, note, "Half an ans")
    await assert_conversation_goes_on(session)


async def answer_and_raise(session: Session, text: str, error: BaseException) -> None:
    async with session.completion() as completion:
        await completion.text(text)
        raise error


async def test_a_completion_that_is_left_without_finish_is_interrupted(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("Half an ans")
    step = only_step(await session.view())
    assert (step.status, step.note, step.message.content) == ("interrupted", "closed early", "Half an ans")
    await assert_conversation_goes_on(session)


async def test_a_task_cancelled_at_any_moment_leaves_no_step_open(log: SessionLog) -> None:
    sessions = [await log.start_session("u1") for _ in range(40)]
    for moment, session in enumerate(sessions):
        task = asyncio.create_task(answer(session, "Hel", "lo"))
        await asyncio.sleep(moment * 0.0003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    left_open = [moment for moment, session in enumerate(sessions) if await has_open_step(session)]
    assert left_open == []


async def test_a_recording_cancelled_at_any_moment_leaves_no_step_open(log: SessionLog) -> None:
    sessions = [await log.start_session("u1") for _ in range(40)]
    for moment, session in enumerate(sessions):
        task = asyncio.create_task(show(session.record(endless()), []))
        await asyncio.sleep(moment * 0.0003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    left_open = [moment for moment, session in enumerate(sessions) if await has_open_step(session)]
    assert left_open == []


async def test_a_view_waits_for_an_append_whose_caller_was_cancelled(session: Session) -> None:
    """Such a message may be stored or not, but it does not turn up behind the back of who has read since."""
    task = asyncio.create_task(session.say("Hello"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    at_once = await session.view()
    await asyncio.sleep(0.1)
    assert await session.view() == at_once


async def has_open_step(session: Session) -> bool:
    return any(step.status == "open" for turn in (await session.view()).turns for step in turn.steps)


# A real client against a provider that refuses what the real ones refuse


@pytest.fixture
async def client() -> AsyncIterator[AsyncOpenAI]:
    with FakeProvider() as strict:
        async with AsyncOpenAI(base_url=strict.base_url, api_key="none", max_retries=0) as opened:
            yield opened


async def ask(client: AsyncOpenAI, session: Session, model: str) -> None:
    """One round: a prompt that the provider takes, and its answer recorded."""
    prompt = await session.prompt()
    check_chat_prompt(cast("list[dict[str, Any]]", prompt))
    stream = await client.chat.completions.create(model=model, messages=prompt, stream=True)
    async for _ in session.record(stream):
        pass


async def test_a_provider_takes_the_prompt_after_a_long_running_call(session: Session, client: AsyncOpenAI) -> None:
    await session.say("A report, please.")
    await ask(client, session, "text-and-long-running-call")
    (call,) = (await session.view()).pending_tool_calls
    await session.add_tool_result(call.id, "started", status="pending")
    await ask(client, session, "plain-text")
    await session.say("Is it done?")
    await session.add_tool_result(call.id, "the report")
    await ask(client, session, "plain-text")
    assert roles(await session.prompt()) == ["user", "assistant", "tool", "assistant", "user", "assistant"]


@pytest.mark.parametrize("chunks", [1, 3, 8, 15])
async def test_a_provider_takes_the_prompt_after_its_connection_broke(
    session: Session, client: AsyncOpenAI, chunks: int
) -> None:
    await session.say("A report, please.")
    with pytest.raises(Exception, match=r"(?i)connection"):  # its class depends on the client's version
        await ask(client, session, f"text-and-long-running-call#cut={chunks}")
    assert only_step(await session.view()).status == "failed"
    await ask(client, session, "plain-text")
    await session.say("Go on.")
    await ask(client, session, "parallel-tool-calls")
    await ask(client, session, "plain-text")
    await assert_conversation_goes_on(session)


# A process that is killed while it records

BRIEF_LEASE = 0.5


async def shown_by_a_process_that_is_killed(settings: Settings, session_id: UUID, after: int) -> list[str]:
    """Records in a process of its own, kills it after it has shown some deltas, and returns all that it has shown."""
    brief = settings.model_copy(update={"lease_seconds": BRIEF_LEASE})
    with Child(programs.record, brief, session_id, 0.0005) as recorder:
        shown = [await recorder.hear() for _ in range(after)]
        recorder.kill()
        return shown + await recorder.rest()


async def test_of_two_completions_the_one_that_is_decided_second_is_refused_though_it_began_first(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    recalled, may_go_on, held_up = session._aggregate._recalled, asyncio.Event(), []

    async def hold_up_the_first(command: Any) -> Any:
        held_up.append(command)
        if len(held_up) == 1:
            await may_go_on.wait()
        return await recalled(command)

    monkeypatch.setattr(session._aggregate, "_recalled", hold_up_the_first)
    first = asyncio.create_task(answer(session, "First."))
    await asyncio.sleep(0.05)
    async with session.completion() as second:
        may_go_on.set()
        with pytest.raises(TurnInProgressError):
            await first
        await second.text("Second.")
        await second.finish("stop")
    assert only_step(await session.view()).message.content == "Second."


async def test_a_killed_process_loses_nothing_that_it_has_shown(session: Session, settings: Settings) -> None:
    await session.say("Count.")
    shown = await shown_by_a_process_that_is_killed(settings, session.id, 50)
    assert shown[:3] == ["0 ", "1 ", "2 "]
    events: list[Any] = [recorded.event for recorded in await stored_events(session)]
    deltas = [event.text for event in events if event.topic == "text-delta.v1"]
    assert deltas[: len(shown)] == shown
    step = only_step(await session.view())
    assert (step.status, step.message.content) == ("open", "".join(deltas))
    await asyncio.sleep(BRIEF_LEASE)
    await assert_conversation_goes_on(session)
    assert (await session.view()).turns[0].steps[0].status == "abandoned"
    assert (await session.view()).messages[1]["content"] == "".join(deltas)


async def test_a_killed_process_leaves_a_step_that_another_can_take_over_after_its_lease(
    session: Session, settings: Settings
) -> None:
    await session.say("Count.")
    await shown_by_a_process_that_is_killed(settings, session.id, 5)
    async with asyncio.timeout(A_WHILE):
        async with session.completion(takeover=True) as completion:
            await completion.text("I count again.")
            await completion.finish("stop")
    steps = (await session.view()).turns[0].steps
    assert [step.status for step in steps] == ["abandoned", "finished"]
    assert contents(await checked_prompt(session)) == ["Count.", "I count again."]
