"""From turns to what is sent: the part that all APIs share. Valid whatever happened.

What happened stays in the log; a prompt makes the least of it that can be sent:

* a call without a result gets one that says so; a call without a name is left out together with its result;
* arguments that are not a JSON object become ``{}``;
* an id that is missing, illegal for the API, or taken by an earlier call is replaced, always by the same one;
* steps with nothing between them are one assistant message, their texts joined as they are;
* a lone surrogate becomes U+FFFD, for it cannot be sent as UTF-8; two halves that meet become one character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from turnlog.domain.events import Content, FunctionCall
from turnlog.domain.values import as_unicode, fingerprint
from turnlog.projections.arguments import is_object, with_whole_escapes
from turnlog.projections.joining import joined_content, joined_text
from turnlog.projections.placeholders import NO_RESULT
from turnlog.projections.prompt.entries import PromptCall, PromptEntry, PromptMessage, PromptStep
from turnlog.projections.prompt.parts import readable
from turnlog.projections.prompt.policy import DEFAULT_POLICY, PromptPolicy
from turnlog.projections.turn import Compaction, Message, Step, StepToolCall, ToolResult, Turn

NO_ARGUMENTS = "{}"
_NAME = re.compile(r"[^a-zA-Z0-9_-]")


class Dialect(NamedTuple):
    """What an API allows in a call id, whether it still has function_call and function messages, whether thinking
    goes back to it in a form of its own, and how many characters the name of a tool may have."""

    call_id: re.Pattern[str]
    has_functions: bool = False
    has_thinking: bool = True
    name_length: int = 64

    def tool_name(self, name: str) -> str:
        """The name in characters that the API takes, and as many of them."""
        return _NAME.sub("_", as_unicode(name))[: self.name_length]


CHAT = Dialect(re.compile(r"(?s).{1,64}"), has_functions=True, has_thinking=False)
"""OpenAI once refused more than 40 characters; its own relays make ids of 54, and they are taken."""
ANTHROPIC = Dialect(re.compile(r"[a-zA-Z0-9_-]{1,64}"), name_length=128)
"""'tool_use.name: String should match pattern ^[a-zA-Z0-9_-]{1,128}$', and
'tool_use.id: String should match pattern ^[a-zA-Z0-9_-]+$'"""
RESPONSES = Dialect(re.compile(r"(?s).{1,64}"))


class Placed(NamedTuple):
    """What happened, and the turn that it happened in."""

    turn: int
    entry: Message | Step | Compaction


def assemble(
    turns: Sequence[Turn],
    dialect: Dialect,
    compaction: Compaction | None = None,
    policy: PromptPolicy = DEFAULT_POLICY,
    *,
    taken: frozenset[str] = frozenset(),
    is_end: bool = True,
) -> list[PromptEntry]:
    """What is sent next, in order. No two steps stand side by side but where results are between them.

    `taken`: the call ids of what is sent before it. `is_end`: whether nothing is sent after it.
    """
    assembly = Assembly(dialect, policy, taken)
    placed = list(sent(turns, compaction, policy))
    if is_end:
        placed = placed[: end_of(placed)]
    if compaction is not None:
        placed = with_summary(placed, compaction)
    for one in placed:
        assembly.add(one)
    return assembly.entries


def sent(
    turns: Iterable[Turn], compaction: Compaction | None = None, policy: PromptPolicy = DEFAULT_POLICY
) -> Iterator[Placed]:
    """What is sent of these turns, in the order of the log."""
    upto = compaction.upto if compaction else 0
    for turn in turns:
        for entry in turn.entries():
            if isinstance(entry, Message):
                if entry.position > upto or entry.is_pinned:
                    yield Placed(turn.index, entry)
            elif entry.position > upto and not turn.has_replaced(entry) and _is_sent(entry, policy):
                yield Placed(turn.index, entry)


def _is_sent(step: Step, policy: PromptPolicy) -> bool:
    wish = {"interrupted": policy.interrupted, "failed": policy.failed, "abandoned": policy.abandoned}
    return wish.get(step.status, "send") == "send" or bool(step.tool_results)


def end_of(placed: Sequence[Placed]) -> int:
    """How many of them are sent: at the very end an open step still grows, and a failed one is about to be made
    again."""
    end = len(placed)
    while end:
        last = placed[end - 1].entry
        if not isinstance(last, Step) or last.tool_results or last.status in ("finished", "interrupted"):
            break
        end -= 1
    return end


def with_summary(placed: Sequence[Placed], compaction: Compaction) -> list[Placed]:
    """With what is pinned of the time before, and the summary, in front."""
    old = [one for one in placed if one.entry.position <= compaction.upto]
    return [*old, Placed(-1, compaction), *(one for one in placed if one.entry.position > compaction.upto)]


def is_sendable(message: Message) -> bool:
    """Whether the message has anything that can be sent."""
    return bool(_sendable_content(message))


def _sendable_content(message: Message) -> Any:
    return sendable(readable(message.content, message.role))


Results = dict[int, ToolResult]


class Mark(NamedTuple):
    """Where an assembly was. Of the entries that there were only the last one may be another since."""

    entries: int
    last: PromptEntry | None
    taken: int
    called: PromptStep | None


class Assembly:
    """Makes entries of what is placed behind one another, and can go back to where it was."""

    def __init__(self, dialect: Dialect, policy: PromptPolicy, taken: frozenset[str]) -> None:
        self._dialect = dialect
        self._policy = policy
        self._sends_reasoning = dialect.has_thinking or policy.reasoning == "send"
        self._taken = dict.fromkeys(taken)  # in the order in which they were
        self.entries: list[PromptEntry] = []
        self._called: PromptStep | None = None  # whose function_call waits for its function message

    def mark(self) -> Mark:
        """Where it is now."""
        last = self.entries[-1] if self.entries else None
        return Mark(len(self.entries), last, len(self._taken), self._called)

    def go_back(self, mark: Mark) -> None:
        """Forgets all that was added since it was there."""
        del self.entries[mark.entries :]
        if mark.last is not None:
            self.entries[-1] = mark.last
        while len(self._taken) > mark.taken:
            self._taken.popitem()
        self._called = mark.called

    def add(self, placed: Placed) -> None:
        """Adds what comes next."""
        turn, entry = placed
        if isinstance(entry, Message):
            self._add_message(turn, entry)
        elif isinstance(entry, Step):
            self._add_step(turn, entry)
        else:
            self.entries.append(PromptMessage(-1, (entry.position,), "user", as_unicode(entry.summary), pinned=True))

    def _add_message(self, turn: int, message: Message) -> None:
        content, name = _sendable_content(message), _name(message.name)
        if message.role == "function":
            self._add_function(turn, message)
        elif content:
            pinned = message.is_pinned
            entry = PromptMessage(turn, (message.position,), message.role, content, name, pinned)
            self.entries.append(entry)

    def _add_function(self, turn: int, message: Message) -> None:
        called, self._called = self._called, None
        name = self._dialect.tool_name(message.name or "")
        if called is None or called.function_call is None or called.function_call.name != name:
            return  # the result of no call
        content, last = _plain(message.content), self.entries[-1]
        if self._dialect.has_functions:
            self.entries.append(PromptMessage(turn, (message.position,), "function", content, name))
        elif isinstance(last, PromptStep):
            answered = replace(last.calls[-1], result=content, positions=(*last.calls[-1].positions, message.position))
            self.entries[-1] = replace(last, calls=(*last.calls[:-1], answered))

    def _add_step(self, turn: int, step: Step) -> None:
        """Adds a step, or joins it to the one that it would stand beside."""
        results = step.results()
        calls = [call for call in step.message.tool_calls if self._can_be_sent(step, call, results)]
        said = self._said(turn, step, calls, results)
        if not (said.content or said.refusal or said.calls or said.function_call):
            return
        last = self.entries[-1] if self.entries else None
        if isinstance(last, PromptStep) and not last.calls:
            self.entries[-1] = said = _joined(last, said)
        else:
            self.entries.append(said)
        self._called = said if said.function_call else None

    def _said(self, turn: int, step: Step, calls: list[StepToolCall], results: Results) -> PromptStep:
        message, function = step.message, self._function(step)
        prompt_calls = [self._call(step, call, results.get(call.index)) for call in calls]
        order = {result.index: place for place, result in enumerate(step.tool_results)}
        answers = sorted(range(len(calls)), key=lambda place: order.get(calls[place].index, len(order)))
        if function is not None and not self._dialect.has_functions:
            call_id = self._unique(f"call_{fingerprint(step.step_id, 'function')[:24]}", step, -1)
            prompt_calls.append(
                PromptCall(call_id, function.name, function.arguments, NO_RESULT, False, (step.position,))
            )
            answers.append(len(calls))
        return PromptStep(
            turn=turn,
            positions=(step.position,),
            content=sendable(readable(message.content, "assistant")) or None,
            refusal=sendable(message.refusal) or None,
            reasoning=sendable(message.reasoning) if self._sends_reasoning else None,
            details=tuple(sendable(detail) for detail in message.reasoning_details),
            function_call=function,
            calls=tuple(prompt_calls),
            answers=tuple(answers),
            name=_name(message.name),
        )

    def _can_be_sent(self, step: Step, call: StepToolCall, results: Results) -> bool:
        if not call.name:
            return False
        was_cut_off = step.status != "finished" and not is_object(as_unicode(call.arguments))
        closed = self._policy.unfinished_calls == "close" or call.index in results
        return closed or not was_cut_off

    def _call(self, step: Step, call: StepToolCall, result: ToolResult | None) -> PromptCall:
        return PromptCall(
            id=self._unique(as_unicode(call.id), step, call.index),
            name=self._dialect.tool_name(call.name),
            arguments=_arguments(call.arguments),
            result=_content(result),
            is_error=result is not None and result.status == "error",
            positions=(step.position,) if result is None else (step.position, result.position),
        )

    def _function(self, step: Step) -> FunctionCall | None:
        function = step.message.function_call
        if function is None or not function.name:
            return None
        return FunctionCall(name=self._dialect.tool_name(function.name), arguments=_arguments(function.arguments))

    def _unique(self, wanted: str, step: Step, index: int) -> str:
        legal = self._dialect.call_id.fullmatch(wanted) is not None and wanted not in self._taken
        chosen = wanted if legal else f"call_{fingerprint(step.step_id, index)[:24]}"
        self._taken[chosen] = None
        return chosen


def _arguments(arguments: str) -> str:
    text = with_whole_escapes(as_unicode(arguments))
    return text if is_object(text) else NO_ARGUMENTS


def _content(result: ToolResult | None) -> Any:
    return NO_RESULT if result is None else sendable(readable(result.content, "tool")) or ""


def _plain(content: Content | None) -> str:
    """The content of a function message, which has text only."""
    if content is None or isinstance(content, str):
        return as_unicode(content or "")
    return as_unicode("".join(part["text"] for part in content if isinstance(part.get("text"), str)))


def _name(name: str | None) -> str | None:
    """The name of a message: OpenAI takes 64 characters, and none of ``<|\\/>`` and spaces."""
    return re.sub(r"[\s<|\\/>]", "_", as_unicode(name))[:64] if name else None


def _joined(first: PromptStep, second: PromptStep) -> PromptStep:
    return replace(
        second,
        turn=first.turn,
        positions=(*first.positions, *second.positions),
        content=sendable(joined_content(first.content, second.content)),
        refusal=sendable(joined_text(first.refusal, second.refusal)),
        reasoning=joined_text(first.reasoning, second.reasoning) or None,
        details=first.details + second.details,
        function_call=second.function_call or first.function_call,
        name=first.name or second.name,
    )


def sendable(value: Any) -> Any:
    """`value` with all text fit for UTF-8."""
    if isinstance(value, str):
        return as_unicode(value)
    if isinstance(value, list | tuple):
        return type(value)(sendable(item) for item in value)
    if isinstance(value, dict):
        return {as_unicode(key): sendable(item) for key, item in value.items()}
    return value
