"""Which messages and steps of the turns are sent, in the order of the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from turnlog.projections.prompt.policy import DEFAULT_POLICY, PromptPolicy
from turnlog.projections.turn import Compaction, LateResult, Message, Step, Turn


class Selected(NamedTuple):
    """Something that is sent, and the index of its turn: -1 for a summary, which belongs to none."""

    turn: int
    entry: Message | Step | LateResult | Compaction


def select(
    turns: Iterable[Turn], compaction: Compaction | None = None, policy: PromptPolicy = DEFAULT_POLICY
) -> Iterator[Selected]:
    """What is sent of these turns, without the summary of the compaction."""
    upto = compaction.upto if compaction else 0
    for turn in turns:
        for entry in turn.entries():
            if isinstance(entry, Message):
                if entry.position > upto or entry.is_pinned:
                    yield Selected(turn.index, entry)
            elif entry.position > upto and _is_sent(turn, entry, policy):
                yield Selected(turn.index, entry)
        if turn.is_in_hand:
            break  # the turns in the queue have to wait for this one


def _is_sent(turn: Turn, entry: Step | LateResult, policy: PromptPolicy) -> bool:
    if isinstance(entry, LateResult):
        return policy.late_results == "message"
    if turn.is_in_hand and policy.broken_off == "again" and entry is turn.broken_off:
        return False  # the owner makes it again, whatever has been said since
    return not turn.has_replaced(entry) and _is_wanted(entry, policy)


def _is_wanted(step: Step, policy: PromptPolicy) -> bool:
    wish = {"interrupted": policy.interrupted, "failed": policy.failed, "abandoned": policy.abandoned}
    return wish.get(step.status, "send") == "send" or step.was_gone_on_from


def sent_length(selected: Sequence[Selected], policy: PromptPolicy = DEFAULT_POLICY) -> int:
    """How many of them are sent when nothing follows: at the end, an open step still grows, and one that broke off is
    about to be made again, or to be continued."""
    length = len(selected)
    while length:
        last = selected[length - 1].entry
        if not isinstance(last, Step) or last.was_gone_on_from or last.status in ("finished", "interrupted"):
            break
        if policy.broken_off == "continue" and last.status != "open":
            break
        length -= 1
    return length


def with_summary(selected: Sequence[Selected], compaction: Compaction) -> list[Selected]:
    """The selection with the summary of the compaction, after the pinned messages of the time that it sums up."""
    before = [one for one in selected if one.entry.position <= compaction.upto]
    after = (one for one in selected if one.entry.position > compaction.upto)
    return [*before, Selected(-1, compaction), *after]
