"""What some providers refuse of a whole request."""

from __future__ import annotations

from typing import Any

from turnlog.projections.prompt import Api
from turnlog.projections.prompt.request import request_faults


def test_what_some_providers_refuse_of_a_request_is_named() -> None:
    def kinds(api: Api, *messages: dict[str, Any]) -> list[tuple[str, int]]:
        return [(fault.kind, fault.message) for fault in request_faults(messages, api)]

    user, assistant = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello "}
    system = {"role": "system", "content": "Be brief."}
    assert kinds("chat") == kinds("responses", system) == [("no_messages", 0)]
    assert kinds("chat", system, user, assistant, user) == []
    assert kinds("chat", assistant, user, user) == [("leading_assistant", 0), ("consecutive_roles", 2)]
    assert kinds("chat", user, system, assistant) == [("late_system", 1), ("trailing_assistant", 2)]
    assert kinds("anthropic", user, {**assistant, "content": [{"type": "text", "text": "Hello "}]}) == [
        ("trailing_assistant", 1),
        ("trailing_whitespace", 1),
    ]
