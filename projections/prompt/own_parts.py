"""The parts of an assistant message that go back to the API that they came from, as they came and in their place.

What an API said of a part beside its text, and parts that are neither text nor calls, mean nothing to another API: they
are left out of its prompts. What was said in audio is sent as text: the id of audio is gone after an hour or so, and a
prompt does not know how late it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from turnlog.domain.events import Content
from turnlog.domain.parts import OF_A_STREAM, PartApi
from turnlog.domain.values import JsonObject, as_unicode
from turnlog.projections.parts import SAYING
from turnlog.projections.prompt.entries import PromptPart, PromptStep
from turnlog.projections.prompt.parts import unicode_json
from turnlog.projections.step import StepMessage


def is_of(message: StepMessage, api: PartApi) -> bool:
    """Whether the message came from this API. Of one that says nothing of where it came from it is the first."""
    apis = {mark.api for mark in message.layout} - {None}
    return api in apis or (api == "chat" and not apis)


def own_parts(
    message: StepMessage, api: PartApi, sent: Mapping[int, int], *, with_proofs: bool
) -> tuple[PromptPart, ...]:
    """The parts of the message in order; none if nothing in it came from this API. `sent` has the calls that are sent,
    by their index in the step. `with_proofs`: with what stands beside a call, such as the signature of a thought."""
    if all(mark.api != api for mark in message.layout):
        return ()
    return tuple(
        PromptPart(
            part.kind,
            None if part.text is None else as_unicode(part.text),
            None if part.call is None else sent[part.call],
            unicode_json(_of_block(part.data)) if part.api == api and (with_proofs or part.call is None) else {},
        )
        for part in message.parts
        if part.call is None or part.call in sent
    )


def _of_block(data: JsonObject) -> JsonObject:
    return {name: value for name, value in data.items() if name not in OF_A_STREAM}


def plain_parts(step: PromptStep) -> Iterator[PromptPart]:
    """The parts of a step that has no own ones, beside one that has."""
    if step.content:
        text = step.content if isinstance(step.content, str) else "".join(_texts(step.content))
        yield PromptPart("text", text, None, {})
    if step.refusal:
        yield PromptPart("refusal", step.refusal, None, {})
    for number, _ in enumerate(step.calls):
        yield PromptPart("tool_call", None, number, {})


def _texts(content: Content) -> Iterator[str]:
    return (str(part.get("text", part.get("refusal", ""))) for part in content if isinstance(part, dict))


def says_by_itself(parts: Iterable[PromptPart], api: PartApi) -> bool:
    """Whether there is an answer among the parts that stands in no other field, and goes back to this API."""
    if api == "chat":
        return any(audio_id(part) for part in parts)
    return any(part.kind in SAYING or is_block(part) for part in parts if part.data)


def is_block(part: PromptPart) -> bool:
    """Whether the data of a part is a block or an item of its API, and not something beside those."""
    return isinstance(part.data.get("type"), str)


def audio_id(part: PromptPart) -> str | None:
    """The id under which a provider has the audio, if the part is audio."""
    found = part.data.get("id") if part.kind == "audio" else None
    return found if isinstance(found, str) else None


def spoken(message: StepMessage) -> Content | None:
    """The content of the message, or what was said in its audio."""
    if message.content or not message.layout:
        return message.content
    said = (mark.data.get("transcript") for mark in message.layout if mark.kind == "audio")
    return "".join(text for text in said if isinstance(text, str)) or message.content


def input_arguments(text: str) -> str:
    """The input of a custom tool as the arguments of a function."""
    return json.dumps({"input": as_unicode(text)}, ensure_ascii=False, separators=(",", ":"))
