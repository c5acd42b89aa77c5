"""The base of every frozen value, and text that may hold what JSON cannot.

Models emit NUL and lone surrogates: an emoji that a tokenizer cut in two arrives as two halves in two deltas. Both must
come back exactly. NUL is plain JSON. A lone surrogate is not Unicode text, so neither pydantic nor the text type of
Postgres accepts it. Values are therefore stored as bytes. A value with a surrogate is written and read by Python's own
json with the error handler `surrogatepass`, which keeps each half as it came.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sized
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticSerializationError, core_schema, to_jsonable_python

from turnlog.domain.errors import InvalidInputError, LimitExceededError
from turnlog.domain.limits import MAX_JSON_BITS, MAX_JSON_DEPTH, MAX_JSON_VALUES, MAX_KEY_LENGTH
from turnlog.domain.quoting import cut, quoted


class _AnyText:
    """Accepts every Python str; pydantic's own str refuses lone surrogates."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.json_or_python_schema(
            json_schema=core_schema.str_schema(), python_schema=core_schema.is_instance_schema(str)
        )


Text = Annotated[str, _AnyText]
JsonObject = dict[str, Any]


class Frozen(BaseModel):
    """An immutable value that round-trips through JSON, surrogates included."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        """The value as JSON in UTF-8, with `surrogatepass` if a text holds lone surrogates. What is computed from its
        fields is left out: it is computed again."""
        try:
            return self.__pydantic_serializer__.to_json(self, exclude_computed_fields=True)
        except PydanticSerializationError:
            return _json_bytes(self.model_dump(exclude_computed_fields=True))

    def to_short_json(self) -> bytes:
        """As `to_json`, without the fields that have their default: `from_json` fills those in. For values that are
        dropped when a default changes."""
        try:
            return self.__pydantic_serializer__.to_json(self, exclude_defaults=True, exclude_computed_fields=True)
        except PydanticSerializationError:
            return _json_bytes(self.model_dump(exclude_defaults=True, exclude_computed_fields=True))

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The value that `to_json` wrote. Raises ValueError (pydantic's ValidationError) for anything else."""
        try:
            return cls.__pydantic_validator__.validate_json(data)  # type: ignore[no-any-return]  # it is of this model
        except ValueError:
            if not _has_surrogate_bytes(data):
                raise
            return cls.model_validate(json.loads(data.decode("utf-8", "surrogatepass")))

    def model_dump_json(self, **options: Any) -> str:
        """As in pydantic, but a lone surrogate is written as a JSON escape and does not raise."""
        try:
            return super().model_dump_json(**options)
        except PydanticSerializationError:
            return json.dumps(self.model_dump(), default=to_jsonable_python, indent=options.get("indent"))

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As in pydantic, but reads the escapes that `model_dump_json` writes for lone surrogates, too."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValueError:
            if b"\\ud" not in (json_data.encode() if isinstance(json_data, str) else json_data).lower():
                raise
            return cls.model_validate(json.loads(json_data), **options)


