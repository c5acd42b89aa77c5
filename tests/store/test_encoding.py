"""What is stored of decided events: rows, dedup keys, and the session's line in the lists."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import pytest

from tests.support.strategies import BEGAN, SESSION_ID
from turnlog.domain import events as e
from turnlog.domain.commands import AddMessage, AddToolResult, ImportMessage, IncrementCounter, ReportUsage
from turnlog.domain.decide import decide
from turnlog.domain.evolve import evolve, result_fingerprint
from turnlog.domain.state import SessionState, initial_state
from turnlog.infrastructure.store.appends import Append
from turnlog.infrastructure.store.dedup_keys import Key, KeyedCommand, key_of, keys_of, result_key
from turnlog.infrastructure.store.encoding import AppendEncoder, Decided
from turnlog.infrastructure.store.rows import TurnColumns

BEGUN = (
    e.SessionStarted(at=BEGAN, user_id="u1", title="A \ud83d title"),
    e.CompletionStarted(at=BEGAN, step_id="s1", writer="w1"),
    e.ToolCallStarted(at=BEGAN, step_id="s1", index=0, id="c1", name="find"),
)
TEXT = e.TextDelta(at=BEGAN, step_id="s1", text="hi")


class Handler:
    """Hands appends over."""

    id_bytes = SESSION_ID.bytes
    stored_commit_id = 0

    def settled(self, append: Any, error: Exception | None) -> None:
        raise AssertionError("nothing is handed over here")


def after(*events: e.SessionEvent) -> SessionState:
    return reduce(evolve, events, initial_state(SESSION_ID))


def encoded(encoder: AppendEncoder, before: SessionState, events: Sequence[e.SessionEvent]) -> Append:
    append, decided = Append(Handler()), list[Decided]()
    for event in events:
        decided.append(Decided(event, evolve(decided[-1].state if decided else before, event)))
    encoder.encode(append, 4, before, decided)
    return append


def test_an_append_holds_its_events_as_topics_and_bodies() -> None:
    append = encoded(AppendEncoder(SESSION_ID), after(*BEGUN), [TEXT, e.SessionTitled(at=BEGAN, title="B")])
    assert append.rows[::2] == ("text-delta.v1", "session-titled.v1")
    assert append.rows[1] == TEXT.to_json()
    assert (append.position, append.count, append.size) == (4, 2, sum(map(len, append.rows[1::2])))


def test_the_line_in_the_lists_is_as_of_the_last_event() -> None:
    line = encoded(AppendEncoder(SESSION_ID), after(), BEGUN).session
    assert line is not None
    assert (line.user_id, line.title, line.version, line.deleted, line.writer) == (
        "u1", "A \ud83d title".encode("utf-8", "surrogatepass"), 6, False, "w1")  # fmt: skip


def test_the_line_of_a_deleted_session_keeps_whose_it_was() -> None:
    line = encoded(AppendEncoder(SESSION_ID), after(*BEGUN), [e.SessionDeleted(at=BEGAN)]).session
    assert line is not None
    assert (line.user_id, line.version, line.deleted, line.writer) == ("u1", 4, True, None)


def test_the_line_has_the_owner_of_the_turn_before_the_writer_of_the_step_and_nobody_once_it_is_deleted() -> None:
    begun = (
        BEGUN[0],
        e.MessageAdded(at=BEGAN, message_id="m-1", role="user", content="hi"),
        e.TurnStarted(at=BEGAN, turn_id="m-1", run="r1", writer="w1"),
        e.CompletionStarted(at=BEGAN, step_id="s1", turn_id="m-1"),
        e.ToolCallStarted(at=BEGAN, step_id="s1", index=0, id="c1", name="find"),
        e.ToolResultAdded(at=BEGAN, step_id="s1", index=0, call_id="c1", status="pending", content="asked"),
    )
    line = encoded(AppendEncoder(SESSION_ID), after(), begun).session
    assert line is not None
    assert (line.writer, line.turn) == ("w1", TurnColumns("answering", "m-1", BEGAN, 1))
    line = encoded(AppendEncoder(SESSION_ID), after(*begun), [e.SessionDeleted(at=BEGAN)]).session
    assert line is not None
    assert (line.writer, line.turn) == (None, TurnColumns())


def test_fragments_write_the_line_only_when_it_is_due() -> None:
    encoder = AppendEncoder(SESSION_ID)
    assert encoded(encoder, after(*BEGUN), [TEXT]).session is not None
    assert encoded(encoder, after(*BEGUN), [TEXT]).session is None
    assert encoded(encoder, after(*BEGUN), [TEXT, e.SessionTitled(at=BEGAN, title="B")]).session is not None


def test_no_event_makes_no_append() -> None:
    append = encoded(AppendEncoder(SESSION_ID), after(*BEGUN), [])
    assert (append.rows, append.count, append.position, append.session, append.keys) == ((), 0, 0, None, ())


@pytest.mark.parametrize(
    ("command", "key"),  # stored in old logs: the keys never change
    [
        (AddMessage(BEGAN, "m-1", "user", "hi"), "9a8e156a3242dcae9797cb3905ed77c3"),
        (ImportMessage(BEGAN, "m-1", "chat", {"role": "user"}), "9a8e156a3242dcae9797cb3905ed77c3"),
        (IncrementCounter(BEGAN, "i-1", "runs", "g", 1), "ee7cc0917a35f2dd27be7ab43d670c5e"),
        (ReportUsage(BEGAN, "r-1", {"prompt_tokens": 1}), "f36f58a6fe2351577e979fd62f3d15c5"),
    ],
)
def test_a_command_is_found_by_a_key_that_its_event_left(command: KeyedCommand, key: str) -> None:
    (event,) = decide(after(*BEGUN), command)
    assert key_of(command).hex() == key
    assert keys_of(event) == (Key(key_of(command), "", once=True),)


@pytest.mark.parametrize(
    ("step_id", "key"), [(None, "0dfe575464640d62d2c7e2b9921eb46f"), ("s1", "a9663a8a1a4dc5fc5346c5a505145959")]
)
def test_a_result_is_found_with_and_without_its_step(step_id: str | None, key: str) -> None:
    (event,) = decide(after(*BEGUN), AddToolResult(BEGAN, "c1", "final", "21 C"))
    assert isinstance(event, e.ToolResultAdded)
    assert result_key("c1", step_id).hex() == key
    assert Key(result_key("c1", step_id), result_fingerprint(event), once=False) in keys_of(event)


def test_the_ids_of_a_copy_may_have_been_copied_before() -> None:
    append, said = Append(Handler()), e.MessageAdded(at=BEGAN, message_id="m-1", role="user", content="hi")
    AppendEncoder(SESSION_ID).encode(append, 4, after(*BEGUN), [Decided(said, after(*BEGUN), is_copy=True)])
    assert [row.once for row in append.keys] == [False]


def test_a_step_is_found_as_a_message_and_a_pending_result_is_not() -> None:
    assert key_of(AddMessage(BEGAN, "s1", "assistant", "hi")) in {key for key, _, _ in keys_of(BEGUN[1])}
    (pending,) = decide(after(*BEGUN), AddToolResult(BEGAN, "c1", "pending", "asked"))
    assert keys_of(pending) == keys_of(TEXT) == ()
