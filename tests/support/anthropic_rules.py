"""What Anthropic's Messages API takes, written from its rules and not from our builder.

Sources: docs.anthropic.com/en/api/messages, .../build-with-claude/tool-use and .../extended-thinking, and the texts of
the service's 400s, which stand beside the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from itertools import pairwise, takewhile
from typing import Any

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_KINDS = {
    "user": {"text", "image", "document", "search_result", "tool_result"},
    "assistant": {
        "text",
        "tool_use",
        "thinking",
        "redacted_thinking",
        "server_tool_use",
        "mcp_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "advisor_tool_result",
        "mcp_tool_result",
        "mcp_tool_listing",
        "container_upload",
        "compaction",
        "fallback",
    },
}
_ALL_KINDS = _KINDS["user"] | _KINDS["assistant"]
_SERVER_CALLS = ("server_tool_use", "mcp_tool_use")


def check_anthropic_prompt(prompt: Mapping[str, Any], known: Collection[str] = ()) -> None:
    """Asserts that the API would take `system` and `messages`, and knows blocks of the types `known`."""
    json.dumps(prompt, ensure_ascii=False, allow_nan=False).encode("utf-8")
    system, messages = prompt["system"], prompt["messages"]
    if not isinstance(system, str):
        _check_blocks(system, {"text"}, "system")
    every = [block for blocks in (system, *(message["content"] for message in messages)) for block in blocks]
    marked = sum("cache_control" in block for block in every)
    assert marked <= 4, f"'A maximum of 4 blocks with cache_control may be provided. Found {marked}.'"
    roles = [message["role"] for message in messages]
    assert set(roles) <= {"user", "assistant"}, f"roles: {roles}"
    # The API says 'messages: first message must use the "user" role'
    assert not roles or roles[0] == "user", "the first message is not the user's"
    # The API says 'roles must alternate between "user" and "assistant"'
    assert all(first != second for first, second in pairwise(roles)), f"roles do not alternate: {roles}"
    for place, message in enumerate(messages):
        assert set(message) == {"role", "content"}, f"messages[{place}] has the fields {sorted(message)}"
        kinds = _KINDS[message["role"]] | (set(known) - _ALL_KINDS)
        _check_blocks(message["content"], kinds, f"messages[{place}]")
        if message["role"] == "assistant":
            _check_server_tools(message["content"], f"messages[{place}]")
    _check_pairs(messages)


def _check_server_tools(blocks: list[Mapping[str, Any]], where: str) -> None:
    # '`web_search` tool use with id `srvtoolu_...` was found without a corresponding `web_search_tool_result` block'
    called = [block["id"] for block in blocks if block["type"] in _SERVER_CALLS]
    answered = [block["tool_use_id"] for block in blocks if block["type"].endswith("_tool_result")]
    assert sorted(called) == sorted(answered), f"{where}: the server's calls {called}, results {answered}"
    # 'Expected `thinking` or `redacted_thinking`, but found `text`': only behind a tool of the server's it may be first
    before = [block["type"] for block in takewhile(lambda block: "thinking" not in block["type"], blocks)]
    is_late = 0 < len(before) < len(blocks) and not set(before) & set(_SERVER_CALLS)
    assert not is_late, f"{where}: thinking behind {before}"
    # 'The final block in an assistant message cannot be `thinking`'
    assert "thinking" not in blocks[-1]["type"], f"{where}: it ends in thinking"


def _check_blocks(blocks: Any, kinds: set[str], where: str) -> None:
    assert isinstance(blocks, list), f"{where}: content is no list"
    assert blocks, f"{where}: content is empty"
    for block in blocks:
        assert isinstance(block, Mapping), f"{where}: {block!r} is no block"
        assert block.get("type") in kinds, f"{where}: a block of the type {block.get('type')!r}"
        _check_block(block, where)
    order = [_rank(block["type"]) for block in blocks]
    # '`tool_use` ids were found without `tool_result` blocks immediately after' is what text behind tool_use, or in
    # front of tool_result, is answered with
    assert order == sorted(order), f"{where}: blocks in the order {[block['type'] for block in blocks]}"


def _rank(kind: str) -> int:
    return {"tool_result": 0, "tool_use": 2}.get(kind, 1)


_FIELDS = {
    "text": {"text", "cache_control", "citations"},
    "image": {"source", "cache_control"},
    "document": {"source", "title", "context", "citations", "cache_control"},
    "search_result": {"source", "title", "content", "citations", "cache_control"},
    "tool_use": {"id", "name", "input", "cache_control", "caller", "toolset_name"},
    "tool_result": {"tool_use_id", "content", "is_error", "cache_control"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
}


def _check_block(block: Mapping[str, Any], where: str) -> None:
    if block["type"] not in _FIELDS:
        return  # what the server has made is the server's
    # The API says 'messages.0.content.0.text.foo: Extra inputs are not permitted'
    assert set(block) <= {"type"} | _FIELDS[block["type"]], f"{where}: a block with the fields {sorted(block)}"
    match block["type"]:
        case "text":  # 'text content blocks must be non-empty', '... must contain non-whitespace text'
            assert isinstance(block["text"], str), f"{where}: a text is no string"
            assert block["text"].strip(), f"{where}: a blank text block"
        case "tool_use":
            # The API says 'tool_use.id: String should match pattern',
            # and 'tool_use.name: String should have at least 1 character'
            assert _ID.fullmatch(block["id"]), f"{where}: id {block['id']!r}"
            assert _NAME.fullmatch(block["name"]), f"{where}: name {block['name']!r}"
            assert isinstance(block["input"], dict), f"{where}: input is no object"
        case "tool_result":
            # 'all content must be type "text" if "is_error" is true'
            kinds = {"text"} if block.get("is_error") else {"text", "image", "document", "search_result"}
            if not isinstance(block["content"], str):
                _check_blocks(block["content"], kinds, f"{where}, a result")
                # 'cache_control may not be specified within `tool_result.content`'
                marked = [part for part in block["content"] if "cache_control" in part]
                assert not marked, f"{where}: cache_control in a result"
        case "thinking":  # 'each thinking block must contain thinking', 'Invalid `signature` in `thinking` block'
            # It is empty where thinking is not displayed ("omitted"): the signature has it.
            assert isinstance(block["thinking"], str), f"{where}: no thinking"
            assert block["signature"], f"{where}: no signature"
        case "redacted_thinking":
            assert block["data"], f"{where}: no data"
        case "image":  # 'source.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp''
            _check_source(block["source"], {"image/jpeg", "image/png", "image/gif", "image/webp"}, where)
        case "document":
            _check_source(block["source"], {"application/pdf"}, where)
        case "search_result":  # docs.anthropic.com/en/docs/build-with-claude/search-results
            assert block["source"], f"{where}: a search result without a source"
            assert block["title"], f"{where}: a search result without a title"
            _check_blocks(block["content"], {"text"}, f"{where}, a search result")


def _check_source(source: Mapping[str, Any], media: set[str], where: str) -> None:
    if source["type"] == "file":
        assert source["file_id"], f"{where}: no file_id"
    elif source["type"] == "text":
        assert source["media_type"] == "text/plain", f"{where}: {source['media_type']!r}"
        assert source["data"].strip(), f"{where}: no text"
    elif source["type"] == "content":
        _check_blocks(source["content"], {"text", "image"}, f"{where}, a document")
    elif source["type"] == "url":
        assert source["url"].startswith(("http://", "https://")), f"{where}: url {source['url']!r}"
    else:
        assert source["type"] == "base64", f"{where}: a source of the type {source['type']!r}"
        assert source["media_type"] in media, f"{where}: {source['media_type']!r}"
        assert source["data"], f"{where}: no data"


def _check_pairs(messages: list[Mapping[str, Any]]) -> None:
    """Each call is answered once in the next message, and nothing else is; ids are unique."""
    calls: list[str] = []
    for place, message in enumerate(messages):
        answered = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
        before = messages[place - 1]["content"] if place else []
        wanted = [block["id"] for block in before if block["type"] == "tool_use"]
        # 'unexpected `tool_use_id` found in `tool_result` blocks', 'each tool_use must have a single result'
        assert sorted(answered) == sorted(wanted), f"messages[{place}]: calls {wanted}, answered {answered}"
        calls += [block["id"] for block in message["content"] if block["type"] == "tool_use"]
    # '`tool_use` ids must be unique'
    assert len(set(calls)) == len(calls), f"ids are not unique: {calls}"
    open_calls = [block for block in messages[-1]["content"] if block["type"] == "tool_use"] if messages else []
    assert not open_calls, "the last message has calls without results"