def _json_bytes(dumped: dict[str, Any]) -> bytes:
    # The dump is not of mode="json", which turns dictionary keys into Unicode text.
    text = json.dumps(dumped, default=to_jsonable_python, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def _has_surrogate_bytes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


class JsonPath(NamedTuple):
    """Where a value stands. It is written out only for an error: keys may be long, and values many."""

    before: JsonPath | str
    step: Any

    def __str__(self) -> str:
        return f"{self.before}[{self.step}]" if isinstance(self.step, int) else f"{self.before}.{cut(self.step)}"


def json_copy(value: Any, field: str) -> Any:
    """A deep copy of a JSON value: dicts with str keys, lists, str, bool, int, finite floats, None.

    Raises InvalidInputError for anything else, with the path inside `field`, and LimitExceededError for what is nested
    too deep or has too many values.
    """
    return _Copier(field).copy(value, field, 0)


def check_json(value: Any, field: str) -> None:
    """Raises InvalidInputError, with the path inside `field`, if the value holds anything that is not JSON. It may be
    of any size and depth, and is not copied. Objects may be any mappings."""
    left = list[tuple[Any, JsonPath | str]]([(value, field)])
    while left:
        item, path = left.pop()
        if isinstance(item, dict) or isinstance(item, Mapping):  # noqa: SIM101 the second takes ten times as long
            if not all(isinstance(key, str) for key in item):
                raise InvalidInputError(str(path), "has a key that is not a string")
            left += ((inner, JsonPath(path, key)) for key, inner in item.items())
        elif isinstance(item, list | tuple):
            left += ((inner, JsonPath(path, index)) for index, inner in enumerate(item))
        elif item is not None and not isinstance(item, str | bool | int | float):
            raise InvalidInputError(str(path), f"a {type(item).__name__} is not JSON")


class _Copier:
    """Makes one copy, and counts its values."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._left = MAX_JSON_VALUES

    def copy(self, value: Any, path: JsonPath | str, depth: int) -> Any:
        if value is None or isinstance(value, str | bool):
            return value
        if isinstance(value, int | float):
            return _number(value, path)
        if depth > MAX_JSON_DEPTH:
            raise LimitExceededError(str(path), f"is nested deeper than {MAX_JSON_DEPTH} levels", MAX_JSON_DEPTH)
        if isinstance(value, dict):
            self._count(value)
            copied = {}
            for key, item in value.items():
                copied[_json_key(key, path)] = self.copy(item, JsonPath(path, key), depth + 1)
            return copied
        if isinstance(value, list | tuple):
            self._count(value)
            return [self.copy(item, JsonPath(path, index), depth + 1) for index, item in enumerate(value)]
        raise InvalidInputError(str(path), f"a {type(value).__name__} is not JSON")

    def _count(self, values: Sized) -> None:
        self._left -= len(values)
        if self._left < 0:
            raise LimitExceededError(self._field, f"has more than {MAX_JSON_VALUES:,} values", MAX_JSON_VALUES)


def _number(value: float, path: JsonPath | str) -> float:
    if isinstance(value, int):
        if value.bit_length() > MAX_JSON_BITS:
            raise LimitExceededError(str(path), f"has more than {MAX_JSON_BITS} bits", MAX_JSON_BITS)
    elif not math.isfinite(value):
        raise InvalidInputError(str(path), f"{value!r} is not a finite number")
    return value


def _json_key(key: Any, path: JsonPath | str) -> str:
    if not isinstance(key, str):
        raise InvalidInputError(str(path), f"key {quoted(key)} is not a string")
    if len(key) > MAX_KEY_LENGTH:
        reason = f"key {quoted(key)} has {len(key):,} characters, at most {MAX_KEY_LENGTH:,} are allowed"
        raise LimitExceededError(str(path), reason, MAX_KEY_LENGTH)
    if not is_unicode(key):
        raise InvalidInputError(str(path), f"key {quoted(key)} holds a lone surrogate")
    return key


def json_size(value: Any) -> int:
    """The size of a JSON value in bytes, as it is stored."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def is_unicode(text: str) -> bool:
    """Whether the text can be encoded, which means that it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_unicode(text: str) -> str:
    """The text as Unicode: two surrogates that form a pair are one character, any other is U+FFFD."""
    if text.isascii() or is_unicode(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def fingerprint(*parts: Any) -> str:
    """A short stable digest of JSON-like parts. It is equal for equal content, and so tells a retry from a change."""
    data = json.dumps(parts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(data.encode(), digest_size=16).hexdigest()


def merge_patch(target: JsonObject, patch: JsonObject) -> JsonObject:
    """The target after a JSON Merge Patch (RFC 7386): objects are merged, null removes a key, other values replace."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            current = merged.get(key)
            merged[key] = merge_patch(current if isinstance(current, dict) else {}, value)
        else:
            merged[key] = value
    return merged
