"""The prompt for Anthropic's Messages API.

Its rules (docs.anthropic.com/en/api/messages and .../tool-use, and the texts of its 400s): roles alternate; each
tool_use is answered in the next message, in which results come first; text blocks are not blank; thinking comes first
in its message and goes back unchanged, with its signature; system text is not a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from turnlog.domain.events import Content
from turnlog.domain.foreign import OWN_PARTS
from turnlog.projections.placeholders import OPENING
from turnlog.projections.prompt.anthropic_blocks import Block, marks_of, own_blocks, tool_use
from turnlog.projections.prompt.entries import Positions, PromptCall, PromptEntry, PromptStep, Rendered, last_spoken
from turnlog.projections.prompt.parts import data_url, in_common, left_out, own_block

_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

_MARKS_AT_MOST = 4
"""'A maximum of 4 blocks with cache_control may be provided'"""


def render_anthropic(entries: Iterable[PromptEntry], rendered: list[Rendered] | None = None) -> list[Rendered]:
    """The entries as messages, after those that are given. System text is in messages of the role system."""
    rendering = _Rendering([] if rendered is None else rendered)
    for entry in entries:
        if isinstance(entry, PromptStep):
            rendering.add("assistant", _step_blocks(entry), entry.turn, entry.positions)
            _add_results(rendering, entry)
        elif entry.role in ("system", "developer"):
            content = entry.content if isinstance(entry.content, str) else tuple(map(in_common, entry.content))
            blocks = [block for block in _blocks(content) if block["type"] == "text"]
            rendering.add_system(Rendered({"role": "system", "content": blocks}, entry.turn, entry.positions))
        else:
            rendering.add("user", _blocks(entry.content), entry.turn, entry.positions)
    rendering.settle()
    return rendering.rendered


class _Rendering:
    """Makes messages. Blocks of one role that follow each other are one message: it is made when the next one begins,
    in one go, because the results of a step may be thousands."""

    def __init__(self, rendered: list[Rendered]) -> None:
        self.rendered = rendered
        self._last = last_spoken(rendered)
        self._blocks: list[Block] = []  # what comes after the last message, and belongs to it
        self._positions: list[int] = []

    def add(self, role: str, blocks: list[Block], turn: int, positions: Positions) -> None:
        if not blocks:
            return
        if self._last is not None and self.rendered[self._last].message["role"] == role:
            self._blocks += [block for block in blocks if "thinking" not in block["type"]]
            self._positions += positions
            return
        self.settle()
        if self._last is None and role == "assistant":
            opening = {"role": "user", "content": [{"type": "text", "text": OPENING}]}
            self.rendered.append(Rendered(opening, turn, ()))
        self._last = len(self.rendered)
        self.rendered.append(Rendered({"role": role, "content": blocks}, turn, positions))

    def add_system(self, message: Rendered) -> None:
        self.rendered.append(message)

    def settle(self) -> None:
        """Puts what belongs to the last message into it. That becomes another message: somebody may have kept it."""
        if self._last is None or not (self._blocks or self._positions):
            return
        role, last = self.rendered[self._last].message["role"], self.rendered[self._last]
        message = {"role": role, "content": last.message["content"] + self._blocks}
        positions = tuple(dict.fromkeys((*last.positions, *self._positions)))
        self.rendered[self._last] = Rendered(message, last.turn, positions)
        self._blocks, self._positions = [], []


def _add_results(rendering: _Rendering, step: PromptStep) -> None:
    after = list[tuple[Block, Positions]]()
    for call in step.answered_calls():
        block, pictures = _result(call)
        rendering.add("user", [block], step.turn, call.positions)
        after += [(picture, call.positions) for picture in pictures]
    for picture, positions in after:
        rendering.add("user", [picture], step.turn, positions)


def anthropic_prompt(rendered: Sequence[Rendered]) -> dict[str, Any]:
    """The prompt: `system`, the empty text if there is none, and the other `messages`."""
    system = [block for one in rendered if one.message["role"] == "system" for block in one.message["content"]]
    messages = [one.message for one in rendered if one.message["role"] != "system"]
    system, *contents = _with_few_marks([system, *(message["content"] for message in messages)])
    messages = [{**message, "content": content} for message, content in zip(messages, contents, strict=True)]
    plain = all(set(block) == {"type", "text"} for block in system)
    return {"system": "\n\n".join(block["text"] for block in system) if plain else system, "messages": messages}


def _step_blocks(step: PromptStep) -> list[Block]:
    if step.parts:
        return own_blocks(step)
    said = _blocks(step.content) + _blocks(step.refusal) + list(map(tool_use, step.calls))
    return [*_thinking(step), *said] if said else []


def _thinking(step: PromptStep) -> list[Block]:
    blocks = (_thinking_block(detail, step.reasoning or "") for detail in step.details)
    return [block for block in blocks if block is not None]


def _thinking_block(detail: Block, reasoning: str) -> Block | None:
    kind, signature = detail.get("type"), detail.get("signature")
    is_own = str(detail.get("format", "")).startswith("anthropic")
    if kind == "redacted_thinking" or (kind == "reasoning.encrypted" and is_own):
        data = detail.get("data")
        return {"type": "redacted_thinking", "data": data} if isinstance(data, str) and data else None
    text = detail.get("thinking") if kind == "thinking" else (detail.get("text") or reasoning) if is_own else None
    if not (isinstance(text, str) and text and isinstance(signature, str) and signature):
        return None
    return {"type": "thinking", "thinking": text, "signature": signature}


def _result(call: PromptCall) -> tuple[Block, list[Block]]:
    """The result of a call, and the blocks that must come after all results."""
    block: Block = {"type": "tool_result", "tool_use_id": call.id, "content": call.result, **marks_of(call.data)}
    pictures = list[Block]()
    if not isinstance(call.result, str):
        # 'cache_control may not be specified within `tool_result.content`'
        parts = list(map(_without_mark, _blocks(call.result)))
        # 'all content must be type "text" if "is_error" is true'
        pictures = [part for part in parts if part["type"] != "text"] if call.is_error else []
        block["content"] = ([part for part in parts if part["type"] == "text"] if call.is_error else parts) or ""
    return {**block, "is_error": True} if call.is_error else block, pictures


def _with_few_marks(contents: Iterable[list[Block]]) -> Iterator[list[Block]]:
    """The contents with only the first marks of cached prefixes: so what was sent before stays as it was."""
    left = _MARKS_AT_MOST
    for content in contents:
        marked = [index for index, block in enumerate(content) if "cache_control" in block]
        surplus = set(marked[left:])
        left -= len(marked) - len(surplus)
        if surplus:
            yield [_without_mark(block) if index in surplus else block for index, block in enumerate(content)]
        else:
            yield content


def _without_mark(block: Block) -> Block:
    return {key: value for key, value in block.items() if key != "cache_control"}


def _blocks(content: Content | None) -> list[Block]:
    if not content:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    return [block for part in content if (block := _block(part)) is not None]


def _block(part: Block) -> Block | None:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        text = part[str(kind)]
        return {"type": "text", "text": text, **marks_of(part)} if text.strip() else None
    if kind == "image_url":
        return _image(part)
    if kind in OWN_PARTS and kind != "input_image":
        return part
    if (block := own_block(part, "anthropic")) is not None:
        return block
    return _document(part) if kind == "file" else left_out(part)


def _image(part: Block) -> Block:
    image = part["image_url"]
    url = image.get("url") if isinstance(image, dict) else image
    found = data_url(url)
    if found is not None and found[0] in _IMAGES:
        return {"type": "image", "source": {"type": "base64", "media_type": found[0], "data": found[1]}}
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    return left_out(part)


def _document(part: Block) -> Block:
    file = part["file"]
    found, url = data_url(file.get("file_data")), file.get("file_url")
    if found is not None and found[0] == "application/pdf":
        source = {"type": "base64", "media_type": "application/pdf", "data": found[1]}
    elif isinstance(url, str) and url.startswith(("https://", "http://")):
        source = {"type": "url", "url": url}
    else:
        return left_out(part)
    title = file.get("filename")
    block: Block = {"type": "document", "source": source}
    return {**block, "title": title} if isinstance(title, str) and title else block
