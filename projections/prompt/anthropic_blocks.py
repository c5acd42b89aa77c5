"""The blocks of an assistant message that came from Anthropic's API: the same ones, in the same order.

Its rules (docs.anthropic.com/en/docs/build-with-claude/extended-thinking and .../tool-use, and the texts of its 400s):
thinking goes back unchanged, with its signature, and never ends a message; a tool of the server's has its result in the
same message, unless the response was paused; what is called by us stands behind what is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from turnlog.projections.arguments import object_of
from turnlog.projections.prompt.entries import PromptCall, PromptPart, PromptStep
from turnlog.projections.prompt.own_parts import is_block

Block = dict[str, Any]


def own_blocks(step: PromptStep) -> list[Block]:
    """The blocks of a step that has parts of this API; none if nothing is said in them."""
    blocks = list(_thinking_first(block for part in step.parts for block in _block(step, part)))
    blocks = _calls_last(blocks if step.paused else _with_results(blocks))
    while blocks and "thinking" in blocks[-1]["type"]:
        blocks.pop()
    return blocks


def _thinking_first(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks, without thinking that comes first behind a text or a call, as where answers were joined: 'Expected
    `thinking` or `redacted_thinking`, but found `text`'. After a tool of the server's the model thinks again."""
    has_thought = has_spoken = False
    for block in blocks:
        if "thinking" in block["type"]:
            if has_spoken and not has_thought:
                continue
            has_thought = True
        elif _is_server_call(block):
            has_thought = True
        else:
            has_spoken = True
        yield block


def _block(step: PromptStep, part: PromptPart) -> Iterator[Block]:
    data, text = part.data, part.text or ""
    if part.call is not None:
        yield {**tool_use(step.calls[part.call]), **_of_call(data)}
    elif part.kind in ("text", "refusal"):
        if text.strip():
            yield {"type": "text", "text": text, **marks_of(data)}
    elif part.kind == "reasoning":
        if data.get("type") == "redacted_thinking" and _is_filled(data.get("data")):
            yield data
        # Where thinking is not displayed, its text is empty, and the signature has it.
        elif (text or data.get("type") == "thinking") and _is_filled(data.get("signature")):
            yield {"type": "thinking", "thinking": text, "signature": data["signature"]}
    elif is_block(part):
        yield data


def tool_use(call: PromptCall) -> Block:
    """The block of a call."""
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": object_of(call.arguments)}


def marks_of(data: Block) -> Block:
    """The fields that a block of text may have beside its text: 'Extra inputs are not permitted'."""
    mark, citations = data.get("cache_control"), data.get("citations")
    marks = {"cache_control": mark} if isinstance(mark, dict) and mark.get("type") == "ephemeral" else {}
    return {**marks, "citations": citations} if isinstance(citations, list) and citations else marks


_BESIDE_A_CALL = ("caller", "toolset_name", "cache_control")


def _of_call(data: Block) -> Block:
    """What a call of the API has beside its name and its input: who made it, if that was a program."""
    return {key: value for key, value in data.items() if key in _BESIDE_A_CALL and value is not None}


def _with_results(blocks: list[Block]) -> list[Block]:
    """The blocks without the server's calls that have no result, and without results of no call: 'tool use with id ...
    was found without a corresponding tool_result block'."""
    called = {block["id"] for block in blocks if _is_server_call(block)}
    answered = {block.get("tool_use_id") for block in blocks if "tool_use_id" in block}
    return [
        block
        for block in blocks
        if (block["id"] in answered if _is_server_call(block) else block.get("tool_use_id", None) in {None, *called})
    ]


def _is_server_call(block: Block) -> bool:
    kind = block["type"]
    return kind != "tool_use" and kind.endswith("_tool_use") and isinstance(block.get("id"), str)


def _calls_last(blocks: list[Block]) -> list[Block]:
    """The blocks, with the calls behind all else, as the API sends them: the message that follows answers them."""
    return sorted(blocks, key=lambda block: block["type"] == "tool_use")


def _is_filled(value: Any) -> bool:
    return isinstance(value, str) and value != ""
