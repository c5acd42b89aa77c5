"""What `decide` has to know about a session, and no more: it stays small, however long the session gets.

The state forgets old message ids and answered calls, but the store remembers them. `Memory.complete` says whether
somebody has to ask the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from pydantic import Field, InstanceOf

from turnlog.domain.calls import AwaitedCalls, KeptAwaitedCalls, KeptStepCalls, StepCalls
from turnlog.domain.events import StepStatus, TurnEnd
from turnlog.domain.sorted_map import SortedMap
from turnlog.domain.values import Frozen, JsonObject, Text

MEMORY_LIMIT = 512
"""Ids of each kind that a state remembers, at most."""


class OpenStep(Frozen):
    """A step whose response is still coming. `since` is when it began; `writer` is as in CompletionStarted."""

    step_id: str
    since: datetime
    writer: str = ""
    calls: KeptStepCalls = StepCalls()


class Known(NamedTuple):
    """How a talk stands, as far as a prompt, or the end of a turn, depends on it: how much is unread, the latest
    response, how it ended, and how many are open."""

    unread: int = 0
    step_id: str = ""
    status: StepStatus | None = None
    open_steps: int = 0


class LatestStep(Frozen):
    """The step that began last, open or not. `status`: how it ended, or "open". `turn_id` is as in CompletionStarted;
    `answered`: a call of it has a result. `cut_off`: it has finished in the middle of something."""

    step_id: str
    since: datetime
    writer: str = ""
    status: StepStatus = "open"
    turn_id: str = ""
    answered: bool = False
    cut_off: bool = False

    @property
    def finished(self) -> bool:
        """Whether it came to its natural end."""
        return self.status == "finished"

    @property
    def broke_off(self) -> bool:
        """Whether it ended otherwise, and nothing came of it that the model has to hear of."""
        return self.status not in ("open", "finished") and not self.answered


class LatestTurn(Frozen):
    """The turn that had an owner last. `status`: how its last run ended; None while it is in hand. `run` and `writer`
    are as in TurnStarted, `since` is when the run began. `has_begun`: it has had a response."""

    turn_id: str
    run: str
    writer: str
    since: datetime
    status: TurnEnd | None = None
    has_begun: bool = False


class Memory(Frozen):
    """Recent ids, to tell a retry from something new. `complete`: nothing was forgotten."""

    message_ids: frozenset[str] = frozenset()
    answered: dict[str, str] = {}
    reports: frozenset[str] = frozenset()
    complete: bool = False

    def with_message(self, message_id: str) -> Memory:
        """The memory with this message id, too. A full one starts over."""
        full = len(self.message_ids) >= MEMORY_LIMIT
        ids = frozenset((message_id,)) if full else self.message_ids | {message_id}
        return self.model_copy(update={"message_ids": ids, "complete": self.complete and not full})

    def with_answer(self, call_id: str, digest: str) -> Memory:
        """The memory with the fingerprint of this final result, too. A full one starts over."""
        full = len(self.answered) >= MEMORY_LIMIT
        answered = {call_id: digest} if full else {**self.answered, call_id: digest}
        return self.model_copy(update={"answered": answered, "complete": self.complete and not full})

    def with_report(self, key: str) -> Memory:
        """The memory with this increment or usage report, too. A full one starts over."""
        full = len(self.reports) >= MEMORY_LIMIT
        reports = frozenset((key,)) if full else self.reports | {key}
        return self.model_copy(update={"reports": reports, "complete": self.complete and not full})


CounterNames = SortedMap[tuple[str, str], bool]
"""Which counters there are, by name and key."""


class Unborn(Frozen):
    """There is no event yet."""

    kind: Literal["unborn"] = "unborn"
    session_id: UUID


class Active(Frozen):
    """A session that can be appended to. `repairs` are the ids of the repairs that apply; `compacted` is the position
    up to which the context was compacted, and the fingerprint of the summary. `metadata` and `counters` are there for
    the sake of their limits.

    `turn` is the latest turn with an owner, and `queue` has the ids of the messages whose turns come after it. `asked`
    is the id of the first user message that no step and no turn has begun to answer. `responses` counts the responses.

    What no request has had yet: `news` counts the messages of the user, and the late results, since the last response
    began; `results` counts the other results, since then or since the owner of the turn left it."""

    kind: Literal["active"] = "active"
    session_id: UUID
    user_id: str | None
    title: Text | None
    started_at: datetime
    open_steps: dict[str, OpenStep] = {}
    latest: LatestStep | None = None
    awaited: KeptAwaitedCalls = AwaitedCalls()
    turn: LatestTurn | None = None
    queue: tuple[str, ...] = ()
    asked: str | None = None
    news: int = 0
    results: int = 0
    responses: int = 0
    repairs: tuple[str, ...] = ()
    compacted: tuple[int, str] = (0, "")
    memory: Memory = Field(default_factory=Memory, exclude=True)
    metadata: JsonObject = Field(default={}, exclude=True)
    counters: InstanceOf[CounterNames] = Field(default_factory=SortedMap, exclude=True)

    @property
    def in_hand(self) -> LatestTurn | None:
        """The turn that has an owner now."""
        return self.turn if self.turn is not None and self.turn.status is None else None

    @property
    def unfinished(self) -> LatestTurn | None:
        """The turn that somebody has in hand, or whose owner has left it: what comes now is for it."""
        turn = self.turn
        return turn if turn is not None and turn.status in (None, "abandoned") else None

    @property
    def is_waiting(self) -> bool:
        """Whether a call of the latest turn with an owner waits for somebody outside."""
        return self.turn is not None and self.awaited.waiting_in.get(self.turn.turn_id) is not None

    @property
    def unread(self) -> int:
        """How much there is that no request has had yet, or whose tool has been allowed to run."""
        return self.news + self.results + self.awaited.allowed

    @property
    def known(self) -> Known:
        """How the talk stands."""
        step_id, status = ("", None) if self.latest is None else (self.latest.step_id, self.latest.status)
        return Known(self.unread, step_id, status, len(self.open_steps))

    def with_facts(self, metadata: JsonObject, counters: Mapping[str, Mapping[str, int]]) -> Active:
        """The state with the metadata and the counters of the session, which it is kept without."""
        names = ((name, key) for name, keys in counters.items() for key in keys)
        known = SortedMap.of((name, True) for name in names)
        return self.model_copy(update={"metadata": metadata, "counters": known})


class Deleted(Frozen):
    """Nobody can append anything any more."""

    kind: Literal["deleted"] = "deleted"
    session_id: UUID


SessionState = Unborn | Active | Deleted
AnyState = Annotated[SessionState, Field(discriminator="kind")]


def initial_state(session_id: UUID) -> SessionState:
    """The state before the first event."""
    return Unborn(session_id=session_id)
