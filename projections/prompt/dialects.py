"""The providers behind the Chat Completions API, each with the rules that it documents, or that its 400s tell.

A row has what differs from the API as OpenAI documents it. What a provider is not known to refuse is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.quoting import quoted
from turnlog.projections.prompt.chat_rules import ChatRules
from turnlog.projections.prompt.dialect import ANY_ID, CHAT, Dialect, Thoughts

DialectName = Literal[
    "openai",
    "azure",
    "gemini",
    "mistral",
    "deepseek",
    "openrouter",
    "groq",
    "xai",
    "moonshot",
    "qwen",
    "perplexity",
    "fireworks",
    "cerebras",
    "vllm",
    "llama",
    "strict",
]
"""Whose rules a chat prompt keeps. `vllm` and `llama` are the templates of open models; `strict` is what all accept."""


class ChatDialect(NamedTuple):
    """The rules of one provider, and where they are written down."""

    dialect: Dialect
    sources: tuple[str, ...]


_NEVER = Thoughts(sent="never", fill="none", details="none")
_TEXT: dict[str, Any] = {"fill": "none", "details": "none"}
_AS_OPENAI = Dialect(
    "chat",
    ANY_ID,
    has_functions=True,
    has_custom_tools=True,
    thoughts=_NEVER,
    beside=(),
    chat=ChatRules(marks=frozenset({"prompt_cache_breakpoint"})),
)
_COMPATIBLE = ChatRules(
    has_developer=False, has_refusals=False, has_audio=False, media=frozenset({"image_url"}), marks=frozenset()
)
"""What those have in common that only resemble OpenAI's API: the roles are system, user, assistant and tool."""


def _row(dialect: dict[str, Any], rules: dict[str, Any], *sources: str) -> ChatDialect:
    made = Dialect("chat", ANY_ID, thoughts=_NEVER, beside=())._replace(**dialect)
    return ChatDialect(made._replace(chat=_COMPATIBLE._replace(**rules)), sources)


_OPEN: dict[str, Any] = {
    "late_system": False,
    "assistant_first": False,
    "users_together": False,
    "user_after_tool": False,
}
"""Roles alternate, and system text comes first."""

