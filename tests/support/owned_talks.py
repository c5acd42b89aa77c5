"""Random conversations whose turns have owners: commands that are decided as in a process, so their events stand in an
order in which they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st

from tests.support.histories import ID, History
from tests.support.strategies import BEGAN
from turnlog.domain import commands as c
from turnlog.domain import events as e
from turnlog.domain import step_appends as appends
from turnlog.domain.decide import decide
from turnlog.domain.errors import TurnlogError
from turnlog.domain.evolve import evolve
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import Active, initial_state

ENDS: dict[str, Callable[[str], e.StepEnd]] = {
    "finished": lambda step_id: e.CompletionFinished(at=BEGAN, step_id=step_id, finish_reason="stop"),
    "failed": lambda step_id: e.CompletionFailed(at=BEGAN, step_id=step_id, error="no", failure={"status": 429}),
    "interrupted": lambda step_id: e.CompletionInterrupted(at=BEGAN, step_id=step_id, reason="stopped"),
}
Action = tuple[str, Any]


class OwnedTalk:
    """A session in memory in which one thing after the other is tried. What is refused changes nothing."""

    def __init__(self) -> None:
        self.state: Active
        self.events: History = []
        self.asked_at: list[int] = []
        """After how many events each request was made."""
        self._state: Any = initial_state(ID)
        self._count = 0
        self.do(c.StartSession(BEGAN, "u1"))

    def act(self, action: Action) -> None:
        """Tries an action."""
        name, what = action
        getattr(self, f"_{name}")(what)

    def do(self, *commands: c.Command) -> bool:
        """Decides these together. Whether all were accepted."""
        state, events = self._state, list[e.SessionEvent]()
        with suppress(TurnlogError):
            for command in commands:
                for event in decide(state, command):
                    events.append(event)
                    state = evolve(state, event)
            self.state = self._state = state
            self.events += (RecordedEvent(ID, at, at, event) for at, event in enumerate(events, len(self.events) + 1))
            return True
        return False

    def _new_id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    @property
    def _run(self) -> str:
        turn = self.state.in_hand
        return "" if turn is None else turn.run

    def _say(self, how: tuple[str, bool]) -> None:
        role, queue = how
        message: Any = c.AddMessage(BEGAN, self._new_id("m"), role, self._new_id("hi "), queue=queue)  # type: ignore[arg-type]
        self.do(message)

    def _begin(self, takeover: bool) -> None:
        gone = frozenset({"w1"}) if takeover else frozenset[str]()
        self.do(c.BeginTurn(BEGAN, None, self._new_id("r"), "w2", gone=gone, anyway=True))

    def _ask(self, how: tuple[bool, str, Sequence[str], str]) -> None:
        is_owned, said, calls, end = how
        step_id, before = self._new_id("s"), len(self.events)
        run = self._run if is_owned else ""
        writer = "w2" if run else "w1"
        begin = c.BeginCompletion(BEGAN, step_id, run=run, gone=frozenset({"w1", "w2"}), writer=writer)
        if not self.do(begin):
            return
        self.asked_at.append(before)
        if said:
            self.do(appends.AppendText(BEGAN, step_id, said))
        for index, call_id in enumerate(calls):
            self.do(appends.AppendToolCall(BEGAN, step_id, index, call_id, "find", "{}"))
        if end != "open":
            self.do(c.EndCompletion(ENDS[end](step_id)))

    def _call(self, number: int) -> Any:
        calls = self.state.awaited.in_order()
        return calls[number % len(calls)] if calls else None

    def _result(self, how: tuple[int, Any, bool]) -> None:
        number, status, is_owned = how
        call = self._call(number)
        if call is not None:
            run = self._run if is_owned else ""
            content = self._new_id("found ")
            self.do(
                c.AddToolResult(BEGAN, call.call_id, status, content, step_id=call.step_id, index=call.index, run=run)
            )

    def _tool(self, number: int) -> None:
        call = self._call(number)
        if call is not None and self._run:
            self.do(c.StartTool(BEGAN, self._run, call.step_id, call.index))

    def _approval(self, number: int) -> None:
        call = self._call(number)
        if call is not None and self._run:
            self.do(c.RequestApproval(BEGAN, self._run, call.step_id, call.index))

    def _decision(self, how: tuple[int, bool]) -> None:
        number, approved = how
        call = self._call(number)
        if call is not None:
            self.do(c.DecideApproval(BEGAN, call.call_id, call.step_id, approved, "u1", refusal="not allowed"))

    def _settle(self, _: Any) -> None:
        """All calls of the latest step have their results, as before the model is asked again."""
        latest = self.state.latest
        for call in self.state.awaited.in_order():
            if latest is not None and call.step_id == latest.step_id and call.pending is None:
                content = self._new_id("found ")
                self.do(
                    c.StartTool(BEGAN, self._run, call.step_id, call.index),
                    c.AddToolResult(
                        BEGAN, call.call_id, "final", content, step_id=call.step_id, index=call.index, run=self._run
                    ),
                )

    def _end(self, how: tuple[Any, bool]) -> None:
        status, only_if_done = how
        self.do(c.EndTurn(BEGAN, self._run, status, "why", only_if_done))

    def _cancel(self, number: int) -> None:
        queue = self.state.queue
        self.do(c.CancelSteps(BEGAN, "stopped", queue[number % len(queue)] if queue and number else None))

    def _abandon(self, _: Any) -> None:
        self.do(c.AbandonSteps(BEGAN, frozenset({"w1", "w2"}), "gone"))


numbers = st.integers(0, 3)
says = st.tuples(st.just("say"), st.tuples(st.sampled_from(["user", "user", "user", "system"]), st.booleans()))
asks = st.tuples(
    st.just("ask"),
    st.tuples(
        st.sampled_from([True, True, True, False]),
        st.sampled_from(["", "so", "ok"]),
        st.lists(st.sampled_from(["c1", "c2"]), max_size=2),
        st.sampled_from(["finished", "finished", "failed", "interrupted", "open"]),
    ),
)
settles = st.just(("settle", None))
begins = st.tuples(st.just("begin"), st.booleans())
ends = st.tuples(
    st.just("end"),
    st.tuples(st.sampled_from(["finished", "finished", "waiting", "failed", "stopped", "abandoned"]), st.booleans()),
)
others = st.one_of(
    st.tuples(
        st.just("result"), st.tuples(numbers, st.sampled_from(["pending", "final", "final", "error"]), st.booleans())
    ),
    st.tuples(st.just("tool"), numbers),
    st.tuples(st.just("approval"), numbers),
    st.tuples(st.just("decision"), st.tuples(numbers, st.booleans())),
    st.tuples(st.just("cancel"), numbers),
    st.just(("abandon", None)),
)
actions = st.one_of(says, says, begins, asks, settles, ends, others, others)

QUESTION, QUEUED = ("say", ("user", False)), ("say", ("user", True))
few = st.lists(actions, max_size=2)
between = st.lists(actions | others, min_size=1, max_size=4)
requests = st.tuples(asks, few, settles | others, few).map(lambda parts: [parts[0], *parts[1], parts[2], *parts[3]])
scenes = st.one_of(
    # A question and its answer, in which anything may happen.
    st.tuples(
        st.just([QUESTION]),
        begins.map(lambda one: [one]),
        requests,
        requests | between,
        ends.map(lambda one: [one]),
        few,
    ),
    # Questions that come while another is answered, and those that are answered after it.
    st.tuples(st.lists(st.just(QUEUED), min_size=1, max_size=3), requests, ends.map(lambda one: [one]), between),
    # Somebody takes over, or goes on.
    st.tuples(st.just([("begin", True)]), requests, between),
)


def talked(done: Sequence[Sequence[Sequence[Action]]]) -> OwnedTalk:
    """The conversation in which all this was tried."""
    talk = OwnedTalk()
    for scene in done:
        for part in scene:
            for action in part:
                talk.act(action)
    return talk


owned_talks = st.lists(scenes, min_size=2, max_size=5).map(talked)
owned_histories = owned_talks.map(lambda talk: talk.events)
"""Conversations of turns with owners, and at times without."""


def everything_in_a_turn() -> History:
    """An answer that is made again, calls that are allowed and run and wait, a queued message, a late result, a turn
    that is lost, and one that is stopped in the queue."""
    talk, at, writer = OwnedTalk(), BEGAN, "w1"
    failed = e.CompletionFailed(at=at, step_id="s0", error="slow down", failure={"status": 429})
    calls = [("book", '{"to":"Rome"}'), ("hotel", "{}"), ("weather", "{}")]
    commands: list[c.Command] = [
        c.AddMessage(at, "m1", "user", "A flight to Rome, and a hotel."),
        c.BeginTurn(at, None, "r1", writer),
        c.BeginCompletion(at, "s0", run="r1", writer=writer),
        appends.AppendText(at, "s0", "I will lo"),
        c.EndCompletion(failed),
        c.BeginCompletion(at, "s1", run="r1", writer=writer),
        appends.AppendText(at, "s1", "I will look."),
        *(appends.AppendToolCall(at, "s1", i, f"call_{i}", name, given) for i, (name, given) in enumerate(calls)),
        c.EndCompletion(e.CompletionFinished(at=at, step_id="s1", finish_reason="tool_calls")),
        c.AddMessage(at, "m2", "user", "And a restaurant.", queue=True),
        c.RequestApproval(at, "r1", "s1", 0),
        c.StartTool(at, "r1", "s1", 1),
        c.StartTool(at, "r1", "s1", 2),
        c.AddToolResult(at, "call_1", "pending", "asked the hotel", step_id="s1", index=1, run="r1"),
        c.AddToolResult(at, "call_2", "error", "no weather", step_id="s1", index=2, run="r1"),
        c.EndTurn(at, "r1", "waiting"),
        c.DecideApproval(at, "call_0", "s1", True, "anna", "it is cheap", for_turn=True),
        c.BeginTurn(at, None, "r2", "w2"),
        c.AbandonSteps(at, frozenset({"w2"}), "its writer is gone"),
        c.BeginTurn(at, None, "r3", "w3"),
        c.BeginCompletion(at, "s2", run="r3", writer="w3"),
        appends.AppendText(at, "s2", "The hotel will answer."),
        c.EndCompletion(e.CompletionFinished(at=at, step_id="s2", finish_reason="stop")),
        c.AddToolResult(at, "call_1", "final", "The room is yours.", step_id="s1", index=1),
        c.AddMessage(at, "m4", "user", "Buy shoes.", queue=True),
        c.CancelSteps(at, "not now", turn_id="m4"),
        c.AddMessage(at, "m5", "user", "Sing.", queue=True),
    ]
    for command in commands:
        assert talk.do(command), command
    return talk.events
