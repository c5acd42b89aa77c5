"""Exports of other systems: which conversations they hold, and of each its messages in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.foreign.chatgpt import calls_a_tool, is_of_a_tool
from turnlog.domain.foreign.claude_code import is_claude_code
from turnlog.domain.foreign.detect import detected_format, what_was_seen
from turnlog.domain.foreign.findings import objects
from turnlog.domain.foreign.times import parsed_time
from turnlog.domain.foreign.trees import Tree, without_branches
from turnlog.domain.foreign.values import ForeignFormat

Raw = dict[str, Any]


class Branch(NamedTuple):
    """Another branch of a conversation, from its beginning: what was said before a message was edited, or before an
    answer was made again. `id` is that of its last message."""

    id: str
    messages: list[Raw]


class ForeignConversation(NamedTuple):
    """A conversation of an export. `messages` are those of the branch that is shown."""

    format: ForeignFormat
    messages: list[Any]
    id: str | None = None
    title: str | None = None
    user_id: str | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None
    others: Callable[[], Iterable[Branch]] = tuple

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The other branches, made when they are asked for: there may be many."""
        return tuple(branch for branch in self.others() if branch.messages)

    @property
    def facts(self) -> Raw:
        """What the export says of the conversation besides its messages."""
        times = {"started_at": self.started_at, "updated_at": self.updated_at}
        told = {name: at.isoformat() for name, at in times.items() if at is not None}
        return {"format": self.format, **({} if self.id is None else {"id": self.id}), **told} if told else {}


def conversations_in(data: Any) -> Iterator[Any]:
    """The conversations that an export holds, each as it is there: for `conversation_of`. A list of messages is one."""
    if isinstance(data, Mapping):
        for name in ("conversations", "chats", "sessions", "data"):
            if _are_conversations(data.get(name)) and not _is_conversation(data):
                yield from data[name]
                return
    elif _are_conversations(data):
        yield from data
        return
    elif isinstance(data, Sequence) and any(_is_record(one) for one in data):
        yield from _by_session(data)
        return
    yield data


def conversation_of(raw: Any, format_: ForeignFormat | None = None) -> ForeignConversation:
    """A conversation, read as far as what its messages are. `format_` is the one that they are in, if that is known.
    Raises InvalidInputError, which names what was seen, if it is none."""
    if isinstance(raw, Mapping):
        raw = {name: value for name, value in raw.items() if value is not None}
        for is_one, read in _SHAPES:
            if is_one(raw):
                return read(raw, format_)
        raise InvalidInputError("messages", f"are not there, and no known export has the {what_was_seen([raw])}")
    return _of_messages({}, raw, format_)


def only_conversation(data: Any, format_: ForeignFormat | None) -> ForeignConversation:
    """The conversation of an export that holds one. Raises InvalidInputError."""
    found = list(conversations_in(data))
    if len(found) != 1:
        raise InvalidInputError("messages", f"are of {len(found)} conversations: import them one by one")
    return conversation_of(found[0], format_)


def _of_messages(facts: Raw, messages: Any, format_: ForeignFormat | None) -> ForeignConversation:
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes | bytearray):
        raise InvalidInputError("messages", f"must be a list, not {type(messages).__name__}")
    seen = [dict(message) for message in messages if isinstance(message, Mapping)]
    if format_ is None and len(seen) == len(messages):
        format_ = detected_format(seen)
    if format_ is None:
        if len(seen) < len(messages):
            bad = next(index for index, one in enumerate(messages) if not isinstance(one, Mapping))
            kind = type(messages[bad]).__name__
            raise InvalidInputError(f"messages[{bad}]", f"must be an object, not {kind}")
        raise InvalidInputError("messages", f"are of no known format: {what_was_seen(seen)}")
    if format_ == "librechat" and len(seen) == len(messages):
        return _of_librechat(facts, seen)
    if format_ == "claude_code":
        return _of_records(facts, list(messages))
    if format_ == "pydantic_ai":
        messages = _with_instructions(messages)
    return _with_facts(facts, ForeignConversation(format_, list(messages)))


