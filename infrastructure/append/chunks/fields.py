"""What is read of a provider's chunk, which is a model of its package, a dict, or another object.

A chunk may lack anything: the openai package builds its models without validation, so a "list" may be None and a "str"
may be a list.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import checked_short, checked_usage_object
from turnlog.domain.limits import MAX_JSON_DEPTH, MAX_KEY_LENGTH, MAX_NAME_LENGTH, PIECE_LENGTH
from turnlog.domain.quoting import cut
from turnlog.domain.values import JsonObject, json_copy
from turnlog.infrastructure.append.failures import said

logger = logging.getLogger("turnlog")


def json_object(value: Any, field: str) -> JsonObject:
    """A JSON object from a dict or a pydantic model. Raises InvalidInputError."""
    if hasattr(value, "model_dump"):
        try:
            value = _dumped(value)
        except Exception as error:  # it may have serializers of its own
            raise InvalidInputError(field, f"cannot be written as JSON: {cut(said(error))}") from error
    if not isinstance(value, dict):
        raise InvalidInputError(field, "must be a JSON object")
    copied: JsonObject = json_copy(value, field)
    return copied


def _dumped(value: Any) -> Any:
    """The fields of a model as its API names them."""
    if not isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    try:
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    except PydanticSerializationError:  # a lone surrogate, which we keep
        return value.model_dump(by_alias=True, exclude_unset=True, warnings=False)


def as_object(value: Any, field: str = "usage") -> JsonObject | None:
    """The same; None for anything that is no object, and for values that JSON does not have."""
    if not isinstance(value, dict) and not hasattr(value, "model_dump"):
        return None
    try:
        return checked_usage_object(json_object(value, field)) if field == "usage" else json_object(value, field)
    except InvalidInputError as error:
        logger.warning("what a provider sent is not recorded: %s", error)
        return None


def plain_object(fields: dict[str, Any], field: str) -> JsonObject:
    """What is said in these fields, as JSON: those that are None, or cannot be written, are left out."""
    plain = JsonObject()
    for key, value in fields.items():
        if isinstance(value, str) and _is_plain_key(key):
            plain[key] = value  # as nearly all are
        elif value is not None:
            with suppress_unwritable():
                plain |= json_object({key: plain_value(value)}, field)
    return plain


def _is_plain_key(key: Any) -> bool:
    return isinstance(key, str) and key.isascii() and len(key) <= MAX_KEY_LENGTH


def plain_value(value: Any, depth: int = 0) -> Any:
    """The value with dicts in the place of models and of other objects, as far as there are any."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain_value(item, depth + 1) for item in value] if depth <= MAX_JSON_DEPTH else list(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if not isinstance(value, dict) and hasattr(value, "__dict__"):
        value = {key: item for key, item in vars(value).items() if not key.startswith("_")}
    if isinstance(value, dict) and depth <= MAX_JSON_DEPTH:
        return {key: plain_value(item, depth + 1) for key, item in value.items()}
    return value


@contextmanager
def suppress_unwritable() -> Iterator[None]:
    """Has what JSON does not have left out, with a line in the log of the process."""
    try:
        yield
    except InvalidInputError as error:
        logger.warning("what a provider sent is not recorded: %s", error)


def fields_of(value: Any) -> Fields:
    """The fields of a dict, a model or another object, by name."""
    if isinstance(value, dict):
        return value
    if isinstance(value, BaseModel):
        # Not by attribute: asking a model for a field that it lacks takes longer than all else that is read of a chunk.
        extra = value.__pydantic_extra__
        return {**vars(value), **extra} if extra else vars(value)
    return _Attributes(value)


class _Attributes:
    """An object that is read like a dict."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def get(self, name: str) -> Any:
        return getattr(self._value, name, None)

    def keys(self) -> AbstractSet[str]:
        return {key for key in getattr(self._value, "__dict__", ()) if not key.startswith("_")}

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())


def items_of(fields: Fields) -> Iterator[tuple[str, Any]]:
    """The fields that are there, by name."""
    return ((key, fields.get(key)) for key in fields)


Fields: TypeAlias = dict[str, Any] | _Attributes


def text_of(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return "" if isinstance(value, list | dict) else str(value)


def short_text(value: Any, field: str, limit: int = MAX_NAME_LENGTH) -> str:
    return checked_short(text_of(value), f"chunk.{field}", limit)


def pieces_of(text: str) -> Sequence[str]:
    """The text in parts that are quickly stored; none for the empty text."""
    if len(text) <= PIECE_LENGTH:
        return (text,) if text else ()
    return [text[first : first + PIECE_LENGTH] for first in range(0, len(text), PIECE_LENGTH)]


def list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def arguments_of(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else text_of(value)
