"""How a model is asked by each API: the method of the client, the arguments of a request, and the shape of tools.

Sources: platform.openai.com/docs/api-reference/chat/create and .../responses/create,
docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NamedTuple

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.values import JsonObject
from turnlog.projections.prompt import APIS, Api, check_api

MAX_TOKENS = 8_192
"""The tokens that an answer of Anthropic's API may have, which wants to be told: `extra` chooses another number."""


class ProviderApi(NamedTuple):
    """One API. `method` is where the client has it, `reserved` are the arguments that `arguments` makes of a prompt,
    `tool` is a function tool in its shape, made from one in that of Chat Completions."""

    method: tuple[str, ...]
    arguments: Callable[[Any], JsonObject]
    tool: Callable[[JsonObject], JsonObject]
    reserved: tuple[str, ...]
    defaults: JsonObject

    def create(self, client: Any) -> Callable[..., Any] | None:
        """The client's method that makes a stream; None if it has none."""
        found = reduce(lambda held, name: getattr(held, name, None), self.method, client)
        return found if callable(found) else None


def _chat(prompt: Any) -> JsonObject:
    return {"messages": prompt}


def _responses(prompt: Any) -> JsonObject:
    return {"input": prompt}


def _anthropic(prompt: Any) -> JsonObject:
    return prompt if prompt["system"] else {"messages": prompt["messages"]}


def _chat_tool(spec: JsonObject) -> JsonObject:
    return spec


def _responses_tool(spec: JsonObject) -> JsonObject:
    # The API takes a tool for a strict one that does not say otherwise, and then refuses most schemas.
    return {"type": "function", "parameters": None, "strict": False, **spec["function"]}


def _anthropic_tool(spec: JsonObject) -> JsonObject:
    function = dict(spec["function"])
    schema = function.pop("parameters", None) or {"type": "object", "properties": {}}
    return {**function, "input_schema": schema}


PROVIDER_APIS: dict[Api, ProviderApi] = {
    "chat": ProviderApi(
        ("chat", "completions", "create"),
        _chat,
        _chat_tool,
        ("messages",),
        {"stream_options": {"include_usage": True}},
    ),
    "responses": ProviderApi(("responses", "create"), _responses, _responses_tool, ("input",), {}),
    "anthropic": ProviderApi(
        ("messages", "create"), _anthropic, _anthropic_tool, ("messages", "system"), {"max_tokens": MAX_TOKENS}
    ),
}


def checked_provider_api(client: Any, api: Any) -> Api:
    """The API by which the client is asked: the one that is named, or else the first that the client has. Raises
    InvalidInputError."""
    if api is not None:
        check_api(api)
        if PROVIDER_APIS[api].create(client) is None:
            needed = ".".join(PROVIDER_APIS[api].method)
            raise InvalidInputError("client", f"cannot be asked by {api}: a {type(client).__name__} has no {needed}")
        named: Api = api
        return named
    found = next((name for name in APIS if PROVIDER_APIS[name].create(client) is not None), None)
    if found is None:
        wanted = "must be an AsyncOpenAI or an AsyncAnthropic"
        raise InvalidInputError("client", f"{wanted}: a {type(client).__name__} has no chat.completions")
    return found


class CalledTool(NamedTuple):
    """What the model calls, of an entry of a request's `tools`: the name, the schema of the arguments, and the fields
    that they stand in. Nothing of it has been checked."""

    name: Any
    field: str
    parameters: Any
    parameters_field: str


def called_tool(spec: Mapping[str, Any], field: str, api: Api) -> CalledTool | None:
    """What the model calls, of an entry in the shape of this API or of Chat Completions; None for a tool of the
    provider's own (a web search). Raises InvalidInputError."""
    kind = spec.get("type")
    if kind is None and api == "anthropic":
        return CalledTool(spec.get("name"), f"{field}.name", spec.get("input_schema"), f"{field}.input_schema")
    if not isinstance(kind, str):
        raise InvalidInputError(f"{field}.type", "must be a string")
    held = spec.get(kind)
    if isinstance(held, Mapping) and (kind == "function" or "name" in held):
        inside = f"{field}.{kind}"
        return CalledTool(held.get("name"), f"{inside}.name", held.get("parameters"), f"{inside}.parameters")
    if kind in ("function", "custom") and "name" in spec and api != "chat":
        schema = "parameters" if api == "responses" else "input_schema"
        return CalledTool(spec["name"], f"{field}.name", spec.get(schema), f"{field}.{schema}")
    if kind == "function":
        raise InvalidInputError(f"{field}.{kind}", "must be an object")
    return None
