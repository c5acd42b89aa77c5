"""The tools that an application gives to an answer."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import check_kind, checked_object, checked_optional_text
from turnlog.domain.quoting import quoted
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.answer.provider_apis import PROVIDER_APIS, called_tool
from turnlog.infrastructure.answer.tool_schema import strict_schema
from turnlog.infrastructure.answer.tool_signature import ToolSignature, description_of, name_of, signature_of
from turnlog.projections.prompt import Api

NeedsApproval = bool | Callable[[dict[str, Any]], bool]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Tool:
    """A function that a model may call, and how it is run.

    `function` is async, or plain: then it runs on a thread. Its name, its description (the first paragraph of the
    docstring) and the JSON schema of its arguments are read from it where they are not given. `timeout` is in seconds.
    `idempotent`: it may run again after a crash in which it had begun. `needs_approval`: it runs once somebody has
    agreed; True, or a function of the arguments (by name, validated) that says so for one call. `strict`: the provider
    holds the model to the schema.

    Without a function, the call is left for somebody else to answer, by `Session.add_tool_result`.

    What is wrong with a tool is said by the call that is given it, as InvalidInputError.
    """

    def __init__(
        self,
        function: Callable[..., Any] | None,
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
        needs_approval: NeedsApproval = False,
        strict: bool | None = None,
    ) -> None:
        self.function = function
        has_function = function is not None
        self.name = (name_of(function) if has_function else "") if name is None else name
        self.description = description_of(function) if has_function and description is None else description
        self.parameters = parameters
        self.timeout = timeout
        self.idempotent = idempotent
        self.needs_approval = needs_approval
        self.strict = strict

    @cached_property
    def signature(self) -> ToolSignature | None:
        """How the function is called; None without one. Raises TypeError, in words, if a model cannot call it."""
        return None if self.function is None else signature_of(self.function)

    @cached_property
    def spec(self) -> JsonObject:
        """The tool as an entry of `tools` in a Chat Completions request. Raises TypeError as `signature`."""
        function: JsonObject = {"name": self.name}
        if self.description:
            function["description"] = self.description
        schema = self._schema()
        if schema is not None:
            function["parameters"] = schema
        if self.strict is not None:
            function["strict"] = self.strict
        return {"type": "function", "function": function}

    def _schema(self) -> JsonObject | None:
        if self.parameters is not None:
            return checked_object(self.parameters, "parameters")
        if self.signature is None:
            return None
        schema = self.signature.schema
        return strict_schema(schema) if self.strict else schema


class Toolbox:
    """The tools of one answer, by name.

    `tools` holds functions, Tools, and entries of a request's `tools` as they are, which have no function here. Raises
    InvalidInputError that names the one which cannot be used. An entry for a function in the shape of Chat Completions
    is given the shape of the `api` that is asked.
    """

    def __init__(
        self, tools: Sequence[Tool | Callable[..., Any] | Mapping[str, Any]] | None = (), api: Api = "chat"
    ) -> None:
        self._api_name = api
        self._api = PROVIDER_APIS[api]
        self.specs: list[JsonObject] = []
        """What a request has as `tools`."""
        self._tools: dict[str, Tool] = {}
        for i, given in enumerate(_listed(tools)):
            self._add(given, f"tools[{i}]")

    @property
    def names(self) -> list[str]:
        """The names that a model can call."""
        return list(self._tools)

    @property
    def asks(self) -> bool:
        """Whether somebody may have to allow a call."""
        return any(tool.needs_approval is not False for tool in self._tools.values())

    def get(self, name: str) -> Tool | None:
        """The tool of this name; None if the model has made it up."""
        return self._tools.get(name)

    def _add(self, given: Any, field: str) -> None:
        if isinstance(given, Mapping):
            spec = checked_object(given, field)
            tool = _foreign(spec, field, self._api_name)
        else:
            tool = _checked(given if isinstance(given, Tool) else _tool(given, field), field)
            spec = tool.spec
        if tool is not None:
            if tool.name in self._tools:
                raise InvalidInputError(f"{field}.name", f"{quoted(tool.name)} is the name of another tool")
            self._tools[tool.name] = tool
        is_of_chat = isinstance(spec.get("function"), dict)
        self.specs.append(self._api.tool(spec) if is_of_chat else spec)


def _listed(tools: Any) -> Sequence[Any]:
    if tools is None:
        return ()
    if not isinstance(tools, Sequence) or isinstance(tools, str | bytes | bytearray):
        raise InvalidInputError("tools", f"must be a list, not {type(tools).__name__}")
    return tools


def _tool(value: Any, field: str) -> Tool:
    if not callable(value):
        raise InvalidInputError(field, f"must be a function, a Tool or an object, not {type(value).__name__}")
    return Tool(value)


def _foreign(spec: JsonObject, field: str, api: Api) -> Tool | None:
    """The tool of an entry that is given as it is. A provider's own tools (a web search) are called by no name."""
    called = called_tool(spec, field, api)
    if called is None:
        return None
    _check_name(called.name, called.field)
    parameters = called.parameters
    if parameters is not None:
        parameters = checked_object(parameters, called.parameters_field)
    return Tool(None, name=called.name, parameters=parameters)


def _checked(tool: Tool, field: str) -> Tool:
    if tool.function is not None and not callable(tool.function):
        raise InvalidInputError(f"{field}.function", f"must be a function, not {type(tool.function).__name__}")
    _check_name(tool.name, f"{field}.name")
    checked_optional_text(tool.description, f"{field}.description")
    check_kind(tool.idempotent, bool, f"{field}.idempotent")
    check_kind(tool.strict, bool | None, f"{field}.strict")
    _check_timeout(tool.timeout, f"{field}.timeout")
    _check_approval(tool.needs_approval, f"{field}.needs_approval")
    if tool.parameters is not None:
        checked_object(tool.parameters, f"{field}.parameters")
    try:
        _ = tool.signature, tool.spec
    except TypeError as error:
        raise InvalidInputError(f"{field}.function", f"{quoted(tool.name)} cannot be a tool: {error}") from error
    return tool


def _check_name(name: Any, field: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(field, f"{quoted(name)} is not 1 to 64 letters, digits, `_` and `-` of ASCII")


def _check_timeout(seconds: Any, field: str) -> None:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and 0 < seconds <= sys.float_info.max):
        raise InvalidInputError(field, f"{quoted(seconds)} is not a number of seconds above 0")


def _check_approval(rule: Any, field: str) -> None:
    # A coroutine is true whatever it would say, and who asks does not wait.
    if not isinstance(rule, bool) and (not callable(rule) or inspect.iscoroutinefunction(rule)):
        raise InvalidInputError(field, "must be True, False, or a plain function of the arguments")
