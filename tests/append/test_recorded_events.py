"""Event streams in the log: recorded, shown, stopped and taken up again as any other stream is."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.support.event_streams import EVENT_STREAMS, EventApi, EventStream, event_streams, read_again
from tests.support.page import Page
from tests.support.recording import SOON, played
from tests.support.sessions import assert_conversation_goes_on, last_step
from turnlog import InvalidInputError, Session, SessionLog, Step

STREAMS = {str(stream): stream for stream in EVENT_STREAMS}
SEARCH = {api: STREAMS[f"{api}: web-search"] for api in ("responses", "anthropic")}
each_api = pytest.mark.parametrize("stream", SEARCH.values(), ids=SEARCH)


async def _recorded(log: SessionLog, stream: EventStream) -> Step:
    session = await log.start_session(user_id="u1")
    await session.say("Hello")
    chunks = copy.deepcopy(stream.events)
    shown = [chunk async for chunk in session.record(played(*chunks))]
    assert shown == stream.events
    assert all(one is other for one, other in zip(shown, chunks, strict=True))
    view = await session.view()
    assert view.faults == ()
    return view.turns[-1].steps[-1]


@pytest.mark.parametrize("api", ["responses", "anthropic"])
async def test_every_stream_is_shown_unchanged_and_kept_whole(log: SessionLog, api: EventApi) -> None:
    streams = event_streams(api)

    steps = await asyncio.gather(*(_recorded(log, stream) for stream in streams))

    for stream, step in zip(streams, steps, strict=True):
        done = read_again(stream)
        assert step.message.model_copy(update={"tool_calls": ()}) == done.step.message.model_copy(
            update={"tool_calls": ()}
        ), stream
        assert [call.cut_off for call in step.message.tool_calls] == [
            stream.name == "call-cut-off" for _ in done.step.message.tool_calls
        ]
        failed = done.reader.error is not None
        assert step.status == ("failed" if failed else "finished")
        assert (step.finish_reason, step.note) == (done.reader.finish_reason, done.reader.error)
        assert (step.usage, step.response_id) == (done.reader.usage, done.reader.response_id)


@each_api
async def test_a_stream_that_breaks_off_fails_its_step(session: Session, stream: EventStream) -> None:
    events = stream.events[: len(stream.events) // 2]

    assert [event async for event in session.record(played(*events))] == events

    step = await last_step(session)
    assert (step.status, step.note) == ("failed", "the provider's stream broke off: its last event is missing")


@each_api
async def test_a_consumer_that_leaves_early_interrupts_the_step(session: Session, stream: EventStream) -> None:
    recording = session.record(played(*stream.events))
    shown = [await anext(recording) for _ in range(6)]
    await recording.aclose()

    step = await last_step(session)
    assert (step.status, shown) == ("interrupted", stream.events[:6])
    assert step.response_id == read_again(stream).reader.response_id
    await assert_conversation_goes_on(session)


@each_api
async def test_an_answer_is_stopped_from_elsewhere(
    session: Session, other_log: SessionLog, stream: EventStream
) -> None:
    is_closed = asyncio.Event()

    async def stuck() -> AsyncIterator[Any]:
        try:
            for event in stream.events[:8]:
                yield event
            await asyncio.sleep(60)
        finally:
            is_closed.set()

    shown = list[Any]()
    async with asyncio.timeout(SOON):
        async for event in session.record(stuck()):
            shown.append(event)
            if len(shown) == 8:
                assert await other_log.session(session.id, "u1").cancel("the user pressed stop")
        await is_closed.wait()

    step = await last_step(session)
    assert (step.status, step.note) == ("interrupted", "the user pressed stop")
    assert shown == stream.events[:8]


@each_api
async def test_a_client_comes_back_at_any_delta_and_has_the_whole_answer(
    session: Session, other_log: SessionLog, stream: EventStream
) -> None:
    await session.say("Hello")
    async for _ in session.record(played(*stream.events)):
        pass
    view = await session.view()
    elsewhere = other_log.session(session.id, "u1")

    for position in range(1, view.version, 4):
        page = Page(await elsewhere.at(position))
        async with asyncio.timeout(SOON):
            async for delta in elsewhere.deltas(after=position):
                page.tell(delta)
                if delta.position == view.version:
                    break
        assert page.shown() == Page(view).shown()


# What the packages give

CLIENTS: dict[str, Any] = {"responses": openai.AsyncOpenAI, "anthropic": anthropic.AsyncAnthropic}


@asynccontextmanager
async def _client(stream: EventStream) -> AsyncIterator[Any]:
    """A client of the package, to which a provider sends this stream."""

    def answer(_: Any) -> Any:
        sent = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in stream.events)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=sent.encode())

    transport = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with CLIENTS[stream.api](api_key="x", http_client=transport, max_retries=0) as client:
        yield client


def _asked(client: Any, stream: EventStream, way: str) -> Any:
    if stream.api == "responses":
        ask = client.responses.stream if way != "create" else client.responses.create
        return ask(model="m", input="Hello", **({"stream": True} if way == "create" else {}))
    asked: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    return client.messages.create(**asked, stream=True) if way == "create" else client.messages.stream(**asked)


@each_api
@pytest.mark.parametrize("way", ["create", "stream", "entered"])
async def test_what_the_packages_give_is_recorded(session: Session, stream: EventStream, way: str) -> None:
    async with _client(stream) as client:
        asked = _asked(client, stream, way)
        if way == "entered":
            async with asked as opened:
                shown = [event.type async for event in session.record(opened)]
        else:
            shown = [event.type async for event in session.record(asked)]

    step, expected = await last_step(session), read_again(stream).step
    assert step.status == "finished"
    assert [(part.kind, part.text) for part in step.message.parts] == [
        (part.kind, part.text) for part in expected.message.parts
    ]
    assert step.message.content == expected.message.content
    assert len(shown) >= len(stream.events)


class Manager:
    """A context manager that gives a stream, as the packages have them."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream
        self.was_left = False

    async def __aenter__(self) -> AsyncIterator[Any]:
        return played(*self.stream.events)

    async def __aexit__(self, *_: object) -> None:
        self.was_left = True


async def test_a_context_manager_is_left_when_the_recording_is_over(session: Session) -> None:
    manager: Any = Manager(SEARCH["anthropic"])

    recording = session.record(manager)
    await anext(recording)
    assert not manager.was_left
    await recording.aclose()

    assert manager.was_left


async def test_an_event_of_no_known_type_is_no_beginning(session: Session) -> None:
    with pytest.raises(InvalidInputError):
        await anext(session.record(played({"type": "mood.changed"})))


BAD = [{"no": "type"}, "text", None]


@each_api
@pytest.mark.parametrize("bad", BAD, ids=str)
async def test_what_is_no_event_fails_the_step_and_is_not_shown(
    session: Session, stream: EventStream, bad: Any
) -> None:
    recording = session.record(played(*stream.events[:3], bad))

    assert [await anext(recording) for _ in range(3)] == stream.events[:3]
    with pytest.raises(InvalidInputError, match="without their `type`"):
        await anext(recording)

    assert (await last_step(session)).status == "failed"
