"""What a caller does in a round: the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from uuid import UUID, uuid5

from tests.chaos.calls import Call
from tests.chaos.talks import PLAYS

WEIGHTS = {
    "say": 8, "advise": 1, "quote": 1, "answer": 4, "write": 3, "ask": 1, "background": 1, "result": 4, "increment": 4,
    "report": 2, "title": 1, "metadata": 1, "import": 2, "fork": 1, "compact": 1, "repair": 1, "undo_repair": 1,
    "cancel": 1, "unowned": 1, "gone": 1, "reap": 1, "view": 4, "prompts": 3, "window": 2, "at": 1, "events": 1,
    "follow": 1, "deltas": 1, "live": 1, "list": 2, "usage": 1, "explain": 1, "intrude": 2,
    "talk": 3, "decide": 1, "stop": 1, "resume": 1,
}  # fmt: skip
OF_ONES_OWN = ("import", "unowned", "gone")
"""What makes a session of its own."""
IN_TALKS = ("talk", "decide", "stop", "resume")
"""What is done in sessions whose turns have an owner."""
SHARED = ("say", "increment", "report", "extend", "talk")
"""What two processes do in one session at the same time: under the same ids, but for the last one."""


def new_id(rng: Random) -> UUID:
    """A session id."""
    return UUID(int=rng.getrandbits(128), version=4)


class Caller:
    """One caller: what it does next, and in which sessions."""

    def __init__(self, name: str, seed: str, user: str, own: UUID, shared: UUID) -> None:
        self.name, self.user = name, user
        self.steps: list[tuple[Call, str]] = []
        """Its finished steps whose calls have no result yet."""
        self._rng = Random(seed)
        # Callers of two processes who share a session make the same choices there.
        self._own, self._shared, self._shared_rng = own, shared, Random(f"{shared} {name.partition('-')[0]}")
        self._talk, self._shared_talk = uuid5(own, "talk"), uuid5(shared, "talk")
        self._number = 0

    def calls(self) -> Iterator[Call]:
        """What it does, without an end."""
        for session_id in (self._own, self._shared, self._talk, self._shared_talk):
            yield Call(f"start-{session_id}", "start", session_id, self.user, is_twin=True)
        names, weights = list(WEIGHTS), list(WEIGHTS.values())
        while True:
            if self._rng.random() < 0.25:
                yield from self._together()
            kind = self._rng.choices(names, weights)[0]
            if kind in OF_ONES_OWN:
                yield from self._elsewhere(kind)
            elif kind == "result":
                yield from self._results()
            else:
                yield self._call(kind, self._talk if kind in IN_TALKS else self._own)

    def _call(self, kind: str, session_id: UUID) -> Call:
        self._number += 1
        play = self._rng.choices(*zip(*PLAYS.items(), strict=True))[0] if kind == "talk" else ""
        return Call(f"{self.name}-{self._number}", kind, session_id, self.user, play=play)

    def _together(self) -> Iterator[Call]:
        kind = self._shared_rng.choice(SHARED)
        if kind == "extend":
            yield self._call("extend", new_id(self._shared_rng))
            return
        call_id = f"both-{self._shared_rng.getrandbits(32):x}"
        session_id = self._shared_talk if kind == "talk" else self._shared
        play = self._shared_rng.choice(list(PLAYS)) if kind == "talk" else ""
        yield Call(call_id, kind, session_id, self.user, is_twin=True, play=play)
        yield self._call("view", self._shared)

    def _elsewhere(self, kind: str) -> Iterator[Call]:
        session_id = new_id(self._rng)
        if kind == "import":
            call = self._call("import", session_id)
            yield from (call, call)
        elif kind == "unowned":
            yield self._call("start_unowned", session_id)
            yield self._call("assign", session_id)
            yield self._call("say", session_id)
        else:
            yield self._call("start", session_id)
            yield self._call("say", session_id)
            yield self._call("delete", session_id)

    def _results(self) -> Iterator[Call]:
        while self.steps:
            call, step_id = self.steps.pop()
            yield Call(f"result-{call.id}", "result", call.session_id, call.user, step_id=step_id)
