"""The calls that a state knows: those of an open step, and those without a final result.

A response may make thousands. Each is found at once, and changing one costs the same however many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from turnlog.domain.sorted_map import SortedMap
from turnlog.domain.values import Text

_NONE: SortedMap[Any, Any] = SortedMap()


@dataclass(frozen=True, slots=True)
class CallHead:
    """A call of an open step. `whole` is the fingerprint of its arguments if they came in one piece. `is_named`:
    arguments have come since it has a name, so that is not continued any more."""

    index: int
    id: Text
    name: Text
    has_arguments: bool = False
    whole: str | None = None
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class AwaitedCall:
    """A call without a final result. `pending` is the fingerprint of its pending result, if there is one.

    `response` is the number of the response that made it. `run` is the run in which its tool was started last,
    `attempts` says how often that was. `approval` says that somebody has to decide about it, or has allowed it.
    `turn_id` is the turn with an owner in which it was made, if it was in one.
    """

    step_id: str
    index: int
    call_id: Text
    pending: str | None = None
    response: int = 0
    run: str = ""
    attempts: int = 0
    approval: Literal["", "requested", "approved"] = ""
    turn_id: str = ""

    @property
    def waits(self) -> bool:
        """Whether it waits for somebody outside: for the result of what has been started, or for a decision."""
        return self.pending is not None or self.approval == "requested"

    @property
    def is_allowed(self) -> bool:
        """Whether somebody has allowed its tool to run, which has not been run."""
        return self.pending is None and self.approval == "approved"


@dataclass(frozen=True, slots=True, eq=False)
class StepCalls:
    """The calls of an open step, by index. It never changes. `by_id` has the indexes of each id."""

    by_index: SortedMap[int, CallHead] = _NONE
    by_id: SortedMap[tuple[str, int], bool] = _NONE

    @classmethod
    def of(cls, heads: Iterable[CallHead]) -> StepCalls:
        """The calls of a step."""
        heads = tuple(heads)
        return cls(
            SortedMap.of((head.index, head) for head in heads),
            SortedMap.of(((head.id, head.index), True) for head in heads),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StepCalls) and self.heads() == other.heads()

    def __hash__(self) -> int:
        return hash(self.heads())

    def heads(self) -> tuple[CallHead, ...]:
        """The calls in the order of their indexes."""
        return tuple(head for _, head in self.by_index)

    def get(self, index: int) -> CallHead | None:
        """The call at this index."""
        return self.by_index.get(index)

    def of_id(self, call_id: str) -> CallHead | None:
        """The first call with this id."""
        found = self.by_id.first_from((call_id, -1))
        return self.by_index.get(found[0][1]) if found is not None and found[0][0] == call_id else None

    def next_index(self) -> int:
        """The index after all others."""
        last = self.by_index.last()
        return 0 if last is None else last[0] + 1

    def plus(self, head: CallHead) -> StepCalls:
        """The calls with this one, in place of one with its index."""
        before, by_id = self.by_index.get(head.index), self.by_id
        if before is not None and before.id != head.id:
            by_id = by_id.minus((before.id, head.index))
        if before is None or before.id != head.id:
            by_id = by_id.plus((head.id, head.index), True)
        return StepCalls(self.by_index.plus(head.index, head), by_id)


@dataclass(frozen=True, slots=True, eq=False)
class AwaitedCalls:
    """The calls without a final result, numbered in the order in which they were made. It never changes.

    `by_call` has each by its step and index, `by_id` the step of each by its id and number, and `by_state` the index of
    each by its id, its step, whether it is pending, and its number. `unanswered` counts, for each step, the calls
    without a pending result; `waiting` counts those that wait for somebody outside, `waiting_in` the same for each
    turn, and `allowed` those whose tool somebody has allowed to run.
    """

    by_call: SortedMap[tuple[str, int], tuple[int, AwaitedCall]] = _NONE
    by_id: SortedMap[tuple[str, int], str] = _NONE
    by_state: SortedMap[tuple[str, str, bool, int], int] = _NONE
    next_number: int = 0
    unanswered: SortedMap[str, int] = _NONE
    waiting: int = 0
    waiting_in: SortedMap[str, int] = _NONE
    allowed: int = 0

    @classmethod
    def of(cls, calls: Iterable[AwaitedCall]) -> AwaitedCalls:
        """These calls, in their order."""
        numbered = {(call.step_id, call.index): (number, call) for number, call in enumerate(calls)}
        if not numbered:
            return cls()
        unanswered = Counter(call.step_id for _, call in numbered.values() if call.pending is None)
        waiting_in = Counter(call.turn_id for _, call in numbered.values() if call.waits)
        return cls(
            SortedMap.of(numbered.items()),
            SortedMap.of(((call.call_id, number), call.step_id) for number, call in numbered.values()),
            SortedMap.of((_state_key(number, call), call.index) for number, call in numbered.values()),
            max((number + 1 for number, _ in numbered.values()), default=0),
            SortedMap.of(unanswered.items()),
            waiting_in.total(),
            SortedMap.of(waiting_in.items()),
            sum(call.is_allowed for _, call in numbered.values()),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AwaitedCalls) and self.in_order() == other.in_order()

    def __hash__(self) -> int:
        return hash(self.in_order())

    def in_order(self) -> tuple[AwaitedCall, ...]:
        """The calls in the order in which they were made."""
        return tuple(call for _, call in sorted((one for _, one in self.by_call), key=itemgetter(0)))

    def get(self, step_id: str, index: int) -> AwaitedCall | None:
        """The call at this index of the step, if it is awaited."""
        found = self.by_call.get((step_id, index))
        return None if found is None else found[1]

    def find(self, call_id: str, step_id: str | None = None) -> AwaitedCall | None:
        """The call with this id in the given step, or in the step that made the latest one: an unanswered one if there
        is any, else one with a pending result."""
        if step_id is None:
            latest = self.by_id.last_before((call_id, self.next_number))
            if latest is None or latest[0][0] != call_id:
                return None
            step_id = latest[1]
        found = self.by_state.first_from((call_id, step_id, False, -1))
        return self.get(step_id, found[1]) if found is not None and found[0][:2] == (call_id, step_id) else None

    def plus(self, call: AwaitedCall) -> AwaitedCalls:
        """The calls with this one: after the others, or in the place of one that is there."""
        known = self.by_call.get((call.step_id, call.index))
        number = self.next_number if known is None else known[0]
        others = self.minus(call.step_id, call.index)
        return AwaitedCalls(
            others.by_call.plus((call.step_id, call.index), (number, call)),
            others.by_id.plus((call.call_id, number), call.step_id),
            others.by_state.plus(_state_key(number, call), call.index),
            max(self.next_number, number + 1),
            others.unanswered if call.pending is not None else _counted(others.unanswered, call.step_id, 1),
            others.waiting + call.waits,
            _counted(others.waiting_in, call.turn_id, 1) if call.waits else others.waiting_in,
            others.allowed + call.is_allowed,
        )

    def plus_all(self, calls: Sequence[AwaitedCall]) -> AwaitedCalls:
        """The calls with these after the others, but for those that are there."""
        new = [call for call in calls if self.get(call.step_id, call.index) is None]
        if len(new) > 8 and len(new) > len(self.by_call) // 8:
            return AwaitedCalls.of((*self.in_order(), *new))  # quicker than one by one
        awaited = self
        for call in new:
            awaited = awaited.plus(call)
        return awaited

    def minus(self, step_id: str, index: int) -> AwaitedCalls:
        """The calls without this one."""
        known = self.by_call.get((step_id, index))
        if known is None:
            return self
        number, call = known
        return AwaitedCalls(
            self.by_call.minus((step_id, index)),
            self.by_id.minus((call.call_id, number)),
            self.by_state.minus(_state_key(number, call)),
            self.next_number,
            self.unanswered if call.pending is not None else _counted(self.unanswered, call.step_id, -1),
            self.waiting - call.waits,
            _counted(self.waiting_in, call.turn_id, -1) if call.waits else self.waiting_in,
            self.allowed - call.is_allowed,
        )


def _counted(counts: SortedMap[str, int], key: str, by: int) -> SortedMap[str, int]:
    count = (counts.get(key) or 0) + by
    return counts.plus(key, count) if count else counts.minus(key)


def _state_key(number: int, call: AwaitedCall) -> tuple[str, str, bool, int]:
    """Sorts the calls of one id and step: unanswered ones first."""
    return call.call_id, call.step_id, call.pending is not None, number


class _KeptAs:
    """Has a field of one type stand in JSON as one of another type, from which `read` makes it."""

    def __init__(self, kept: Any, read: Callable[[Any], Any], write: Callable[[Any], Any]) -> None:
        self._kept, self._read, self._write = kept, read, write

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kept = handler.generate_schema(self._kept)
        from_kept = core_schema.no_info_after_validator_function(self._read, kept)
        as_it_is = core_schema.is_instance_schema(source)
        return core_schema.json_or_python_schema(
            json_schema=from_kept,
            python_schema=core_schema.union_schema([as_it_is, from_kept], mode="left_to_right"),
            serialization=core_schema.plain_serializer_function_ser_schema(self._write, return_schema=kept),
        )


KeptStepCalls = Annotated[
    StepCalls,
    _KeptAs(dict[int, CallHead], lambda kept: StepCalls.of(kept.values()), lambda calls: dict(calls.by_index)),
]
KeptAwaitedCalls = Annotated[AwaitedCalls, _KeptAs(tuple[AwaitedCall, ...], AwaitedCalls.of, AwaitedCalls.in_order)]
"""The calls as fields of a state that is kept."""
