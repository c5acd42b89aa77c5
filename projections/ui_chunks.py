"""A message of a user interface as it grows, in the chunks of the AI SDK's UI message stream (version 1).

A reader is told what differs between the message that it has and the message that there is. So one mapping makes whole
messages and streams, and a reader who comes back is told the message as it is, in as many chunks as it has parts.
What cannot be told as a change, such as an answer that is made again, begins the step anew (`reset-step`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from turnlog.domain.values import as_unicode, fingerprint
from turnlog.projections.prompt.parts import unicode_json
from turnlog.projections.ui_messages import UiMessage

Json = dict[str, Any]

_RANK = {"input-streaming": 0, "input-available": 1, "approval-requested": 2, "approval-responded": 3}
_LAST_RANK = 4
_LONG = ("text", "reasoning")


class _UntoldError(Exception):
    """A part is not what a reader has, with something more."""


@dataclass(slots=True)
class _Shown:
    """What a reader has of a part. `length` is that of its text or of the arguments that stream, but for half a
    character that is held back (`is_half`); the rest is known by its fingerprint."""

    kind: str
    state: str = ""
    length: int = 0
    is_half: bool = False
    marks: dict[str, str] = field(default_factory=dict)

    def has(self, name: str, value: Any) -> bool:
        """Whether the reader has this value already. From now on they have it."""
        mark = fingerprint(value)
        is_known = self.marks.get(name) == mark
        self.marks[name] = mark
        return is_known


class UiChunks:
    """What one reader has of one message. `message_id` is its id, None before its first chunk."""

    def __init__(self) -> None:
        self.message_id: str | None = None
        self._metadata: Json = {}
        self._steps: dict[str, list[_Shown]] = {}
        self._step: str | None = None
        self.grown: list[tuple[str, int]] = []
        """The parts whose text the latest update has made longer: their step and number."""

    def update(self, message: UiMessage) -> Iterator[Json]:
        """The chunks after which the reader has the message as it is here. Steps may be missing that the reader has,
        and that have not changed."""
        self.grown = []
        is_first = self.message_id is None
        if is_first:
            self.message_id = as_unicode(message.id)
            self._metadata = dict(message.metadata)
            yield {"type": "start", "messageId": self.message_id, "messageMetadata": unicode_json(message.metadata)}
        gone = self._step in message.replaced
        for step_id, parts in message.steps.items():
            if step_id not in self._steps:
                yield from self._begin_step(step_id, replaces=gone)
                gone = False
            yield from self._step_chunks(step_id, parts[1:])
        if gone:  # and nobody has begun it again
            yield from self._reset()
        if not is_first and message.steps:
            yield from self._metadata_chunks(message.metadata)

    def ended(self) -> Iterator[Json]:
        """The end of the step."""
        if self._step is not None:
            yield {"type": "finish-step"}

    def text_grown(self, step_id: str, number: int, text: str) -> Json | None:
        """The chunk of a text that goes on in the part with this number, without a look at the message. None where that
        has to be looked at: somewhere there is half a character."""
        shown = self._steps[step_id][number]
        if shown.is_half or not text or _is_half(text[0]) or _is_half(text[-1]):
            return None
        shown.length += len(text)
        name = self._name(step_id, number)
        if shown.kind in _LONG:
            return {"type": f"{shown.kind}-delta", "id": name, "delta": as_unicode(text)}
        return {"type": "tool-input-delta", "toolCallId": as_unicode(shown.kind), "inputTextDelta": as_unicode(text)}

    def _begin_step(self, step_id: str, *, replaces: bool) -> Iterator[Json]:
        if replaces:
            yield from self._reset()
        else:
            yield from self.ended()
            yield {"type": "start-step"}
        self._step = step_id
        self._steps[step_id] = []

    def _reset(self) -> Iterator[Json]:
        if self._step is not None and self._steps[self._step]:
            self._steps[self._step] = []
            yield {"type": "reset-step"}

    def _step_chunks(self, step_id: str, parts: list[Json]) -> Iterator[Json]:
        try:
            chunks = list(self._changes(step_id, parts))
        except _UntoldError:
            if step_id != self._step:
                return  # only the last step can be told again: whoever reads the message anew has it
            yield from self._reset()
            chunks = list(self._changes(step_id, parts))
        yield from chunks

    def _changes(self, step_id: str, parts: list[Json]) -> Iterator[Json]:
        shown = self._steps[step_id]
        if len(parts) < len(shown):
            raise _UntoldError
        for number, part in enumerate(parts):
            kind: str = part["toolCallId"] if "toolCallId" in part else part["type"]
            is_new = number == len(shown)
            if is_new:
                if step_id != self._step:
                    raise _UntoldError
                shown.append(_Shown(kind))
            known = shown[number]
            if known.kind != kind:
                raise _UntoldError
            if "toolCallId" in part:
                yield from self._call_chunks(step_id, number, known, part)
            elif kind in _LONG:
                yield from self._text_chunks(step_id, number, known, part)
            elif not known.has("part", part):
                if not is_new:
                    raise _UntoldError
                yield unicode_json(part)

    def _name(self, step_id: str, number: int) -> str:
        return f"{as_unicode(step_id)}.{number}"

    def _text_chunks(self, step_id: str, number: int, shown: _Shown, part: Json) -> Iterator[Json]:
        kind, name = shown.kind, self._name(step_id, number)
        told = {"providerMetadata": unicode_json(part["providerMetadata"])} if "providerMetadata" in part else {}
        text, is_done = part["text"], part["state"] == "done"
        is_said = shown.has("told", told)
        if not shown.state:
            is_said = True
            yield {"type": f"{kind}-start", "id": name, **told}
        elif shown.state == "done" and (not is_said or not is_done or len(text) != shown.length):
            raise _UntoldError
        if len(text) < shown.length or not (is_said or told):
            raise _UntoldError
        delta = self._rest(step_id, number, shown, text, is_done)
        if delta or not is_said:
            yield {"type": f"{kind}-delta", "id": name, "delta": delta, **({} if is_said else told)}
        if is_done and shown.state != "done":
            yield {"type": f"{kind}-end", "id": name}
        shown.state = part["state"]

    def _rest(self, step_id: str, number: int, shown: _Shown, text: str, is_done: bool) -> str:
        """What the reader has not of the text. Half a character is held back for as long as the other may come."""
        shown.is_half = not is_done and "\ud800" <= text[-1:] <= "\udbff"
        end = len(text) - shown.is_half
        rest = text[shown.length : end]
        shown.length = max(shown.length, end)
        if rest:
            self.grown.append((step_id, number))
        return as_unicode(rest)

    def _call_chunks(self, step_id: str, number: int, shown: _Shown, part: Json) -> Iterator[Json]:
        state, before = part["state"], shown.state
        if not shown.has("name", [part["type"], part.get("toolName")]) and before:
            raise _UntoldError
        shown.state = state
        if state == "input-streaming":
            yield from self._arguments_chunks(step_id, number, shown, part, is_new=not before)
            if before not in ("", state):
                raise _UntoldError
            return
        goes_back = _RANK.get(state, _LAST_RANK) < _RANK.get(before, _LAST_RANK)
        is_given = shown.has("input", part["input"])
        if not before or before == "input-streaming" or goes_back or not is_given:
            if before not in ("", "input-streaming") and step_id != self._step:
                raise _UntoldError
            shown.marks.pop("approval", None)
            shown.marks.pop("end", None)
            if state == "output-error" and "approval" not in part and before in ("", "input-streaming"):
                shown.has("end", _end_of(part))
                yield _given(part, "tool-input-error", errorText=part["errorText"])
                return
            yield _given(part, "tool-input-available")
        yield from _decision_chunks(shown, part)
        yield from _end_chunks(shown, part)

    def _arguments_chunks(
        self, step_id: str, number: int, shown: _Shown, part: Json, *, is_new: bool
    ) -> Iterator[Json]:
        if is_new:
            encoding = {"inputEncoding": part["inputEncoding"]} if "inputEncoding" in part else {}
            yield {"type": "tool-input-start", **_called(part), **encoding}
        if len(part["rawInput"]) < shown.length:
            raise _UntoldError
        if rest := self._rest(step_id, number, shown, part["rawInput"], is_done=False):
            call_id = as_unicode(part["toolCallId"])
            yield {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": rest}

    def _metadata_chunks(self, metadata: Json) -> Iterator[Json]:
        created = "createdAt"  # that of the message stays
        changed = {name: value for name, value in metadata.items() if self._metadata.get(name) != value}
        changed.pop(created, None)
        if changed:
            self._metadata |= changed
            yield {"type": "message-metadata", "messageMetadata": unicode_json(changed)}


def _is_half(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _called(part: Json) -> Json:
    """How chunks name a call."""
    is_dynamic = part["type"] == "dynamic-tool"
    name = part["toolName"] if is_dynamic else part["type"].removeprefix("tool-")
    said: Json = {"toolCallId": as_unicode(part["toolCallId"]), "toolName": as_unicode(name)}
    if part.get("providerExecuted"):
        said["providerExecuted"] = True
    return said | ({"dynamic": True} if is_dynamic else {})


def _given(part: Json, kind: str, **more: Any) -> Json:
    given: Json = unicode_json({"type": kind, **_called(part), "input": part["input"], **more})
    return given


def _decision_chunks(shown: _Shown, part: Json) -> Iterator[Json]:
    approval, call_id = part.get("approval"), as_unicode(part["toolCallId"])
    if approval is None:
        return
    is_asked = "approval" in shown.marks
    if shown.has("approval", approval):
        return
    if not is_asked:
        yield {"type": "tool-approval-request", "approvalId": approval["id"], "toolCallId": call_id}
    if "approved" in approval:
        reason = {"reason": as_unicode(approval["reason"])} if "reason" in approval else {}
        said = {"approvalId": approval["id"], "approved": approval["approved"], **reason}
        yield {"type": "tool-approval-response", **said}


def _end_of(part: Json) -> Json:
    return {name: part[name] for name in ("state", "output", "errorText", "preliminary") if name in part}


def _end_chunks(shown: _Shown, part: Json) -> Iterator[Json]:
    """What came of a call."""
    state, call = part["state"], {"toolCallId": as_unicode(part["toolCallId"])}
    if state in _RANK or shown.has("end", _end_of(part)):
        return
    executed = {"providerExecuted": True} if part.get("providerExecuted") else {}
    if state == "output-denied":
        yield {"type": "tool-output-denied", **call}
    elif state == "output-error":
        yield {"type": "tool-output-error", **call, "errorText": as_unicode(part["errorText"]), **executed}
    else:
        preliminary = {"preliminary": True} if part.get("preliminary") else {}
        output = unicode_json(part["output"])
        yield {"type": "tool-output-available", **call, "output": output, **executed, **preliminary}
