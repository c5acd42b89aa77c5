"""How a function is called with the arguments of a model: its signature, as a pydantic model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from inspect import Parameter
from types import FunctionType, MethodType, SimpleNamespace, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from turnlog.domain.quoting import cut, quoted
from turnlog.domain.values import JsonObject, as_unicode
from turnlog.infrastructure.answer.tool_context import ToolContext
from turnlog.infrastructure.answer.tool_schema import schema_of

_ERRORS = 5
"""Faults of the arguments that a model is told of at once."""
_ERROR_LENGTH = 300
"""Characters of each."""
_DECIDED = (str, bool, int, float, type(None))
"""Values that are repeated in the words about them."""


class Arguments(NamedTuple):
    """Validated arguments: those of parameters by name, and others, where the function takes any (`**kwargs`)."""

    named: dict[str, Any]
    others: dict[str, Any]


class ToolSignature:
    """The parameters of a function that a model gives, and those that it does not see.

    Raises TypeError, in words, for a function that cannot be called with a JSON object, or whose annotations cannot be
    read.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        parameters = _parameters(function)
        _check_result(function)
        hints = _hints(function, parameters)
        contexts = {name for name, hint in hints.items() if _is_context(hint)}
        self._called = [one for one in parameters if one.kind is not Parameter.VAR_KEYWORD]
        self._given = {f"p{i}": one for i, one in enumerate(self._called) if one.name not in contexts}
        # What is not the model's to give must not come back as one of the `**kwargs`.
        self._reserved = {one.name for one in self._called} | _bound_keywords(function)
        rest = next((one for one in parameters if one.kind is Parameter.VAR_KEYWORD), None)
        self._model = _model(self._given, hints, rest)

    @cached_property
    def schema(self) -> JsonObject:
        """The JSON schema of the arguments. Raises TypeError, in words, if a type has none."""
        try:
            return schema_of(self._model)
        except Exception as error:  # types may bring code of their own
            raise TypeError(f"its parameters have no JSON schema: {_first_line(error)}") from error

    def parse(self, arguments: str) -> Arguments:
        """The arguments that a model wrote: a JSON object, or nothing at all. Raises ValueError for what does not fit
        (`faults_of` has its words), and whatever a validator raises."""
        model = self._model.__pydantic_validator__.validate_json(as_unicode(arguments).strip() or "{}")
        others = dict(model.model_extra or {})
        for name in others.keys() & self._reserved:
            raise ValueError(f"{name}: Extra inputs are not permitted")
        return Arguments({one.name: _value(model, field, one) for field, one in self._given.items()}, others)

    def bind(self, arguments: Arguments, context: ToolContext) -> tuple[list[Any], dict[str, Any]]:
        """The positional arguments and the keyword arguments for the function."""
        positional, named = list[Any](), dict[str, Any]()
        for one in self._called:
            value = arguments.named.get(one.name, context)
            if one.kind is Parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[one.name] = value
        return positional, named | arguments.others


_KNOWN: WeakKeyDictionary[FunctionType, dict[bool, ToolSignature]] = WeakKeyDictionary()
"""By function, and whether it is called as a method. It is a tool of many answers, and takes a millisecond to read."""


def signature_of(function: Callable[..., Any]) -> ToolSignature:
    """The signature of a function, read once. Raises as ToolSignature."""
    is_method = isinstance(function, MethodType)
    inner = function.__func__ if isinstance(function, MethodType) else function
    if not isinstance(inner, FunctionType):
        return ToolSignature(function)
    known = _KNOWN.setdefault(inner, {})
    if is_method not in known:
        known[is_method] = ToolSignature(function)
    return known[is_method]


