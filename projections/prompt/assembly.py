"""From turns to what is sent: the part that all APIs share. The outcome is valid, whatever happened.

What happened stays in the log. A prompt changes as little of it as makes it sendable:

* a call without a result gets one that says so; a call that was cut off, or has no name, is left out;
* arguments that are not a JSON object become ``{}``;
* an id that is missing, illegal for the API, or used by an earlier call is replaced, always by the same one;
* steps with nothing between them are one assistant message, their texts joined as they are;
* a lone surrogate becomes U+FFFD, because UTF-8 cannot hold it; two halves that meet become one character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from turnlog.domain.events import Content, FunctionCall
from turnlog.domain.finish_reasons import CUT, meaning_of
from turnlog.domain.foreign import api_of
from turnlog.domain.values import as_unicode, fingerprint
from turnlog.projections.arguments import is_object, with_whole_escapes
from turnlog.projections.ended import CallNotes
from turnlog.projections.joining import joined_contents, joined_texts
from turnlog.projections.late import late_result_content
from turnlog.projections.placeholders import NO_RESULT
from turnlog.projections.prompt.dialect import Dialect, message_name
from turnlog.projections.prompt.entries import PromptCall, PromptEntry, PromptMessage, PromptStep
from turnlog.projections.prompt.own_parts import (
    input_arguments,
    is_of,
    own_parts,
    plain_parts,
    says_by_itself,
    spoken,
)
from turnlog.projections.prompt.parts import sendable, unicode_json
from turnlog.projections.prompt.policy import DEFAULT_POLICY, PromptPolicy
from turnlog.projections.prompt.selection import Selected, select, sent_length, with_summary
from turnlog.projections.turn import Compaction, LateResult, Message, Step, StepToolCall, ToolResult, Turn

NO_ARGUMENTS = "{}"

Results = dict[int, ToolResult]


def assemble(
    turns: Sequence[Turn],
    dialect: Dialect,
    compaction: Compaction | None = None,
    policy: PromptPolicy = DEFAULT_POLICY,
    *,
    taken: frozenset[str] = frozenset(),
    is_end: bool = True,
) -> list[PromptEntry]:
    """What is sent next, in order. Between two steps there are always results of the first.

    `taken`: the call ids in what is sent before these turns. `is_end`: whether nothing is sent after them.
    """
    selected = list(select(turns, compaction, policy))
    if is_end:
        selected = selected[: sent_length(selected, policy)]
    if compaction is not None:
        selected = with_summary(selected, compaction)
    assembly = Assembly(dialect, policy, taken)
    for one in selected:
        assembly.add(one)
    return assembly.settled()


class Assembly:
    """Makes the entries of a prompt, one selected message or step after the other."""

    def __init__(self, dialect: Dialect, policy: PromptPolicy, taken: frozenset[str]) -> None:
        self.entries: list[PromptEntry] = []
        self._dialect = dialect
        self._policy = policy
        sent = dialect.thoughts.sent
        self._sends_reasoning = sent == "always" or (sent == "by_policy" and policy.reasoning == "send")
        self._sends_proofs = self._sends_reasoning if dialect.beside is None else bool(dialect.beside)
        self._taken = dict.fromkeys(taken)  # a set that keeps its order
        self._called: FunctionCall | None = None  # it waits for a function message
        self._function_said: FunctionCall | None = None  # the last one in the last entry
        self._beside: list[PromptStep] = []  # steps that are one message with the last entry

    def settled(self) -> list[PromptEntry]:
        """The entries, with the steps joined that are one message: all of them in one go."""
        if self._beside:
            last = self.entries[-1]
            assert isinstance(last, PromptStep)  # noqa: S101 nothing else has steps beside it
            self.entries[-1] = _joined([last, *self._beside])
            self._beside = []
        return self.entries

    def _append(self, entry: PromptEntry) -> None:
        entries = self.settled()
        last = entries[-1] if entries else None
        if isinstance(last, PromptStep) and last.paused:
            entries[-1] = replace(last, paused=False)  # something has followed: nobody goes on with it
        entries.append(entry)

    def add(self, selected: Selected) -> None:
        """Adds what comes next."""
        turn, entry = selected
        if isinstance(entry, Message):
            self._add_message(turn, entry)
        elif isinstance(entry, Step):
            self._add_step(turn, entry)
        elif isinstance(entry, LateResult):
            content = sendable(late_result_content(entry), "user")
            self._append(PromptMessage(turn, (entry.position,), "user", content))
        elif summary := sendable(entry.summary, "user"):
            self._append(PromptMessage(turn, (entry.position,), "user", summary, pinned=True))

    def _add_message(self, turn: int, message: Message) -> None:
        if message.role == "function":
            self._add_function(turn, message)
        elif content := sendable(message.content, message.role):
            name, pinned = message_name(message.name), message.is_pinned
            self._append(PromptMessage(turn, (message.position,), message.role, content, name, pinned))

    def _add_function(self, turn: int, message: Message) -> None:
        called, self._called = self._called, None
        name = self._dialect.tool_name(message.name or "")
        if called is None or called.name != name:
            return  # the result of no call
        content, last = _plain_text(message.content), self.settled()[-1]
        if self._dialect.has_functions:
            self.entries.append(PromptMessage(turn, (message.position,), "function", content, name))
        elif isinstance(last, PromptStep):
            answered = replace(last.calls[-1], result=content, positions=(*last.calls[-1].positions, message.position))
            self.entries[-1] = replace(last, calls=(*last.calls[:-1], answered))

    def _add_step(self, turn: int, step: Step) -> None:
        said = self._said(turn, step)
        is_said = said.content or said.refusal or said.calls or said.function_call
        if not (is_said or says_by_itself(said.parts, self._dialect.api)):
            return
        last = self._beside[-1] if self._beside else self.entries[-1] if self.entries else None
        if isinstance(last, PromptStep) and not last.calls:
            self._beside.append(said)
            self._function_said = said.function_call or self._function_said
        else:
            self._append(said)
            self._function_said = said.function_call
        self._called = self._function_said

    def _said(self, turn: int, step: Step) -> PromptStep:
        message, function = step.message, self._function(step)
        calls, answers, sent = self._calls(step)
        if function is not None and not self._dialect.has_functions:
            call_id = self._unique(f"call_{fingerprint(step.step_id, 'function')[:24]}", step, -1)
            call = PromptCall(call_id, function.name, function.arguments, NO_RESULT, False, (step.position,))
            answers.append(len(calls))
            calls.append(call)
        return PromptStep(
            turn=turn,
            positions=(step.position,),
            # Some providers stream an empty text beside calls, and others refuse it.
            content=sendable(spoken(message), "assistant") or None,
            refusal=unicode_json(message.refusal) or None,
            reasoning=unicode_json(message.reasoning) or "" if self._sends_reasoning else None,
            details=unicode_json(message.reasoning_details) if self._sends_reasoning else (),
            function_call=function,
            calls=tuple(calls),
            answers=tuple(answers),
            name=message_name(message.name),
            parts=own_parts(message, self._dialect.api, sent, with_proofs=self._sends_proofs),
            paused=step.is_paused,
        )

    def _calls(self, step: Step) -> tuple[list[PromptCall], list[int], dict[int, int]]:
        """The calls of a step that can be sent, their indexes in the order in which they were answered, and those by
        the index of the call in its step."""
        results = step.results()
        sent = [call for call in step.message.tool_calls if self._can_be_sent(step, call, results)]
        # One that was missing when the model went on keeps the place that it had then.
        came = (one for one in step.tool_results if not (one.was_missing and self._is_late(one)))
        order = {result.index: number for number, result in enumerate(came)}
        answers = sorted(range(len(sent)), key=lambda index: order.get(sent[index].index, len(order)))
        notes = CallNotes(step)
        calls = [self._call(step, call, results.get(call.index), notes) for call in sent]
        return calls, answers, {call.index: number for number, call in enumerate(sent)}

    def _can_be_sent(self, step: Step, call: StepToolCall, results: Results) -> bool:
        if not call.name:
            return False
        is_whole = call.custom or is_object(as_unicode(call.arguments))
        was_cut_off = call.cut_off or (step.status == "open" and not is_whole)
        is_closed = self._policy.unfinished_calls == "close" or call.index in results
        return is_closed or not was_cut_off

    def _call(self, step: Step, call: StepToolCall, result: ToolResult | None, notes: CallNotes) -> PromptCall:
        is_own = result is not None and result.origin is not None and api_of(result.origin) == self._dialect.api
        return PromptCall(
            id=self._unique(as_unicode(call.id), step, call.index),
            name=self._dialect.tool_name(call.name),
            arguments=input_arguments(call.arguments) if call.custom else _arguments(call.arguments),
            custom=as_unicode(call.arguments) if call.custom and self._takes_custom(step) else None,
            data=unicode_json(result.data) if result is not None and is_own else {},
            result=sendable(self._sent(call, result, notes), "tool") or "",
            is_error=result is not None and result.status == "error" and not self._is_late(result),
            positions=(step.position,) if result is None else (step.position, result.position),
        )

    def _takes_custom(self, step: Step) -> bool:
        return self._dialect.has_custom_tools and is_of(step.message, self._dialect.api)

    def _sent(self, call: StepToolCall, result: ToolResult | None, notes: CallNotes) -> Content:
        """What stands directly after the call: a late result stands further down."""
        if result is None:
            return notes.text_without_result(call.index)
        return result.sent if result.sent is not None and self._is_late(result) else result.content

    def _is_late(self, result: ToolResult) -> bool:
        return result.sent is not None and self._policy.late_results == "message"

    def _function(self, step: Step) -> FunctionCall | None:
        function = step.message.function_call
        if function is None or not function.name:
            return None
        if meaning_of(step.finish_reason) in CUT and not is_object(as_unicode(function.arguments)):
            return None
        return FunctionCall(name=self._dialect.tool_name(function.name), arguments=_arguments(function.arguments))

    def _unique(self, wanted: str, step: Step, index: int) -> str:
        is_legal = self._dialect.call_id.fullmatch(wanted) is not None and wanted not in self._taken
        chosen = wanted if is_legal else self._dialect.new_id(step.step_id, index)
        for again in count(1):
            if chosen not in self._taken:
                break
            chosen = self._dialect.new_id(step.step_id, index, again)  # short ids may meet
        self._taken[chosen] = None
        return chosen


def _arguments(arguments: str) -> str:
    text = with_whole_escapes(as_unicode(arguments))
    return text if is_object(text) else NO_ARGUMENTS


def _plain_text(content: Content | None) -> str:
    """The content of a function message, which is always text."""
    if content is None or isinstance(content, str):
        return as_unicode(content or "")
    return as_unicode("".join(part["text"] for part in content if isinstance(part.get("text"), str)))


def _joined(steps: Sequence[PromptStep]) -> PromptStep:
    functions = [step.function_call for step in steps if step.function_call is not None]
    has_parts = any(step.parts for step in steps)
    return replace(
        steps[-1],
        turn=steps[0].turn,
        positions=tuple(position for step in steps for position in step.positions),
        # Two halves of a character may meet.
        content=unicode_json(joined_contents(step.content for step in steps)),
        refusal=unicode_json(joined_texts(step.refusal for step in steps)),
        reasoning=joined_texts(step.reasoning for step in steps),
        details=tuple(detail for step in steps for detail in step.details),
        function_call=functions[-1] if functions else None,
        name=next((step.name for step in steps if step.name), None),
        parts=tuple(part for step in steps for part in (step.parts or plain_parts(step))) if has_parts else (),
    )
