"""Whatever the benchmarks compare gives back what was recorded: what loses messages must not be measured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from benchmarks.conversation import Script, same
from benchmarks.floors import BareGroup, BareInsert
from benchmarks.ours import Turnlog, TurnlogRecord, TurnlogRecordMessages, TurnlogRecordResponses
from benchmarks.peers import PEERS, installed_peers, peer
from benchmarks.server import Ground, fresh_ground
from benchmarks.systems import System, running, text_of
from turnlog.infrastructure.settings import Settings

OURS = (Turnlog, TurnlogRecord, TurnlogRecordResponses, TurnlogRecordMessages)
OWN = {kind.name: kind for kind in (*OURS, BareInsert, BareGroup)}

# What other people's packages warn of is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=[*OWN, *PEERS])
def kind(request: pytest.FixtureRequest) -> type[System]:
    if request.param in OWN:
        return OWN[request.param]
    try:
        return peer(request.param)
    except ImportError as error:
        pytest.skip(f"needs the group `bench`: {error}")


@pytest.fixture
def ground(settings: Settings) -> Iterator[Ground]:
    with fresh_ground(settings.database_url, settings.redis_url) as opened:
        yield opened


async def test_messages_come_back_as_they_were_put(kind: type[System], ground: Ground) -> None:
    said, session_id = Script().turns(5), uuid4()
    async with running(kind, ground) as system:
        first = system.conversation(session_id)
        await first.create()
        for message in said[:4]:
            await first.put([message])
        second = system.conversation(session_id)
        await second.load()
        await second.put(said[4:])
    async with running(kind, ground) as again:
        assert same(await again.conversation(session_id).load(), said)


async def test_deltas_come_back_as_one_message(kind: type[System], ground: Ground) -> None:
    question, session_id = {"role": "user", "content": "Hello?"}, uuid4()
    async with running(kind, ground) as system:
        conversation = system.conversation(session_id)
        await conversation.create()
        await conversation.put([question])
        for answer in ("Hel", "lo!"), ("And ", "more"):
            for delta in answer:
                await conversation.put_delta(delta)
            await conversation.end_answer()
            await conversation.put([question])
        contents = [text_of(message) for message in await system.conversation(session_id).load()]
    assert contents == ["Hello?", "Hello!", "Hello?", "And more", "Hello?"]


async def test_a_stream_gives_each_delta_on(kind: type[System], ground: Ground) -> None:
    async def deltas() -> AsyncIterator[str]:
        for text in ("Hel", "lo", "!"):
            yield text

    session_id = uuid4()
    async with running(kind, ground) as system:
        conversation = system.conversation(session_id)
        await conversation.create()
        await conversation.put([{"role": "user", "content": "Hello?"}])
        assert [text async for text in conversation.stream(deltas())] == ["Hel", "lo", "!"]
        await conversation.put([{"role": "user", "content": "Bye"}])
        assert text_of((await system.conversation(session_id).load())[1]) == "Hello!"


async def test_a_session_that_was_set_up_is_the_one_that_was_recorded(kind: type[System], ground: Ground) -> None:
    said, session_id = Script().messages(120), uuid4()
    async with running(kind, ground) as system:
        await system.fill(session_id, said)
        assert same(await system.conversation(session_id).load(), said)


def test_a_peer_that_is_not_installed_is_named_with_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "eventsourcing", "turnlog_no_such_package:Peer")
    there, missing = installed_peers()
    assert missing["eventsourcing"] == "turnlog_no_such_package is not installed"
    assert "replaced pattern" in {kind.name for kind in there}
