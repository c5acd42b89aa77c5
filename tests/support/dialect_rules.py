"""What providers behind the Chat Completions API take for `messages`, each from its documentation and from what it
answers with a 400, and not from our table.

Who speaks last is not looked at: that is up to whoever sends the prompt. With `thinks` the model is one that thinks,
and wants back what proves it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.support.prompt_rules import check_function, check_matches, check_no_neighbours, check_pairs, check_utf8

Messages = Sequence[Mapping[str, Any]]

PLAIN = {"role", "content"}
TOOL = {"role", "content", "tool_call_id"}
ANSWER = {"role", "content", "tool_calls"}
ANY_ID = re.compile(r"(?s).{1,64}")
ANY_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CACHED = {"cache_control"}


def check_openai(messages: Messages, thinks: bool = True) -> None:
    """https://platform.openai.com/docs/api-reference/chat/create"""
    named, answer = {*PLAIN, "name"}, {*ANSWER, "name", "refusal", "function_call", "audio"}
    _check_fields(messages, system=named, developer=named, user=named, function=named, assistant=answer, tool=TOOL)
    # the fields of a part that it does not know are refused: "Unknown parameter: 'messages[0].content[0].annotations'"
    _check_parts(
        messages, {"text", "image_url", "input_audio", "file"}, {"text", "refusal"}, {"prompt_cache_breakpoint"}
    )
    _check_calls(messages, ANY_ID, ANY_NAME, kinds=("function", "custom"))


def check_gemini(messages: Messages, thinks: bool = True) -> None:
    """https://ai.google.dev/gemini-api/docs/openai and .../thought-signatures"""
    _check_compatible(messages, {"extra_content"}, names=True)
    _check_parts(messages, {"text", "image_url", "input_audio"}, {"text"})
    # 'Must start with a letter or an underscore ... with a maximum length of 64.'
    _check_calls(messages, ANY_ID, re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}"), beside={"extra_content"})
    before = ""
    for message in messages:
        calls = message.get("tool_calls")
        if calls:
            # 'Please ensure that function call turn comes immediately after a user turn or after a function response
            # turn.'
            assert before in ("user", "tool"), f"calls follow {before!r}"
            # 'Function call is missing a thought_signature in functionCall parts.' Of parallel calls the first has it.
            signed = calls[0].get("extra_content", {}).get("google", {})
            assert not thinks or signed.get("thought_signature"), f"no signature beside {calls[0]}"
        before = before if message["role"] == "system" else message["role"]


def check_mistral(messages: Messages, thinks: bool = True) -> None:
    """https://docs.mistral.ai/api/#tag/chat and mistralai/mistral-common, protocol/instruct/validator.py"""
    # 'extra_forbidden', for any field that is not in the schema
    _check_fields(messages, system=PLAIN, user=PLAIN, assistant={*ANSWER, "prefix"}, tool={*TOOL, "name"})
    _check_parts(messages, {"text", "image_url"}, {"text", "thinking"})
    # 'Tool call id has to be defined in serving mode ... must be a-z, A-Z, 0-9, with a length of 9'
    _check_calls(messages, re.compile(r"[a-zA-Z0-9]{9}"), ANY_NAME)
    # "Unexpected role 'user' after role 'tool'"
    after = {
        "system": {"system", "user", "assistant"},
        "user": {"system", "user", "assistant"},
        "assistant": {"user", "assistant", "tool"},
        "tool": {"assistant", "tool"},
    }
    for one, other in pairwise(messages):
        assert other["role"] in after[one["role"]], f"{other['role']} after {one['role']}"
    assert not messages or messages[0]["role"] in ("system", "user"), "it begins with neither system nor user"


def check_deepseek(messages: Messages, thinks: bool = True) -> None:
    """https://api-docs.deepseek.com/api/create-chat-completion and .../guides/thinking_mode"""
    # 'unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`'
    _check_compatible(messages, {"reasoning_content", "prefix"}, names=True)
    # 'unknown variant `image_url`, expected `text`'
    _check_parts(messages, {"text"}, {"text"})
    _check_calls(messages, ANY_ID, ANY_NAME)
    for message in messages:
        # 'Missing `reasoning_content` field in the assistant message'
        is_there = isinstance(message.get("reasoning_content"), str)
        assert is_there or message["role"] != "assistant" or not thinks, f"no reasoning_content: {message}"


