"""The tool calls of a Chat Completions stream: which call a fragment belongs to, and what is said beside a call.

A fragment belongs to the call of its index, or without an index to that of its id, or else to the last one. It begins
another call if it has a name and

* another id than that call (Mistral, and relays; LM Studio changes the id without a name, and means the same call), or
* the arguments before it are whole, and it is no repetition of them (Gemini sends parallel calls with index 0 and no
  ids).

What is repeated goes to the same call: the log has it as it came, and the fold finds out which arguments count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from turnlog.domain.limits import PIECE_LENGTH
from turnlog.domain.step_appends import AppendToolCall
from turnlog.infrastructure.append.chunks.fields import (
    Fields,
    arguments_of,
    fields_of,
    items_of,
    pieces_of,
    plain_object,
    text_of,
)
from turnlog.infrastructure.append.chunks.json_scan import JsonScan
from turnlog.infrastructure.append.chunks.reader import Sized, StreamReader

SERVER_IDS = ("srvtoolu_", "mcptoolu_")
"""How the ids of calls begin that Anthropic has run itself: its own tools, and those of an MCP server. Relays pass such
calls on among the others (LiteLLM)."""
SERVER_MARKS = ("provider_executed", "providerExecuted", "server_executed")
"""Fields by which relays say that the provider has run a call (the AI SDK, and what is made like it)."""
OWN_TYPES = (None, "", "function", "custom", "builtin_function")
"""The types of calls that the caller has to run. Moonshot's `builtin_function` wants its arguments back as a result."""

_READ = frozenset({"index", "id", "function", "custom"})
_USUAL = _READ | {"type"}
_USUAL_TYPES = (None, "", "function", "custom")
_READ_INSIDE = frozenset({"name", "arguments", "input"})


