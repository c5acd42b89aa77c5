"""What one message of another library says, block by block, until it is read as messages of Anthropic's API are: these
have blocks in order, with results of any kind."""

from __future__ import annotations

import json
from typing import Any

from turnlog.domain.foreign.blocks import are_blocks
from turnlog.domain.foreign.findings import Findings
from turnlog.domain.foreign.messages import read_blocks, read_message
from turnlog.domain.foreign.values import ForeignResult, Parts

ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
"""What roles of libraries mean."""


class Said:
    """Collects what is said in this role. A text after results begins the next message; `end` reads what is left."""

    def __init__(self, found: Findings, role: str) -> None:
        self._found = found
        self._role = role
        self._blocks: list[dict[str, Any]] = []
        self._thoughts: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._results: list[ForeignResult] = []
        self._called: set[str] = set()

    def text(self, text: Any) -> None:
        """A text. Anything else is a flaw, and an empty one nothing."""
        text = self._found.text(text, "a text")
        if text:
            self.go_on()
            self._blocks.append({"type": "text", "text": text})

    def thought(self, text: Any, signature: Any = None) -> None:
        """Thoughts. Those with a signature of Anthropic go back to it."""
        text = self._found.text(text, "a thought") or ""
        self.go_on()
        if text and isinstance(signature, str) and signature:
            self._blocks.append({"type": "thinking", "thinking": text, "signature": signature})
        elif text:
            self._thoughts.append(text)

    def detail(self, detail: dict[str, Any]) -> None:
        """A reasoning item or block, verbatim, for the API that it came from."""
        self._details.append(detail)

    def part(self, part: dict[str, Any] | None, what: str = "part") -> None:
        """An image, a file, or any other block of an API. None is one that cannot be read."""
        self.go_on()
        if part is None:
            self._found.flaw("bad_content_block", f"a {what} cannot be read")
            if self._role != "assistant":  # it would imitate the note
                self._blocks.append({"type": "text", "text": f"({what} left out: it is not in the export)"})
        else:
            self._blocks.append(part)

    def call(self, call_id: Any, name: Any, arguments: Any, **more: Any) -> None:
        """A tool call; a second one of the same id in a message is the same."""
        if isinstance(call_id, str) and call_id:
            if call_id in self._called:
                return
            self._called.add(call_id)
        given = {} if arguments is None or arguments == "" else arguments
        self._blocks.append({"type": "tool_use", "id": call_id, "name": name, "input": given, **more})

    def result(self, call_id: Any, content: Any, *, is_error: bool = False, name: Any = None) -> None:
        """The result of a call of this message, or of an earlier one."""
        call_id = self._found.text(call_id, "the id of a call") or ""
        named = name if isinstance(name, str) and name else None
        self._results.append(ForeignResult(call_id, result_content(self._found, content), is_error, named))

    @property
    def has_only_results(self) -> bool:
        """Whether there are results, and nothing is said beside them."""
        return bool(self._results) and not self._blocks

    def step(self) -> None:
        """What was said until now is a message of its own."""
        if self._blocks or self._thoughts or self._details:
            message = {"role": self._role, "content": self._blocks, "reasoning_content": "".join(self._thoughts)}
            self._found.take("anthropic", read_message, {**message, "reasoning_details": self._details})
        self._found.items += self._results
        self._blocks, self._thoughts, self._details, self._results = [], [], [], []

    def end(self) -> None:
        """The message is whole. One that says nothing at all is a message, too."""
        if not (self._blocks or self._results or self._found.items):
            self._found.take("anthropic", read_message, {"role": self._role, "content": []})
        self.step()

    def go_on(self) -> None:
        """What comes now is said after the results that there are."""
        if self._results:
            self.step()


def result_content(found: Findings, value: Any) -> str | Parts:
    """What a tool has returned: a text, content blocks, or JSON, which becomes text."""
    if value is None or isinstance(value, str):
        return value or ""
    if are_blocks(value):
        return found.take("anthropic", lambda inner, _: read_blocks(inner, "tool", value).content(), {}) or ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
