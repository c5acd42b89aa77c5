"""Which providers can go on with an answer that broke off, and how they are asked to.

They are asked with the partial text as the last message, which is the assistant's. OpenAI, Google and the newer models
of Anthropic refuse such a request; Mistral sends the partial text again.
"""

from __future__ import annotations

from typing import Any

from turnlog.domain.values import JsonObject
from turnlog.projections.turn import Step

_MARKS: dict[str, JsonObject] = {
    # https://api-docs.deepseek.com/guides/chat_prefix_completion: at the base URL https://api.deepseek.com/beta
    "deepseek": {"prefix": True},
    # https://platform.moonshot.ai/docs/guide/use-partial-mode-feature-of-kimi-api
    "moonshot": {"partial": True},
    "vllm": {},
}
_ARGUMENTS: dict[str, JsonObject] = {
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html, extra parameters of the Chat API
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
}


def can_be_continued(step: Step) -> bool:
    """Whether the step broke off in the middle of its text, and has nothing else: no provider goes on with a call."""
    message = step.message
    has_text = isinstance(message.content, str) and bool(message.content.strip())
    others = message.tool_calls or message.function_call or message.refusal
    return step.status not in ("open", "finished") and has_text and not others


CONTINUING = tuple(_MARKS)
"""The dialects of those who do."""


def continued(messages: list[Any], dialect: str | None, extra: JsonObject) -> tuple[list[Any], JsonObject]:
    """The messages, of which the last one is to be continued, and the arguments of the request. The dialect is one of
    those above."""
    messages = [*messages[:-1], {**messages[-1], **_MARKS[str(dialect)]}]
    body = {**extra.get("extra_body", {}), **_ARGUMENTS.get(str(dialect), {})}
    return messages, {**extra, "extra_body": body} if body else extra