_PROVIDERS: dict[DialectName, ChatDialect] = {
    "openai": ChatDialect(_AS_OPENAI, ("https://platform.openai.com/docs/api-reference/chat/create",)),
    "azure": ChatDialect(_AS_OPENAI, ("https://learn.microsoft.com/azure/ai-foundry/openai/reference",)),
    "gemini": _row(
        {"name_start": re.compile("[a-zA-Z_]"), "beside": ("extra_content",)},
        {
            "assistant_first": False,
            "media": frozenset({"image_url", "input_audio"}),
            "unsigned": {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}},
        },
        "https://ai.google.dev/gemini-api/docs/thought-signatures",
        "https://ai.google.dev/gemini-api/docs/openai",
        "github.com/google-gemini/gemini-cli/issues/7878: Must start with a letter or an underscore",
        "github.com/google-gemini/gemini-cli/issues/11814: function call turn comes immediately after a user turn",
    ),
    "mistral": _row(
        {
            "call_id": re.compile("[a-zA-Z0-9]{9}"),
            "id_form": "{:.9}",
            "thoughts": Thoughts(field="content", **_TEXT),
        },
        {
            "late_system": False,
            "assistant_first": False,
            "user_after_tool": False,
            "named": frozenset(),
            "continued": {"prefix": True},
        },
        "https://docs.mistral.ai/api/#tag/chat",
        "https://docs.mistral.ai/capabilities/reasoning/",
        "github.com/langchain-ai/langchain/issues/24668: Tool call id has to be defined ... a-z, A-Z, 0-9, length of 9",
        "github.com/avante-corp/avante.nvim/issues/2562: Unexpected role 'user' after role 'tool'",
        "github.com/charmbracelet/crush/issues/1590: extra_forbidden reasoning_content",
        "github.com/Gage-Technologies/mistral-go/pull/2: extra_forbidden user.name",
    ),
    "deepseek": _row(
        {"thoughts": Thoughts(sent="always", details="none")},
        {"media": frozenset(), "continued": {"prefix": True}},
        "https://api-docs.deepseek.com/guides/thinking_mode",
        "https://api-docs.deepseek.com/guides/chat_prefix_completion",
        "github.com/continuedev/continue/issues/11285: Missing `reasoning_content` field in the assistant message",
        "github.com/earendil-works/pi/issues/1048: unknown variant `developer`",
        "github.com/lessweb/deepcode-cli/issues/50: unknown variant `image_url`, expected `text`",
    ),
    "openrouter": _row(
        {"thoughts": Thoughts(sent="always", field="reasoning", fill="none", details="instead")},
        {
            "media": frozenset({"image_url", "input_audio", "file"}),
            "marks": frozenset({"cache_control"}),
        },
        "https://openrouter.ai/docs/guides/best-practices/reasoning-tokens#preserving-reasoning-blocks",
        "https://openrouter.ai/docs/features/prompt-caching",
        "https://openrouter.ai/docs/features/multimodal/overview",
    ),
    "groq": _row(
        {},
        {"named": frozenset(), "in_parts": frozenset({"user"})},
        "https://console.groq.com/docs/openai: messages[].name is not supported and results in a 400",
        "github.com/janhq/jan/issues/8136: property 'reasoning_content' is unsupported",
        "github.com/CherryHQ/cherry-studio/issues/3307: for 'role:tool' ... value must be a string",
    ),
    "xai": _row(
        {},
        {"named": frozenset({"user"}), "null_content": False},
        "github.com/BerriAI/litellm/issues/9720: Only messages of role 'user' can have a name",
        "github.com/langchain-ai/langchain/issues/34140: Each message must have at least one content element",
    ),
    "moonshot": _row(
        {
            "name_start": re.compile("[a-zA-Z]"),
            "thoughts": Thoughts(sent="always", fill="with_calls", details="none"),
        },
        {"continued": {"partial": True}},
        "https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model",
        "https://platform.moonshot.ai/docs/guide/use-partial-mode-feature-of-kimi-api",
        "github.com/continuedev/continue/issues/11600: reasoning_content is missing in assistant tool call message",
        "github.com/MoonshotAI/kimi-cli/issues/1773: function name is invalid, must start with a letter",
    ),
    "qwen": _row(
        {"thoughts": Thoughts(**_TEXT)},
        {"media": frozenset({"image_url", "input_audio"}), "marks": frozenset({"cache_control"})},
        "https://help.aliyun.com/zh/model-studio/qwen-api-reference",
        "github.com/DayuanJiang/next-ai-draw-io/issues/304: developer is not one of ['system', 'assistant', ...]",
    ),
    "perplexity": _row(
        {},
        _OPEN,
        "https://docs.perplexity.ai/api-reference/chat-completions-post",
        "github.com/perplexityai/api-discussion/issues/265: user and assistant roles should be alternating",
    ),
    "fireworks": _row(
        {"thoughts": Thoughts(**_TEXT)},
        {},
        "https://docs.fireworks.ai/guides/reasoning",
        "https://docs.fireworks.ai/api-reference/post-chatcompletions",
    ),
    "cerebras": _row(
        {"thoughts": Thoughts(field="reasoning", **_TEXT)},
        {"named": frozenset()},
        "https://inference-docs.cerebras.ai/capabilities/reasoning",
        "github.com/proxysoul/Empryo/pull/209: 400 wrong_api_format for unknown properties; `reasoning` is taken",
    ),
    "vllm": _row(
        {"thoughts": Thoughts(field="reasoning", **_TEXT)},
        {**_OPEN, "continued": {}},
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        "github.com/vllm-project/vllm/issues/6862: conversation roles must alternate",
        "github.com/vllm-project/vllm/issues/41114: System message must be at the beginning",
        "github.com/NousResearch/hermes-agent/issues/20154: Unexpected role 'user' after role 'tool'",
        "github.com/vllm-project/vllm/pull/33402: `reasoning`, and no longer `reasoning_content`",
    ),
    "llama": _row(
        {},
        {**_OPEN, "calls_together": False, "media": frozenset()},
        "https://docs.vllm.ai/en/latest/features/tool_calling.html: parallel calls are not supported for Llama 3",
        "github.com/vllm-project/vllm/pull/12938: This model only supports single tool-calls at once!",
    ),
}


def strictest(dialects: Iterable[Dialect]) -> Dialect:
    """What all of them accept of a model that does not think: what proves thinking is different for each."""
    every = list(dialects)
    rules = [one.chat for one in every]
    chat: dict[str, Any] = {}
    for field, default in ChatRules._field_defaults.items():
        values = [getattr(one, field) for one in rules]
        if isinstance(default, bool):
            chat[field] = all(values)
        elif isinstance(default, frozenset):
            chat[field] = frozenset.intersection(*values)
    named = min(every, key=lambda one: len(one.new_id()))
    starts = [one.name_start for one in every if one.name_start is not None]
    return Dialect(
        "chat",
        named.call_id,
        id_form=named.id_form,
        name_length=min(one.name_length for one in every),
        name_start=min(starts, key=lambda one: len(one.pattern), default=None),
        thoughts=_NEVER,
        beside=(),
        chat=ChatRules(**chat),
    )


_STRICT = ChatDialect(strictest(one.dialect for one in _PROVIDERS.values()), ("all rows together",))
DIALECTS: dict[DialectName, ChatDialect] = {**_PROVIDERS, "strict": _STRICT}


def chat_dialect(name: DialectName | None) -> Dialect:
    """The rules of a provider; without one those of the API."""
    return CHAT if name is None else DIALECTS[name].dialect


def check_dialect(api: Any, name: Any) -> None:
    """Raises InvalidInputError for an unknown provider, and for one whose API is another."""
    if name is None:
        return
    if not isinstance(name, str) or name not in DIALECTS:
        raise InvalidInputError("dialect", f"{quoted(name)} is not one of: {', '.join(get_args(DialectName))}")
    if api != "chat":
        raise InvalidInputError("dialect", "is for the chat prompt only")
