"""Messages as other systems have them, and histories of them with a fault each."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


# As the Chat Completions API has them


def user(text: Any = "hi") -> Json:
    return {"role": "user", "content": text}


def said(text: str | None = None, *calls: Json) -> Json:
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {})}


def call(call_id: str = "c1", name: str = "find", arguments: str = "{}") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str = "c1", content: str = "found") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}
"""A content part."""

FAULTY: dict[str, list[Json]] = {
    "split_assistant": [user(), said("One moment."), said(None, call()), result()],
    "repeated_message": [user(), said("Done."), said("Done.")],
    "repeated_attempt": [user(), said(None, call()), said(None, call()), result()],
    "orphan_result": [user(), result("gone")],
    "unanswered_call": [user(), said(None, call()), user("stop")],
    "duplicate_call_id": [user(), said(None, call(), call(arguments='{"a":1}')), result(), result("c1", "also")],
    "reused_call_id": [user(), said(None, call()), result(), user(), said(None, call()), result()],
    "duplicate_result": [user(), said(None, call()), result("c1", "[cancelled]"), result()],
    "result_before_call": [user(), result(), said(None, call())],
    "user_message_between": [user(), said(None, call()), user("and?"), result()],
    "invalid_arguments": [user(), said(None, call(arguments='{"a')), result()],
    "call_without_id": [user(), said(None, call("")), result("")],
    "call_without_name": [user(), said("x", call("c1", "")), result()],
    "empty_message": [user(), said(""), user("there?")],
    "empty_tool_calls": [user(), {**said("x"), "tool_calls": []}],
    "unknown_role": [user(), {"role": "robot", "content": "beep"}],
    "result_in_wrong_role": [
        user(),
        said(None, call()),
        user([{"type": "tool_result", "tool_use_id": "c1", "content": "x"}]),
    ],
    "foreign_block": [user(), said([{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]), result()],  # type: ignore[arg-type]
    "bad_content_block": [user([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}])],
}
"""By the kind of fault: a history of the Chat Completions API."""


# As Anthropic's Messages API has them


def use(call_id: str = "c1") -> Json:
    return {"type": "tool_use", "id": call_id, "name": "find", "input": {}}


def used(*call_ids: str) -> list[Json]:
    return [{"type": "tool_result", "tool_use_id": call_id, "content": "found"} for call_id in call_ids]


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def thought(words: str, signature: str = "") -> Json:
    return {"type": "thinking", "thinking": words, "signature": signature}


def blocks(role: str, *content: Json) -> Json:
    return {"role": role, "content": list(content)}


FAULTY_BLOCKS: dict[str, list[Json]] = {
    "leading_assistant": [blocks("assistant", text("Hello!")), blocks("user", text("hi"))],
    "consecutive_roles": [blocks("user", text("hi")), blocks("user", text("there?"))],
    "split_results": [user(), blocks("assistant", use(), use("c2")), *(blocks("user", *used(c)) for c in ("c1", "c2"))],
    "text_after_call": [user(), blocks("assistant", use(), text("One moment.")), blocks("user", *used("c1"))],
    "result_not_first": [user(), blocks("assistant", use()), blocks("user", text("so?"), *used("c1"))],
    "empty_text_block": [user(), blocks("assistant", text(""), use()), blocks("user", *used("c1"))],
    "unsigned_thinking": [user(), blocks("assistant", thought("hm"), text("Yes."))],
    "misplaced_thinking": [user(), blocks("assistant", text("Yes."), thought("hm", "signed"))],
}
"""By the kind of fault: a history of Anthropic's Messages API."""