def _with_facts(facts: Raw, found: ForeignConversation) -> ForeignConversation:
    """The conversation with what else is said of it, under the names that exports have for it."""
    id_ = _first(facts, ("conversation_id", "conversationId", "id", "uuid", "chatId", "sessionId"))
    title = _first(facts, ("title", "name", "summary"))
    started = _first(facts, ("create_time", "created_at", "createdAt", "startTime"))
    updated = _first(facts, ("update_time", "updated_at", "updatedAt", "lastUpdated"))
    user = _first(facts, ("user_id", "userId", "user"))
    return found._replace(
        id=found.id or (str(id_) if isinstance(id_, str | int) and not isinstance(id_, bool) else None),
        title=found.title or (title.strip() if isinstance(title, str) and title.strip() else None),
        user_id=user if isinstance(user, str) and user else None,
        started_at=found.started_at or parsed_time(started),
        updated_at=found.updated_at or parsed_time(updated),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _first(holder: Raw, names: tuple[str, ...]) -> Any:
    return next((holder[name] for name in names if holder.get(name) is not None), None)


# Which conversations there are


def _are_conversations(data: Any) -> bool:
    if not isinstance(data, Sequence) or isinstance(data, str | bytes | bytearray) or not data:
        return False
    return all(_is_conversation(one) or (isinstance(one, list) and bool(one)) for one in data)


def _is_conversation(one: Any) -> bool:
    if not isinstance(one, Mapping) or any(name in one for name in ("role", "author", "type", "kind")):
        return False
    return any(is_one(one) for is_one, _ in _SHAPES)


def _is_record(one: Any) -> bool:
    return isinstance(one, Mapping) and "sessionId" in one and is_claude_code(dict(one))


def _by_session(records: Sequence[Any]) -> Iterator[Any]:
    """The records of each session of Claude Code. One without a session belongs to all, which is to the only one."""
    sessions: dict[str, list[Any]] = {}
    for record in records:
        if isinstance(record, Mapping) and isinstance(record.get("sessionId"), str):
            sessions.setdefault(record["sessionId"], []).append(record)
    if len(sessions) == 1:
        yield records
    else:
        yield from (list(session) for session in sessions.values() if any(map(_is_record, session)))


# Shapes of exports


def _of_chatgpt(raw: Raw, _format: ForeignFormat | None) -> ForeignConversation:
    nodes = {str(key): node for key, node in raw["mapping"].items() if isinstance(node, Mapping)}
    tree = Tree({key: _text(node.get("parent")) for key, node in nodes.items()})

    def said(leaf: str | None) -> list[Raw]:
        path = (nodes[key].get("message") for key in tree.path(leaf))
        return _exchanges([message for message in path if isinstance(message, Mapping)])

    current = _text(raw.get("current_node"))
    current = current if current in nodes else tree.latest()
    return _with_facts(raw, _of_tree("chatgpt", said, tree, current))


def _of_tree(
    format_: ForeignFormat, said: Callable[[str | None], list[Raw]], tree: Tree, current: str | None
) -> ForeignConversation:
    shown = frozenset(tree.path(current))
    leaves = [leaf for leaf in tree.leaves() if leaf not in shown]
    return ForeignConversation(format_, said(current), others=lambda: (Branch(leaf, said(leaf)) for leaf in leaves))


def _exchanges(messages: Sequence[Any]) -> list[Raw]:
    """Messages of ChatGPT; one to a tool is one with what was answered."""
    whole = list[list[Any]]()
    for message in messages:
        if is_of_a_tool(message) and whole and (calls_a_tool(whole[-1][0]) or is_of_a_tool(whole[-1][0])):
            whole[-1].append(message)
        else:
            whole.append([message])
    return [dict(one[0]) if len(one) == 1 else {"messages": one} for one in whole]


def _of_claude_ai(raw: Raw, _format: ForeignFormat | None) -> ForeignConversation:
    messages = raw["chat_messages"]
    found = _tree_of(messages, "uuid", "parent_message_uuid", raw.get("current_leaf_message_uuid"), "claude_ai")
    return _with_facts(raw, found)


def _of_open_webui(raw: Raw, _format: ForeignFormat | None) -> ForeignConversation:
    chat = raw["chat"] if isinstance(raw.get("chat"), Mapping) else raw
    history = chat["history"]
    messages = [message for message in history["messages"].values() if isinstance(message, Mapping)]
    found = _tree_of(messages, "id", "parentId", history.get("currentId"), "open_webui")
    params = chat.get("params")
    system = params.get("system") if isinstance(params, Mapping) else None
    if isinstance(system, str) and system:
        found = _after({"role": "system", "content": system, "parentId": None}, found)
    return _with_facts({**chat, **raw}, found)


def _after(first: Raw, found: ForeignConversation) -> ForeignConversation:
    """The conversation, and each branch of it, with this message in front."""
    return found._replace(
        messages=[first, *found.messages],
        others=lambda: (branch._replace(messages=[first, *branch.messages]) for branch in found.branches),
    )


def _of_librechat(facts: Raw, messages: Sequence[Any]) -> ForeignConversation:
    found = _tree_of(_flat(messages), "messageId", "parentMessageId", None, "librechat")
    return _with_facts(facts, found)


def _flat(messages: Sequence[Any]) -> list[Raw]:
    """The messages of LibreChat's tree, each without those that follow it."""
    flat, left = list[Raw](), list[tuple[Any, Any]]((message, None) for message in reversed(messages))
    while left:
        message, parent = left.pop()
        children = message.get("children")
        own = {key: value for key, value in message.items() if key != "children"}
        if parent is not None and "parentMessageId" not in own:
            own["parentMessageId"] = parent
        flat.append(own)
        listed = children if isinstance(children, list) else []
        left += [(child, own.get("messageId")) for child in reversed(listed) if isinstance(child, Mapping)]
    return flat


def _tree_of(messages: Any, key: str, parent: str, leaf: Any, format_: ForeignFormat) -> ForeignConversation:
    """The conversation of messages that name the one before. Where one does not, they are in order as they are."""
    listed = [message for message in messages if isinstance(message, Mapping)] if isinstance(messages, list) else []
    nodes = {str(message.get(key)): dict(message) for message in listed}
    follows = sum(_text(message.get(parent)) in nodes for message in listed)
    if len(nodes) < len(listed) or not follows:
        return ForeignConversation(format_, listed)
    tree = Tree({name: _text(message.get(parent)) for name, message in nodes.items()})
    current = _text(leaf) if _text(leaf) in nodes else tree.latest()
    return _of_tree(format_, lambda node: [nodes[name] for name in tree.path(node)], tree, current)


def _of_records(facts: Raw, records: list[Any]) -> ForeignConversation:
    """A session of Claude Code: what was said, without sub-agents and without what the user took back."""
    read = [record for record in records if isinstance(record, Mapping)]
    said = [record for record in read if is_claude_code(dict(record)) and record.get("isSidechain") is not True]
    nodes = [(_uuid(record, n), _text(record.get("parentUuid")), _is_prompt(record)) for n, record in enumerate(said)]
    kept = without_branches(nodes)
    messages = [record for n, record in enumerate(said) if _uuid(record, n) in kept]
    titles = (_first(dict(record), ("customTitle", "aiTitle", "summary")) for record in reversed(read))
    title = next((title for title in titles if isinstance(title, str)), None)
    session = next((record["sessionId"] for record in said if isinstance(record.get("sessionId"), str)), None)
    times = [at for record in said if (at := parsed_time(record.get("timestamp"))) is not None]
    first, last = (min(times), max(times)) if times else (None, None)
    found = ForeignConversation("claude_code", messages or records, session, title, None, first, last)
    return _with_facts(facts, found)


def _uuid(record: Any, number: int) -> str:
    return str(record.get("uuid") or number)


def _is_prompt(record: Any) -> bool:
    """Whether the user wrote it, in the place of what followed the same message before, or of the very first one.
    Results of tools come as messages of the user, too, and the summary that a compaction leaves begins anew."""
    if record.get("type") != "user" or record.get("isMeta") is True or record.get("isCompactSummary") is True:
        return False
    if record.get("parentUuid") is None and ("parentUuid" not in record or record.get("logicalParentUuid")):
        return False
    return all(block.get("type") != "tool_result" for block in objects(record["message"]["content"]))


def _with_instructions(messages: Sequence[Any]) -> Sequence[Any]:
    """Messages of Pydantic AI with the instructions of the first request in front: they go with every request."""
    every = (one.get("instructions") for one in messages if isinstance(one, Mapping))
    told = next((instructions for instructions in every if instructions), None)
    if not isinstance(told, str):
        return messages
    return [{"kind": "request", "parts": [{"part_kind": "system-prompt", "content": told}]}, *messages]


def _of_gemini(raw: Raw, _format: ForeignFormat | None) -> ForeignConversation:
    contents = raw["contents"] if isinstance(raw["contents"], list) else [raw["contents"]]
    system = _first(raw, ("systemInstruction", "system_instruction"))
    if isinstance(system, str):
        system = {"parts": [{"text": system}]}
    first = [{**system, "role": "system"}] if isinstance(system, Mapping) else []
    return _with_facts(raw, ForeignConversation("gemini", [*first, *contents]))


def _of_request(raw: Raw, format_: ForeignFormat | None) -> ForeignConversation:
    """An object with the messages in a field, as a request has them, with the system prompt in a field of its own."""
    messages = _first(raw, _LISTS)
    if isinstance(messages, str) and "input" in raw:
        format_ = format_ or "responses"
        messages = [{"role": "user", "content": messages}]
    if format_ is None and isinstance(messages, list) and "instructions" in raw and "input" in raw:
        format_ = "responses"
    found = _of_messages(raw, messages, format_)
    system = raw.get({"anthropic": "system", "responses": "instructions"}.get(found.format, ""))
    if system is None:
        return found
    return found._replace(messages=[{"role": "system", "content": system}, *found.messages])


_LISTS = ("messages", "input", "items", "chat_history", "history")

_SHAPES: tuple[tuple[Callable[[Any], bool], Callable[[Raw, ForeignFormat | None], ForeignConversation]], ...] = (
    (lambda raw: isinstance(raw.get("mapping"), Mapping), _of_chatgpt),
    (lambda raw: isinstance(raw.get("chat_messages"), list), _of_claude_ai),
    (lambda raw: _has_history(raw.get("chat")) or _has_history(raw), _of_open_webui),
    (lambda raw: "contents" in raw, _of_gemini),
    (lambda raw: any(name in raw for name in _LISTS), _of_request),
)


def _has_history(chat: Any) -> bool:
    history = chat.get("history") if isinstance(chat, Mapping) else None
    return isinstance(history, Mapping) and isinstance(history.get("messages"), Mapping)