class ChatCalls:
    """The calls of one stream, numbered 0, 1, 2 in the order in which they appear; those of the provider's own tools
    are parts, and not numbered."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._last: _Call | None = None
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int | str, _Call] = {}
        self._count = 0

    @property
    def are_there(self) -> bool:
        """Whether there is any call."""
        return self._last is not None

    def read(self, entry: Fields) -> Iterator[Sized]:
        """The commands for an entry of `tool_calls`."""
        fragment = _Fragment(entry)
        call = self._call_of(fragment)
        if call is None:
            call = self._open(fragment)
        self._place(call, fragment)
        if call.is_servers:
            yield from self._server_call(call, fragment)
            return
        first, *rest = pieces_of(fragment.arguments) or ("",)
        command = AppendToolCall(
            self._reader.now(), self._reader.step_id, call.index, fragment.id, fragment.name, first, fragment.is_custom
        )
        yield command, len(fragment.id) + len(fragment.name) + len(first)
        for piece in rest:
            yield AppendToolCall(command.at, command.step_id, call.index, arguments=piece), len(piece)
        if fragment.beside:
            yield from self._beside(call, fragment)

    def more(self, entry: Any) -> AppendToolCall | None:
        """The command for an entry that goes on with the arguments of a call and says nothing else, as nearly all do.
        None for any other: nothing is taken of it."""
        call = self._by_index.get(entry.get("index"))
        inner = fields_of(entry.get("function"))
        arguments = inner.get("arguments")
        if call is None or call.is_servers or call.named_again or not isinstance(arguments, str):
            return None
        if entry.get("id") or inner.get("name") or not 0 < len(arguments) <= PIECE_LENGTH:
            return None
        if not (entry.keys() <= _USUAL and inner.keys() <= _READ_INSIDE and entry.get("type") in _USUAL_TYPES):
            return None
        if entry.get("custom"):
            return None
        self._last = call
        call.go_on(arguments)
        return AppendToolCall(self._reader.now(), self._reader.step_id, call.index, arguments=arguments)

    def _call_of(self, fragment: _Fragment) -> _Call | None:
        """The call that the fragment goes on with; None if it begins another one."""
        if fragment.index is not None:
            known = self._by_index.get(fragment.index)
        else:
            known = self._by_id.get(fragment.id) if fragment.id else self._last
        if known is None or not (known.named_again or fragment.name):
            return known
        return None if known.is_followed_by(fragment) else known

    def _open(self, fragment: _Fragment) -> _Call:
        call = _Call(self._count, fragment.is_servers, fragment.is_custom)
        self._count += not fragment.is_servers
        return call

    def _place(self, call: _Call, fragment: _Fragment) -> None:
        self._last = call
        call.add(fragment)
        if fragment.id and call.id == fragment.id:
            self._by_id[fragment.id] = call
        if fragment.index is not None:
            self._by_index[fragment.index] = call

    def _server_call(self, call: _Call, fragment: _Fragment) -> Iterator[Sized]:
        said = {"id": fragment.id, "name": fragment.name, "type": fragment.type, **fragment.beside}
        new = call.news({key: value for key, value in said.items() if value})
        if not call.part:
            yield from self._reader.start_part("server_call", new)
            call.part = self._reader.last_part
        elif new:
            yield from self._reader.extend_part(call.part, "server_call", new)
        yield from self._reader.part_text(call.part, "arguments", fragment.arguments)

    def _beside(self, call: _Call, fragment: _Fragment) -> Iterator[Sized]:
        new = call.news(fragment.beside)
        if not new:
            return
        if call.part:
            yield from self._reader.extend_part(call.part, "tool_call", new)
        else:
            yield from self._reader.start_part("tool_call", new, call.index)
            call.part = self._reader.last_part


class _Fragment:
    """An entry of `tool_calls`. `beside` is what is said of the call besides, such as the signature of a thought."""

    __slots__ = ("arguments", "beside", "id", "index", "is_custom", "is_servers", "name", "type")

    def __init__(self, entry: Fields) -> None:
        function, custom = entry.get("function"), entry.get("custom")
        self.type = entry.get("type")
        self.is_custom = function is None and (custom is not None or self.type == "custom")
        inner = fields_of(custom if self.is_custom else function)
        self.index = _call_index(entry.get("index"))
        self.id, self.name = text_of(entry.get("id")), text_of(inner.get("name"))
        given = inner.get("input") if self.is_custom else inner.get("arguments")
        self.arguments = arguments_of(given)
        self.beside: dict[str, Any] = {}
        if not (entry.keys() <= _USUAL and inner.keys() <= _READ_INSIDE and self.type in _USUAL_TYPES):
            self._find_beside(entry, inner)
        self.is_servers = (
            self.id.startswith(SERVER_IDS)
            or (self.type not in OWN_TYPES and function is None)
            or any(self.beside.get(mark) for mark in SERVER_MARKS)
        )

    def _find_beside(self, entry: Fields, inner: Fields) -> None:
        found = {key: value for key, value in items_of(inner) if key not in _READ_INSIDE}
        found |= {key: value for key, value in items_of(entry) if key not in _READ}
        if self.type in _USUAL_TYPES:
            found.pop("type", None)
        self.beside = plain_object(found, "tool_calls")


class _Call:
    """A call, and its arguments as far as they have come. `named_again`: its name has come once more behind whole
    arguments; that is the beginning of another call if arguments follow."""

    __slots__ = ("_is_custom", "_pieces", "_said", "_scan", "_scanned", "id", "index", "is_servers", "name",
                 "named_again", "part")  # fmt: skip

    def __init__(self, index: int, is_servers: bool, is_custom: bool) -> None:
        self.index, self.is_servers = index, is_servers
        self.id = self.name = self.named_again = ""
        self.part = 0
        self._is_custom = is_custom
        self._said: dict[str, Any] = {}
        self._pieces: list[str] = []
        self._scan: JsonScan | None = None
        self._scanned = 0

    def go_on(self, arguments: str) -> None:
        """Takes more of the arguments."""
        self._pieces.append(arguments)

    def add(self, fragment: _Fragment) -> None:
        """Takes a fragment of the call."""
        self.id, self.name = self.id or fragment.id, self.name or fragment.name
        if fragment.arguments:
            self._pieces.append(fragment.arguments)

    def news(self, said: dict[str, Any]) -> dict[str, Any]:
        """What of this was not said of the call before."""
        new = {key: value for key, value in said.items() if value is not None and self._said.get(key) != value}
        self._said |= new
        return new

    def is_followed_by(self, fragment: _Fragment) -> bool:
        """Whether a fragment in this call's place, with a name, begins another call."""
        if not fragment.name:
            return self._goes_on_by_name(fragment)
        if fragment.id and self.id and fragment.id != self.id:
            # Without an index a call is found by its id.
            return True
        if not self.name or not self._is_whole(fragment.name):
            return False
        if fragment.name != self.name:
            return True
        if not (self.id or fragment.id):
            self.named_again = "" if fragment.arguments else fragment.name
            return bool(fragment.arguments)
        return self._is_other(fragment.arguments)

    def _goes_on_by_name(self, fragment: _Fragment) -> bool:
        """Whether the arguments are those of the call that was begun by the name alone."""
        if not fragment.arguments:
            return False
        fragment.name, self.named_again = self.named_again, ""
        return True

    def _is_whole(self, name: str) -> bool:
        if self._is_custom:  # its input may be any text
            return name != self.name and bool(self._pieces)
        if self._scan is None:
            self._scan = JsonScan()
        for piece in self._pieces[self._scanned :]:
            self._scan.feed(piece)
        self._scanned = len(self._pieces)
        return self._scan.is_whole

    def _is_other(self, arguments: str) -> bool:
        """Whether these are whole arguments, and others than those before: of a parallel call with the same id. `{}` is
        what relays begin with."""
        now = _object_of(arguments) if arguments else None
        if not now:
            return False
        before = _object_of(self._pieces[-1]) or _object_of("".join(self._pieces))
        return bool(before) and before != now


def _object_of(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return None


def _call_index(value: Any) -> int | str | None:
    """The index of a call as a provider gave it. What cannot be one counts as missing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return value if abs(value) < _NO_INDEX else None
    return value if isinstance(value, str) and value else None


_NO_INDEX = 2**31