def name_of(function: Any) -> str:
    """The name of the function, or of the class of a callable object."""
    inner = _without_partial(function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def description_of(function: Any) -> str | None:
    """The first paragraph of its docstring, on one line."""
    inner = _without_partial(function)
    own = inspect.getdoc(inner) if inspect.isroutine(inner) else type(inner).__call__.__doc__ or type(inner).__doc__
    first = inspect.cleandoc(own or "").partition("\n\n")[0]
    return " ".join(first.split()) or None


def is_async(function: Any) -> bool:
    """Whether a call of it makes a coroutine at once."""
    inner = _without_partial(function)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def faults_of(error: ValueError) -> str:
    """What is wrong with arguments, for the model that wrote them: short, and without what pydantic adds for people."""
    if not isinstance(error, ValidationError):
        return cut(str(error), _ERROR_LENGTH)
    faults = error.errors(include_url=False, include_context=False)
    more = [f"and {len(faults) - _ERRORS} more"] if len(faults) > _ERRORS else []
    return "; ".join([cut(_fault(one), _ERROR_LENGTH) for one in faults[:_ERRORS]] + more)


def _fault(fault: Any) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{cut(step)}" for step in fault["loc"]).lstrip(".")
    value = fault["input"]
    given = f" (given: {quoted(value)})" if path and isinstance(value, _DECIDED) else ""
    return f"{path}: {fault['msg']}{given}" if path else str(fault["msg"])


def _check_result(function: Any) -> None:
    inner = _without_partial(function)
    for one in (inner, inspect.unwrap(inner), type(inner).__call__):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError("it is a generator: a tool returns one result")


def _parameters(function: Callable[..., Any]) -> Sequence[Parameter]:
    """Those that are still to be given."""
    if inspect.isclass(_without_partial(function)):
        raise TypeError("it is a class: give an instance with `__call__`, or a function")
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError, NameError) as error:
        raise TypeError(f"its signature cannot be read: {_first_line(error)}") from error
    for one in found:
        if one.kind is Parameter.VAR_POSITIONAL:
            raise TypeError(f"`*{one.name}` cannot be given by a model, whose arguments all have names")
    return [one for one in found if one.name not in _bound_keywords(function)]


def _hints(function: Callable[..., Any], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The annotations of the parameters, evaluated. That of the result may name what only type checkers import."""
    inner = inspect.unwrap(_code_of(function))
    written = SimpleNamespace(
        __annotations__={one.name: one.annotation for one in parameters if one.annotation is not Parameter.empty}
    )
    try:
        return get_type_hints(written, getattr(inner, "__globals__", {}), dict(_closure(inner)), include_extras=True)
    except Exception as error:  # an annotation is any expression
        raise TypeError(
            f"its annotations cannot be read: {_first_line(error)} "
            "(a type must be imported at run time, and not be local to another function)"
        ) from error


def _closure(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function uses of the one around it."""
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(function.__code__.co_freevars if cells else (), cells, strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # it has no value yet
            continue


def _model(given: dict[str, Parameter], hints: dict[str, Any], rest: Parameter | None) -> type[BaseModel]:
    """The arguments as a model. Its fields have names of their own, and those of the parameters as aliases: a parameter
    may be named like a method of pydantic's, or begin with an underscore."""
    fields: dict[str, Any] = {
        field: (
            Annotated.__class_getitem__((hints.get(one.name, Any), Field(alias=one.name))),  # type: ignore[attr-defined]
            ... if one.default is Parameter.empty else one.default,
        )
        for field, one in given.items()
    }
    try:
        model = create_model("arguments", __base__=_base(hints.get(rest.name, Any) if rest else None), **fields)
        model.model_rebuild()
    except Exception as error:  # types may bring code of their own
        raise TypeError(f"its parameters cannot be read from JSON: {_first_line(error)}") from error
    return model


def _base(others: Any) -> type[BaseModel]:
    """`others`: the type of what `**kwargs` takes, or None if there is no such parameter."""
    if others is None:
        return _Closed
    content = {"__annotations__": {"__pydantic_extra__": dict[str, others]}, "__module__": __name__}
    return type("open", (BaseModel,), content | {"model_config": ConfigDict(extra="allow")})


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _value(model: BaseModel, field: str, parameter: Parameter) -> Any:
    # A default is passed on as it is: pydantic would copy it, and a function may ask whether it is the very same.
    if field in model.model_fields_set or isinstance(parameter.default, FieldInfo):
        return model.__dict__[field]
    return parameter.default


def _is_context(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return any(isinstance(one, type) and issubclass(one, ToolContext) for one in options)


def _without_partial(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return function


def _bound_keywords(function: Any) -> set[str]:
    """What `functools.partial` has given already, and the model must not give instead."""
    return set(function.keywords) if isinstance(function, partial) else set()


def _code_of(function: Any) -> Any:
    """The function behind a partial, a method or a callable object."""
    inner = _without_partial(function)
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    return getattr(inner, "__func__", inner)


def _first_line(error: Exception) -> str:
    return cut(str(error).partition("\n")[0], _ERROR_LENGTH)
