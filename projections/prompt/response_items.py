"""The items of a response that came from the Responses API: the same ones, in the same order.

Its rules (platform.openai.com/docs/guides/reasoning and .../function-calling, and the texts of its 400s): a reasoning
item stands in front of what it led to ('was provided without its required following item'), and goes back with its
encrypted content; the `phase` of a message goes back with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from turnlog.projections.prompt.entries import PromptCall, PromptPart, PromptStep
from turnlog.projections.prompt.own_parts import is_block

Item = dict[str, Any]


class OwnItem(NamedTuple):
    """An item of a step, and the call that it is. `is_said`: it is a message that was made of texts, and not an item
    that was kept as it came, which may have a role as well."""

    item: Item
    call: PromptCall | None = None
    is_said: bool = False


def is_message(item: Item) -> bool:
    """Whether an item is a message of the assistant that was made of texts."""
    return item["type"] == "message" and item["role"] == "assistant" and isinstance(item["content"], str)


def own_items(step: PromptStep) -> list[OwnItem]:
    """The items of a step that has parts of this API; none if there is only reasoning in them."""
    items = list[OwnItem]()
    for part in step.parts:
        if part.kind in ("text", "refusal"):
            if part.text:
                _add_text(items, part)
        elif part.kind == "reasoning":
            items += [OwnItem(item)] if (item := reasoning_item(part.data)) is not None else []
        elif part.call is not None:
            call = step.calls[part.call]
            item = function_call(call) if call.custom is None else custom_call(call)
            items.append(OwnItem({**item, **_beside(part)}, call))
        elif is_block(part):
            items.append(OwnItem(part.data))
    items = _with_outputs(items)
    while items and items[-1].item["type"] == "reasoning":
        items.pop()
    return _calls_last(items)


_OF_THE_CLIENT = ("computer_call", "local_shell_call", "shell_call", "apply_patch_call")
"""Calls of the provider's tools that somebody else runs: each wants its output ('No tool output found for ...'), which
is an item of its own."""


def _with_outputs(items: list[OwnItem]) -> list[OwnItem]:
    """The items without calls of the provider's tools that nobody has answered, and without outputs of no call."""
    called = {_call_id(one.item) for one in items if one.item["type"] in _OF_THE_CLIENT}
    answered = {_call_id(one.item) for one in items if one.item["type"] in _OUTPUTS}
    return [
        one
        for one in items
        if one.item["type"] not in (*_OF_THE_CLIENT, *_OUTPUTS) or _call_id(one.item) in called & answered
    ]


_OUTPUTS = tuple(f"{kind}_output" for kind in _OF_THE_CLIENT)


def _call_id(item: Item) -> Any:
    call_id = item.get("call_id", item.get("id"))  # the output of a local shell has the id of its call there
    return call_id if isinstance(call_id, str) else None


def _calls_last(items: list[OwnItem]) -> list[OwnItem]:
    """The items, with the calls behind all else, each with the reasoning that led to it: their outputs follow."""
    others, calls, thoughts = list[OwnItem](), list[OwnItem](), list[OwnItem]()
    for one in items:
        if one.item["type"] == "reasoning":
            thoughts.append(one)
            continue
        (others if one.call is None else calls).extend((*thoughts, one))
        thoughts = []
    return others + calls


def _add_text(items: list[OwnItem], part: PromptPart) -> None:
    """Adds a text: to the message before it, since two messages of one side never follow each other. A model that says
    in which phase it speaks says so last."""
    if items and items[-1].is_said:
        last = items[-1].item
        last["content"] += part.text
    else:
        last = {"type": "message", "role": "assistant", "content": part.text}
        items.append(OwnItem(last, is_said=True))
    of_item = part.data.get("item")
    phase = of_item.get("phase") if isinstance(of_item, dict) else None
    if isinstance(phase, str):
        last["phase"] = phase


def _beside(part: PromptPart) -> Item:
    """What a call has beside its name and its arguments: where its tool is, and who made it, if that was a program."""
    return {name: part.data[name] for name in ("namespace", "caller") if part.data.get(name)}


def function_call(call: PromptCall) -> Item:
    """The item of a call."""
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def custom_call(call: PromptCall) -> Item:
    """The item of a call of a custom tool."""
    return {"type": "custom_tool_call", "call_id": call.id, "name": call.name, "input": call.custom or ""}


def reasoning_item(data: Item) -> Item | None:
    """The reasoning item as it goes back; None for one without an id or without encrypted content."""
    proofs = data.get("id"), data.get("encrypted_content")
    if data.get("type") != "reasoning" or not all(isinstance(proof, str) and proof for proof in proofs):
        return None
    summary = [part for part in _listed(data.get("summary")) if _is_summary(part)]
    return {"type": "reasoning", "id": proofs[0], "summary": summary, "encrypted_content": proofs[1]}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_summary(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "summary_text" and isinstance(part.get("text"), str)