def check_openrouter(messages: Messages, thinks: bool = True) -> None:
    """https://openrouter.ai/docs/api-reference/chat-completion and .../use-cases/reasoning-tokens"""
    _check_compatible(messages, {"reasoning", "reasoning_details"}, names=True)
    _check_parts(messages, {"text", "image_url", "input_audio", "file"}, {"text"}, CACHED)
    _check_calls(messages, ANY_ID, ANY_NAME)


def check_groq(messages: Messages, thinks: bool = True) -> None:
    """https://console.groq.com/docs/openai"""
    # 'messages[].name' is refused, and "property 'reasoning_content' is unsupported"
    _check_compatible(messages)
    _check_parts(messages, {"text", "image_url"}, set())
    _check_calls(messages, ANY_ID, ANY_NAME)
    for message in messages:
        # It says "for 'role:tool' the following must be satisfied[('messages.2.content' : value must be a string)]"
        assert message["role"] == "user" or not isinstance(message["content"], list), f"a list: {message}"


def check_xai(messages: Messages, thinks: bool = True) -> None:
    """https://docs.x.ai/docs/api-reference#chat-completions"""
    # "Only messages of role 'user' can have a name."
    _check_fields(messages, system=PLAIN, user={*PLAIN, "name"}, assistant=ANSWER, tool=TOOL)
    _check_parts(messages, {"text", "image_url"}, {"text"})
    _check_calls(messages, ANY_ID, ANY_NAME)
    for message in messages:
        # 'Each message must have at least one content element.'
        assert message["content"] is not None, f"no content: {message}"
        assert message["content"] != [], f"no content: {message}"


def check_moonshot(messages: Messages, thinks: bool = True) -> None:
    """https://platform.moonshot.ai/docs/api/chat and .../guide/use-kimi-k2-thinking-model"""
    _check_compatible(messages, {"reasoning_content", "partial"}, names=True)
    _check_parts(messages, {"text", "image_url"}, {"text"})
    # 'function name is invalid, must start with a letter and can contain letters, numbers, underscores, and dashes'
    _check_calls(messages, ANY_ID, re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}"))
    for message in messages:
        # 'thinking is enabled but reasoning_content is missing in assistant tool call message'
        is_there = isinstance(message.get("reasoning_content"), str)
        assert is_there or not message.get("tool_calls") or not thinks, f"no reasoning_content: {message}"


def check_qwen(messages: Messages, thinks: bool = True) -> None:
    """https://help.aliyun.com/zh/model-studio/qwen-api-reference"""
    # It says "developer is not one of ['system', 'assistant', 'user', 'tool', 'function']"
    _check_compatible(messages, {"reasoning_content"}, names=True)
    _check_parts(messages, {"text", "image_url", "input_audio"}, {"text"}, CACHED)
    _check_calls(messages, ANY_ID, ANY_NAME)


def check_perplexity(messages: Messages, thinks: bool = True) -> None:
    """https://docs.perplexity.ai/api-reference/chat-completions-post"""
    _check_compatible(messages, names=True)
    _check_parts(messages, {"text", "image_url"}, {"text"})
    _check_calls(messages, ANY_ID, ANY_NAME)
    # It says 'After the (optional) system message(s), user or tool message(s) should alternate with assistant
    # message(s).'
    _check_alternation(messages)


def check_fireworks(messages: Messages, thinks: bool = True) -> None:
    """https://docs.fireworks.ai/api-reference/post-chatcompletions"""
    # 'Extra inputs are not permitted'
    _check_compatible(messages, {"reasoning_content"}, names=True)
    _check_parts(messages, {"text", "image_url"}, {"text"})
    _check_calls(messages, ANY_ID, ANY_NAME)


def check_cerebras(messages: Messages, thinks: bool = True) -> None:
    """https://inference-docs.cerebras.ai/api-reference/chat-completions"""
    # "property 'messages.2.assistant.reasoning_content' is unsupported", and so for any field that is not known
    _check_compatible(messages, {"reasoning"})
    _check_parts(messages, {"text", "image_url"}, {"text"})
    _check_calls(messages, ANY_ID, ANY_NAME)


def check_vllm(messages: Messages, thinks: bool = True) -> None:
    """The templates of Mistral, Gemma and Qwen as https://docs.vllm.ai serves them"""
    _check_compatible(messages, {"reasoning"}, names=True)
    _check_parts(messages, {"text", "image_url"}, {"text"})
    _check_calls(messages, ANY_ID, ANY_NAME)
    # It says 'After the optional system message, conversation roles must alternate user/assistant/user/assistant/...'
    _check_alternation(messages)
    # 'System message must be at the beginning.', and there is one
    assert all(message["role"] != "system" for message in messages[1:]), "a system message is not the first one"


