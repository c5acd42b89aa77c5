"""An estimate of a prompt's tokens, without a tokenizer.

Of text it counts what begins or lengthens a token in `o200k_base` and its like: words, long words, capitals inside,
punctuation, digits, lines, and by script the characters that have few tokens of their own. Every count is one pass of
C over the text. Images, audio and files are counted by the figures of the providers (`media_tokens.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from turnlog.projections.prompt.media_tokens import MEDIA_TOKENS

TOKENS_PER_MESSAGE = 3
"""Of each message, tool call and tool result, for what stands around it
(cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken)."""

_KINDS = {range(0x41, 0x5B): "A", range(0x61, 0x7B): "a", range(0x30, 0x3A): "0"}
_SCRIPTS = {
    range(0xC2, 0xC3): "s",  # signs of Latin-1
    range(0xC3, 0xCD): "l",  # Latin with marks
    range(0xCD, 0xD4): "c",  # Greek, Cyrillic
    range(0xD4, 0xE0): "h",  # Armenian, Hebrew, Arabic
    range(0xE0, 0xE1): "i",  # India, Thai
    range(0xE1, 0xE2): "v",  # Vietnamese, Georgian, Ethiopic
    range(0xE2, 0xE3): "s",  # signs, quotes, dashes
    range(0xE3, 0xE4): "j",  # kana
    range(0xE4, 0xEA): "k",  # Chinese characters
    range(0xEA, 0xEE): "g",  # Hangul
    range(0xEE, 0xF0): "s",  # full-width signs
    range(0xF0, 0x100): "e",  # emoji
}
"""By the first byte of a character in UTF-8."""


def _kind(byte: int) -> str:
    if byte in b"\r\n":
        return "n"
    if byte in b" \t\v\f":
        return " "
    return next((kind for bytes_, kind in (_KINDS | _SCRIPTS).items() if byte in bytes_), ".")


def _map(kinds: Mapping[str, str]) -> bytes:
    return bytes(ord(kinds.get(chr(kind), chr(kind))) for kind in range(256))


_CHARACTERS = bytes(ord(_kind(byte)) for byte in range(256))
_NO_FIRST_BYTES = bytes(range(0x80, 0xC0))
"""Without these a text has one byte a character."""
_ASCII = b"aA0n ."
_LETTERS = dict.fromkeys("aAlchiv", "a")
_WORDS = _map(_LETTERS | dict.fromkeys("0n.sjkge", " "))
_SIGNS = _map(dict.fromkeys("aAlchiv0n jkge", " ") | {"s": "."})

# What each adds, in hundredths of a token: fitted to conversations, code and short texts in thirty languages.
_WORD, _CAPITAL_INSIDE, _EIGHT_LETTERS, _TWO_CAPITALS = 90, 62, 95, 30
_RUN_OF_SIGNS, _TWO_SIGNS, _DIGIT, _LINE, _TWO_SPACES = 78, 50, 52, 62, 16
_OF_A_SCRIPT = {b"l": 70, b"c": 16, b"h": 17, b"i": 17, b"v": 25, b"s": 10, b"j": 86, b"k": 72, b"g": 66, b"e": 165}

_ENVELOPE = frozenset(
    {"type", "role", "id", "call_id", "tool_call_id", "tool_use_id", "detail", "status", "format", "media_type"}
    | {"cache_control", "prompt_cache_breakpoint", "is_error", "signature", "thought_signature", "extra_content"}
)
"""Fields that are no text for the model."""
_CALLS_AND_RESULTS = frozenset({"function", "custom", "tool_use", "server_tool_use", "tool_result"})


def estimated_tokens(messages: list[dict[str, Any]]) -> int:
    """The tokens of messages in the shape of any API, about: text within some 5 % of OpenAI's `o200k_base` on average;
    other tokenizers differ by more. Pictures, audio and files count by what the providers document, and never by the
    length of their data."""
    counted = sum(100 * TOKENS_PER_MESSAGE + _of_object(message) for message in messages)
    return counted // 100


def _of(value: Any) -> int:
    """Hundredths of a token of any JSON value."""
    if isinstance(value, str):
        return text_hundredths(value)
    if isinstance(value, list | tuple):
        return sum(map(_of, value))
    if isinstance(value, dict):
        return _of_part(value)
    return 0 if value is None else text_hundredths(str(value))


def _of_part(part: dict[str, Any]) -> int:
    kind = part.get("type")
    if isinstance(kind, str):
        if kind in MEDIA_TOKENS and (tokens := MEDIA_TOKENS[kind](part)) is not None:
            return 100 * tokens
        if kind in _CALLS_AND_RESULTS:
            return 100 * TOKENS_PER_MESSAGE + _of_object(part)
    return _of_object(part)


def _of_object(fields: dict[str, Any]) -> int:
    total = 0
    for name, value in fields.items():
        if name in _ENVELOPE:
            continue
        if isinstance(value, str) and _is_encrypted(name, fields):
            total += 100 * len(value) * 3 // 16  # base64 of what was text: four bytes of it are a token
        elif name == "input" and not isinstance(value, str):
            total += text_hundredths(_json(value))  # a model writes the arguments as JSON
        else:
            total += _of(value)
    return total


def _is_encrypted(name: str, fields: dict[str, Any]) -> bool:
    kinds = ("redacted_thinking", "reasoning.encrypted")
    return name == "encrypted_content" or (name == "data" and fields.get("type") in kinds)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def text_hundredths(text: str) -> int:
    """Hundredths of a token of a text. No text has fewer than its beginning."""
    characters = text.encode("utf-8", "surrogatepass").translate(_CHARACTERS, _NO_FIRST_BYTES)
    words = (b" " + characters).translate(_WORDS)
    signs = (characters + b" ").translate(_SIGNS)
    total = (
        _WORD * words.count(b" a")
        + _EIGHT_LETTERS * words.count(b"aaaaaaaa")
        + _CAPITAL_INSIDE * characters.count(b"aA")
        + _TWO_CAPITALS * characters.count(b"AA")
        + _RUN_OF_SIGNS * signs.count(b". ")
        + _TWO_SIGNS * signs.count(b"..")
        + _DIGIT * characters.count(b"0")
        + _LINE * characters.count(b"n")
        + _TWO_SPACES * characters.count(b"  ")
    )
    if text.isascii():
        return total
    others = characters.translate(None, _ASCII)
    return total + sum(weight * others.count(script) for script, weight in _OF_A_SCRIPT.items())
