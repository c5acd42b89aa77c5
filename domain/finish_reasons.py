"""What the finish reasons of providers mean: whether an answer is whole, was cut off, or has failed.

Relays pass on the words of the provider behind them, so one table has those of all APIs. The same table, for people, is
in docs/reference/finish-reasons.md.
"""

from __future__ import annotations

from typing import Literal

EndMeaning = Literal["whole", "calls", "cut_off", "filtered", "refused", "paused", "failed"]
"""What the end of an answer is.

* `whole`: the model has said all that it had to say.
* `calls`: it has made calls, and waits for their results.
* `cut_off`: a limit of length or of time was reached in the middle.
* `filtered`: a filter of the provider has stopped it.
* `refused`: the model has stopped by itself, because it does not want to answer.
* `paused`: the provider goes on when the answer is sent back.
* `failed`: it was not finished, and may be asked for again.
"""

MEANINGS: dict[EndMeaning, tuple[str, ...]] = {
    "whole": (
        "stop",  # Chat Completions, Gemini
        "end_turn",  # Anthropic, Bedrock
        "stop_sequence",  # Anthropic, Bedrock, Cohere, TGI
        "complete",  # Cohere
        "completed",  # Responses, and OpenRouter's native_finish_reason
        "eos",  # Together
        "eos_token",  # TGI, watsonx
        "normal",  # Qianfan
    ),
    "calls": (
        "tool_calls",  # Chat Completions
        "function_call",  # Chat Completions, for `functions`
        "tool_use",  # Anthropic, Bedrock
        "tool_call",  # Cohere
        "tool-calls",  # AI SDK
    ),
    "cut_off": (
        "length",  # Chat Completions
        "max_tokens",  # Anthropic, Gemini, Cohere, Bedrock, watsonx
        "max_output_tokens",  # Responses
        "model_length",  # Mistral
        "model_context_window_exceeded",  # Anthropic, Bedrock, GLM
        "token_limit",  # watsonx
        "time_limit",  # watsonx
        "incomplete",  # Responses
        "not_finished",  # watsonx
    ),
    "filtered": (
        "content_filter",  # Chat Completions, Responses
        "content-filter",  # AI SDK
        "content_filtered",  # Bedrock
        "guardrail_intervened",  # Bedrock
        "sensitive",  # GLM
        "safety",  # Gemini
        "recitation",  # Gemini
        "language",  # Gemini
        "blocklist",  # Gemini
        "prohibited_content",  # Gemini
        "spii",  # Gemini
        "image_safety",  # Gemini
        "image_prohibited_content",  # Gemini
        "image_recitation",  # Gemini
    ),
    "refused": ("refusal",),  # Anthropic
    "paused": ("pause_turn",),  # Anthropic
    "failed": (
        "error",  # OpenRouter, Mistral, Cohere, watsonx, vLLM
        "abort",  # vLLM, SGLang
        "cancelled",  # watsonx, Responses
        "failed",  # Responses
        "timeout",  # Cohere
        "network_error",  # GLM
        "insufficient_system_resource",  # DeepSeek
        "malformed_function_call",  # Gemini
        "malformed_response",  # Gemini
        "unexpected_tool_call",  # Gemini
        "too_many_tool_calls",  # Gemini
        "missing_thought_signature",  # Gemini
        "no_image",  # Gemini
        "image_other",  # Gemini
        "malformed_model_output",  # Bedrock
        "malformed_tool_use",  # Bedrock
    ),
}
"""The reasons by what they mean, and who gives them, in small letters."""

_MEANING = {reason: meaning for meaning, reasons in MEANINGS.items() for reason in reasons}


def meaning_of(reason: str | None) -> EndMeaning | None:
    """What a finish reason means; None where there is none, or one that is not known. Letters may be large or small.
    Gemini puts a reason of its own behind that of Chat Completions: `function_call_filter: MALFORMED_FUNCTION_CALL`."""
    if not reason:
        return None
    first, _, inner = reason.lower().partition(":")
    return _MEANING.get(inner.strip()) or _MEANING.get(first.strip())


CUT: frozenset[EndMeaning | None] = frozenset({"cut_off", "filtered", "refused"})
"""The ends of answers that break off in the middle, and are finished all the same."""


def leaves_calls_whole(reason: str | None) -> bool:
    """Whether a model that ended so has said its calls to their end: then arguments that cannot be read are its own
    mistake, of which it has to hear. Else they may have been cut off."""
    return meaning_of(reason) in ("whole", "calls")
