"""A crash at every event: whatever was recorded, cut anywhere, gives valid prompts, and so it does after what is said
next. And the prompt of later begins as the prompt of before."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tests.append.test_streams import REAL, _played
from tests.projections.test_conversations import FOLDERS, conversations
from tests.repair.test_import import FAULTY, FAULTY_BLOCKS
from tests.support.anthropic_rules import check_anthropic_prompt
from tests.support.histories import AT, imported, replayed
from tests.support.prompt_rules import check_chat_prompt
from tests.support.real_data import each_sample, evenly, needs_real_data
from tests.support.responses_rules import check_responses_prompt
from turnlog import Session, SessionLog
from turnlog.domain.events import MessageAdded
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.testing.corpus import own_corpus
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, build_prompt
from turnlog.projections.prompt.explain import explain
from turnlog.projections.prompt.request import request_faults
from turnlog.projections.view import SessionView

CHECKS: dict[Api, Any] = {
    "chat": check_chat_prompt,
    "anthropic": check_anthropic_prompt,
    "responses": check_responses_prompt,
}


def check_all(view: SessionView) -> None:
    for api, check in CHECKS.items():
        check(build_prompt(view.turns, api, view.compaction))


def check_every_cut(events: list[RecordedEvent]) -> None:
    """Checks the prompts after each event, and after what the user says next."""
    projector = Projector(events[0].session_id)
    for event in events:
        projector.apply(event)
        check_all(projector.view())
        resumed = Projector.resume(projector.head(), projector.pages())
        said = MessageAdded(at=AT, message_id="next", role="user", content="Go on.")
        resumed.apply(RecordedEvent(event.session_id, event.position + 1, 0, said))
        check_all(resumed.view())


CORPUS = own_corpus()


@pytest.mark.parametrize(
    "streams", [pytest.param(CORPUS, id="own"), pytest.param(REAL, id="real", marks=needs_real_data)]
)
@each_sample
async def test_a_stream_that_is_cut_after_any_event_gives_valid_prompts(
    log: SessionLog, streams: Any, count: int
) -> None:
    for stream in evenly(streams, count):
        session = await log.start_session(user_id="u1")
        await session.say("Hello")
        async for _ in session.record(_played(stream.parsed())):
            pass
        events = [event async for event in session.events()]
        check_every_cut(events)
        assert len(events) > 3, f"nothing of {stream.name} was recorded"
        assert explain(session.id, events, "chat").breaks == ()


CORPORA = ["valid", "valid_reused_ids", "pending_call_at_end", "invalid_as_recorded"]
RECORDED = [param for param in product(FOLDERS, CORPORA) if (param[0].values[0] / f"{param[1]}.jsonl").exists()]
each_corpus = pytest.mark.parametrize(
    ("folder", "name"),
    [pytest.param(folder.values[0], name, id=f"{folder.id}-{name}") for folder, name in RECORDED],
)


@each_corpus
@each_sample
@pytest.mark.parametrize("history", [imported, replayed])
def test_a_conversation_that_is_cut_after_any_event_gives_valid_prompts(
    folder: Any, name: str, history: Any, count: int
) -> None:
    for messages in evenly(conversations(folder, name), count):
        check_every_cut(history(messages))


@pytest.mark.parametrize("kind", FAULTY)
def test_a_faulty_history_that_is_cut_after_any_message_gives_valid_prompts(kind: str) -> None:
    check_every_cut(imported(FAULTY[kind]))


@pytest.mark.parametrize("kind", FAULTY_BLOCKS)
def test_faulty_blocks_that_are_cut_after_any_message_give_valid_prompts(kind: str) -> None:
    check_every_cut(imported(FAULTY_BLOCKS[kind], "anthropic"))


async def test_an_explanation_names_the_events_of_a_message_and_a_late_result(session: Session) -> None:
    await session.say("hi")
    async with session.completion() as completion:
        await completion.tool_call("c1", "find", "{}")
        await completion.finish("tool_calls")
    await session.say("and?")
    await session.add_tool_result("c1", "found")
    explained = await session.explain_prompt()
    assert [message.positions for message in explained.messages] == [(2,), (3,), (3, 8), (7,)]
    assert [(found.topic, found.message) for found in explained.breaks] == [("tool-result-added.v1", 2)]
    assert [(fault.kind, fault.message) for fault in explained.request_faults] == []


def test_what_some_providers_refuse_of_a_request_is_named() -> None:
    def kinds(api: Api, *messages: dict[str, Any]) -> list[tuple[str, int]]:
        return [(fault.kind, fault.message) for fault in request_faults(messages, api)]

    user, assistant = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello "}
    system = {"role": "system", "content": "Be brief."}
    assert kinds("chat") == kinds("responses", system) == [("no_messages", 0)]
    assert kinds("chat", system, user, assistant, user) == []
    assert kinds("chat", assistant, user, user) == [("leading_assistant", 0), ("consecutive_roles", 2)]
    assert kinds("chat", user, system, assistant) == [("late_system", 1), ("trailing_assistant", 2)]
    assert kinds("anthropic", user, {**assistant, "content": [{"type": "text", "text": "Hello "}]}) == [
        ("trailing_assistant", 1),
        ("trailing_whitespace", 1),
    ]
