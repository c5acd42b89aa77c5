"""The prompt for the Chat Completions API.

Its rules are those whose breach the API answers with a 400: an assistant message with tool_calls is directly followed
by one tool message for each call, a tool message follows such a message, and tool_calls is not an empty list.
(platform.openai.com/docs/guides/function-calling) Those of the providers that resemble it are in `dialects.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from turnlog.projections.messages import tool_call, tool_message
from turnlog.projections.prompt.chat_content import as_parts, media_of, rendered_content, with_refusal
from turnlog.projections.prompt.chat_order import add
from turnlog.projections.prompt.dialect import CHAT, Dialect
from turnlog.projections.prompt.entries import PromptCall, PromptEntry, PromptMessage, PromptStep, Rendered
from turnlog.projections.prompt.own_parts import audio_id

Json = dict[str, Any]


def render_chat(
    entries: Iterable[PromptEntry],
    rendered: list[Rendered] | None = None,
    *,
    dialect: Dialect = CHAT,
    shows_media: bool = False,
) -> list[Rendered]:
    """The entries as messages, after those that are given. `shows_media`: what is no text in a result goes into a
    user's message behind the results."""
    rendered = [] if rendered is None else rendered
    for entry in entries:
        if isinstance(entry, PromptMessage):
            add(rendered, Rendered(_plain(entry, dialect), entry.turn, entry.positions), dialect)
        else:
            for message in _step(entry, dialect, shows_media):
                add(rendered, message, dialect)
    return rendered


def with_mark(rendered: Sequence[Rendered], dialect: Dialect) -> list[Json]:
    """The messages, of which the last one, if it is an answer in text, is marked as one to go on with."""
    messages = [one.message for one in rendered]
    if dialect.chat.continued and messages and messages[-1]["role"] == "assistant" and "tool_calls" not in messages[-1]:
        messages[-1] = {**messages[-1], **dialect.chat.continued}
    return messages


def _plain(entry: PromptMessage, dialect: Dialect) -> Json:
    role = entry.role
    if role == "developer" and not dialect.chat.has_developer:
        role = "system"
    plain: Json = {"role": role, "content": rendered_content(entry.content, role, dialect.chat)}
    return plain if entry.name is None or role not in dialect.chat.named else {**plain, "name": entry.name}


def _step(step: PromptStep, dialect: Dialect, shows_media: bool) -> Iterator[Rendered]:
    answers = list(step.answered_calls())
    shown = media_of(answers, dialect.chat) if shows_media else []
    if dialect.chat.calls_together or len(answers) < 2:
        yield from _said(step, step.calls, answers, dialect, bool(shown))
    else:
        for number, call in enumerate(answers):
            yield from _said(step, [call], [call], dialect, bool(shown), is_first=number == 0)
    if shown:
        positions = tuple(dict.fromkeys(position for call in answers for position in call.positions))
        yield Rendered({"role": "user", "content": shown}, step.turn, positions)


def _said(
    step: PromptStep,
    calls: Sequence[PromptCall],
    answers: Sequence[PromptCall],
    dialect: Dialect,
    is_shown: bool,
    *,
    is_first: bool = True,
) -> Iterator[Rendered]:
    """The assistant's message with these calls, and their results. What was said stands in the first of several."""
    assistant = _assistant(step, calls, dialect, is_first)
    if any(assistant.get(field) for field in _SAYING):
        yield Rendered(assistant, step.turn, step.positions)
    for call in answers:
        content = rendered_content(call.result, "tool", dialect.chat, is_shown=is_shown)
        yield Rendered(tool_message(call.id, content), step.turn, call.positions)


_SAYING = ("content", "refusal", "function_call", "tool_calls", "audio")


def _assistant(step: PromptStep, calls: Sequence[PromptCall], dialect: Dialect, is_first: bool) -> Json:
    rules, content = dialect.chat, rendered_content(step.content, "assistant", dialect.chat) if is_first else None
    refusal = step.refusal if is_first else None
    if refusal and not rules.has_refusals:
        content, refusal = with_refusal(content, refusal), None
    text = _thought(step, dialect, bool(calls), is_first)
    if text and dialect.thoughts.field == "content":
        content = [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}, *as_parts(content)]
    elif content is None and calls and not rules.null_content:
        content = ""
    fields = {
        "name": step.name if "assistant" in rules.named else None,
        "refusal": refusal,
        dialect.thoughts.field: text if dialect.thoughts.field != "content" else None,
        "function_call": dict(step.function_call) if step.function_call and dialect.has_functions else None,
        "tool_calls": _calls(step, calls, dialect) or None,
        "reasoning_details": _details(step, dialect) or None if is_first else None,
        "audio": _audio(step, dialect),
        **(_beside(step, dialect) if is_first else {}),
    }
    return {"role": "assistant", "content": content, **{key: one for key, one in fields.items() if one is not None}}


def _thought(step: PromptStep, dialect: Dialect, has_calls: bool, is_first: bool) -> str | None:
    """What was thought; the empty text where a message has the field nevertheless."""
    if step.reasoning is None:
        return None  # nothing of it is sent
    thoughts, text = dialect.thoughts, step.reasoning if is_first else ""
    if thoughts.details == "instead" and _details(step, dialect):
        text = ""
    is_filled = thoughts.fill == "all" or (thoughts.fill == "with_calls" and has_calls)
    return text if text or is_filled else None


def _details(step: PromptStep, dialect: Dialect) -> list[Json]:
    if dialect.thoughts.details == "none":
        return []
    return [detail for detail in step.details if str(detail.get("type")).startswith("reasoning.")]


def _beside(step: PromptStep, dialect: Dialect) -> Json:
    """What stood beside the text of the message and goes back: the signature of a thought, for one."""
    unread = [part.data for part in step.parts if part.kind == "opaque"]
    return {field: data[field] for data in unread for field in dialect.beside or () if field in data}


def _audio(step: PromptStep, dialect: Dialect) -> Json | None:
    audio = next((found for part in step.parts if (found := audio_id(part))), None) if dialect.chat.has_audio else None
    # Else nobody has written down what was said.
    return None if audio is None or step.content or step.calls else {"id": audio}


def _calls(step: PromptStep, calls: Sequence[PromptCall], dialect: Dialect) -> list[Json]:
    beside = {part.call: part.data for part in step.parts if part.call is not None}
    places = {id(call): index for index, call in enumerate(step.calls)}
    made = [_call(call, beside.get(places[id(call)], {}), dialect) for call in calls]
    if made:
        made[0] |= {field: value for field, value in dialect.chat.unsigned.items() if field not in made[0]}
    return made


def _call(call: PromptCall, beside: Json, dialect: Dialect) -> Json:
    if call.custom is not None:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.custom}}
    if dialect.beside is not None:
        beside = {field: beside[field] for field in dialect.beside if field in beside}
    return {**tool_call(call.id, call.name, call.arguments), **beside}