def check_llama(messages: Messages, thinks: bool = True) -> None:
    """The template of Llama 3.1, meta-llama/Llama-3.1-8B-Instruct, tokenizer_config.json"""
    _check_fields(messages, system=PLAIN, user={*PLAIN, "name"}, assistant={*ANSWER, "name"}, tool=TOOL)
    _check_parts(messages, {"text"}, {"text"})
    _check_calls(messages, ANY_ID, ANY_NAME)
    for message in messages:
        # 'This model only supports single tool-calls at once!'
        assert len(message.get("tool_calls") or [None]) == 1, f"several calls: {message}"


DIALECT_CHECKS: dict[Any, Callable[..., None]] = {
    "openai": check_openai,
    "azure": check_openai,
    "gemini": check_gemini,
    "mistral": check_mistral,
    "deepseek": check_deepseek,
    "openrouter": check_openrouter,
    "groq": check_groq,
    "xai": check_xai,
    "moonshot": check_moonshot,
    "qwen": check_qwen,
    "perplexity": check_perplexity,
    "fireworks": check_fireworks,
    "cerebras": check_cerebras,
    "vllm": check_vllm,
    "llama": check_llama,
}


def check_strict(messages: Messages, thinks: bool = False) -> None:
    """All of them. What proves thinking is different for each, so the models do not think."""
    for check in DIALECT_CHECKS.values():
        check(messages, thinks=False)


def check_dialect(name: str, messages: Messages) -> None:
    """Asserts that the provider, or each of them for `strict`, would take these messages."""
    (check_strict if name == "strict" else DIALECT_CHECKS[name])(messages)


def _check_compatible(messages: Messages, answer: set[str] | None = None, *, names: bool = False) -> None:
    """The four roles, and the fields that all have."""
    name = {"name"} if names else set[str]()
    plain, said = PLAIN | name, ANSWER | name | (answer or set())
    _check_fields(messages, system=plain, user=plain, assistant=said, tool=TOOL)


def _check_fields(messages: Messages, **fields: set[str]) -> None:
    check_utf8(messages)
    check_pairs(messages)
    check_no_neighbours(messages)
    for place, message in enumerate(messages):
        role = message["role"]
        assert role in fields, f"messages[{place}]: unknown role {role!r}"
        assert set(message) <= fields[role], f"messages[{place}]: {sorted(set(message) - fields[role])}"
        assert "content" in message, f"messages[{place}] has no content"
        says = [message.get(field) for field in ("content", "tool_calls", "refusal", "function_call", "audio")]
        assert any(says) or role in ("tool", "function"), f"messages[{place}] says nothing: {message}"


def _check_parts(messages: Messages, user: set[str], assistant: set[str], marks: set[str] | None = None) -> None:
    for message in messages:
        content = message["content"]
        assert content is None or isinstance(content, str | list), f"content: {content!r}"
        assert content is not None or message["role"] == "assistant", f"null: {message}"
        kinds = {"user": user, "assistant": assistant}.get(message["role"], {"text"})
        for part in content if isinstance(content, list) else ():
            kind = part["type"]
            assert kind in kinds, f"{message['role']} has a part {kind!r}"
            assert set(part) <= {"type", kind, *(marks or ())}, f"a part has the fields {sorted(part)}"
            assert part[kind], f"a part is empty: {part}"


def _check_calls(
    messages: Messages,
    call_id: re.Pattern[str],
    name: re.Pattern[str],
    *,
    beside: set[str] | None = None,
    kinds: Sequence[str] = ("function",),
) -> None:
    for message in messages:
        for call in message.get("tool_calls", ()):
            kind = call["type"]
            assert kind in kinds, f"a call of a {kind}"
            assert set(call) <= {"id", "type", kind, *(beside or ())}, f"a call has the fields {sorted(call)}"
            check_matches(call_id, call["id"], "id")
            check_matches(name, call[kind]["name"], "name")
            if kind == "function":
                check_function(call["function"], "function")
            else:
                assert isinstance(call["custom"]["input"], str), f"input: {call['custom']}"


def _check_alternation(messages: Messages) -> None:
    """After system messages at the beginning, the user or tools and the assistant speak in turn."""
    spoken = [message["role"] for message in messages]
    while spoken and spoken[0] == "system":
        del spoken[0]
    assert "system" not in spoken, f"a system message comes after others: {spoken}"
    assert not spoken or spoken[0] == "user", f"it begins with {spoken[0]}"
    for one, other in pairwise(spoken):
        assert (one == "assistant") != (other == "assistant") or one == other == "tool", f"{other} after {one}"
