"""What is counted of a prompt without a tokenizer: text nearly as a tokenizer does, the rest as providers document."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.conversations import conversations
from tests.support.histories import folded, imported
from tests.support.real_data import REAL_DATA, needs_real_data
from tests.support.tokenizer import o200k
from turnlog.projections.prompt import build_prompt, media_tokens
from turnlog.projections.prompt.image_size import image_size
from turnlog.projections.prompt.tokens import TOKENS_PER_MESSAGE, estimated_tokens, text_hundredths

Json = dict[str, Any]

COUNTED = json.loads((Path(__file__).parents[1] / "data" / "token_counts.json").read_text("utf-8"))
"""Texts of many kinds and languages, with the tokens that o200k_base makes of them."""


def estimated(text: str) -> float:
    return text_hundredths(text) / 100


# Text


@pytest.mark.parametrize("one", COUNTED, ids=[one["what"] for one in COUNTED])
def test_a_text_of_any_kind_is_counted_within_a_third(one: Json) -> None:
    assert one["tokens"] * 0.7 < estimated(one["text"]) < one["tokens"] * 1.33


def test_texts_are_counted_within_15_percent_on_average() -> None:
    assert mean(abs(estimated(one["text"]) / one["tokens"] - 1) for one in COUNTED) < 0.15


def texts_of(message: Json) -> Iterator[str]:
    content = message.get("content") or ""
    yield from [content] if isinstance(content, str) else [part["text"] for part in content if "text" in part]
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    for function in [*functions, *filter(None, [message.get("function_call")])]:
        yield function["name"]
        yield function["arguments"] if isinstance(function["arguments"], str) else json.dumps(function["arguments"])
    yield message.get("reasoning_content") or ""


@needs_real_data
def test_real_conversations_are_counted_within_15_percent_on_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding, errors, all_of_it, counted = o200k(tmp_path, monkeypatch), list[float](), 0, 0.0
    for name in ("valid", "valid_reused_ids", "pending_call_at_end", "invalid_as_recorded"):
        for messages in conversations(REAL_DATA / "conversations", name):
            texts = [text for message in messages for text in texts_of(message)]
            tokens = sum(map(len, encoding.encode_ordinary_batch(texts, num_threads=1)))
            estimate = sum(map(estimated, texts))
            errors += [abs(estimate / tokens - 1)] if tokens else []
            all_of_it, counted = all_of_it + tokens, counted + estimate
    assert len(errors) > 500
    assert mean(errors) < 0.06
    assert abs(counted / all_of_it - 1) < 0.03


def test_the_counts_of_the_texts_are_those_of_the_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = o200k(tmp_path, monkeypatch)
    assert [one["tokens"] for one in COUNTED] == [len(encoding.encode_ordinary(one["text"])) for one in COUNTED]


@given(st.text(), st.text())
def test_a_longer_text_has_no_fewer_tokens_and_two_texts_have_about_the_sum(one: str, other: str) -> None:
    both = text_hundredths(one + other)
    assert text_hundredths(one) <= both
    assert abs(both - text_hundredths(one) - text_hundredths(other)) <= 400


MESSAGES = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "type", "content", "input", "source", "image_url", "data", "file", "tool_calls"]),
        st.recursive(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(),
                st.text(),
                st.sampled_from(["data:image/png;base64,iVBO", *media_tokens.MEDIA_TOKENS]),
            ),
            lambda values: (
                st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["type", "data", "url", "x"]), values)
            ),
            max_leaves=6,
        ),
    ),
    max_size=3,
)


@given(MESSAGES, MESSAGES)
def test_whatever_the_messages_hold_each_adds_to_the_rest(some: list[Json], more: list[Json]) -> None:
    whole = estimated_tokens(some + more)
    assert whole >= max(estimated_tokens(some), TOKENS_PER_MESSAGE * len(some + more))
    assert abs(whole - estimated_tokens(some) - estimated_tokens(more)) <= 1


# Pictures


def png(width: int, height: int, size: int = 0) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(size)


def jpeg(width: int, height: int) -> bytes:
    preview = b"\xff\xe1" + struct.pack(">H", 9_002) + bytes(9_000)
    frame = b"\xff\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8" + preview + b"\xff\xdb\x00\x05\0\0\0" + b"\xff\x01" + frame


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(9)


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(body)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def webp_lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(9))


def webp_lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(9))


def webp_extended(width: int, height: int) -> bytes:
    return webp(b"VP8X", bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


PICTURES = [png, jpeg, gif, webp_lossy, webp_lossless, webp_extended]


@pytest.mark.parametrize("made", PICTURES)
@given(width=st.integers(1, 16_000), height=st.integers(1, 16_000))
def test_the_size_of_a_picture_is_in_its_first_bytes(
    made: Callable[[int, int], bytes], width: int, height: int
) -> None:
    assert image_size(made(width, height)) == (width, height)


@pytest.mark.parametrize("made", PICTURES)
def test_a_picture_that_is_cut_off_or_has_no_size_has_none(made: Callable[[int, int], bytes]) -> None:
    whole = made(640, 480)
    assert {image_size(whole[:length]) for length in range(len(whole))} <= {None, (640, 480)}
    assert image_size(whole[:20]) in (None, (640, 480))
    assert image_size(png(0, 9)) is None


@given(st.binary(), st.sampled_from([made(9, 9)[:12] for made in PICTURES]))
def test_any_bytes_have_a_size_or_none(data: bytes, head: bytes) -> None:
    image_size(head + data)
    image_size(data)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{encoded(data)}"


def chat_image(data: bytes, **detail: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url(data), **detail}}


def responses_image(data: bytes, **detail: str) -> Json:
    return {"type": "input_image", "image_url": url(data), **detail}


def anthropic_image(data: bytes) -> Json:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded(data)}}


WAV = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16) + bytes(319_964)


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (chat_image(png(1024, 1024)), 765),  # this and the next: OpenAI's own examples
        (chat_image(png(2048, 4096), detail="high"), 1105),
        (chat_image(png(4096, 8192), detail="low"), 85),
        (chat_image(png(100, 100)), 255),
        (chat_image(png(1024, 1024), detail="original"), 1024),
        (chat_image(b"no picture"), 765),
        ({"type": "image_url", "image_url": "https://example.com/a.png"}, 765),
        (responses_image(jpeg(1024, 1024), detail="auto"), 765),
        (responses_image(png(1024, 1024), detail="low"), 85),
        ({"type": "input_image", "file_id": "file-1"}, 765),
        (anthropic_image(png(200, 200)), 54),  # Anthropic's own examples
        (anthropic_image(png(1000, 1000)), 1334),
        (anthropic_image(webp_lossy(4000, 4000)), 1600),
        ({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}, 1600),
        ({"type": "input_audio", "input_audio": {"data": encoded(WAV), "format": "wav"}}, 100),
        ({"type": "input_audio", "input_audio": {"data": encoded(bytes(16_000)), "format": "mp3"}}, 20),
        ({"type": "file", "file": {"file_data": url(bytes(120_000), "application/pdf"), "filename": "a.pdf"}}, 9_000),
        ({"type": "file", "file": {"file_data": url(b"x" * 4_000, "text/plain")}}, 1_000),
        ({"type": "file", "file": {"file_id": "file-1"}}, 3_000),
        ({"type": "input_file", "file_data": url(bytes(20_000), "application/pdf"), "filename": "a.pdf"}, 3_000),
        ({"type": "input_file", "file_url": "https://example.com/a.pdf"}, 3_000),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 64}}, 3_000),
        ({"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}, 3_000),
        ({"type": "computer_screenshot", "image_url": url(png(1024, 768))}, 765),
        ({"type": "image_generation_call", "id": "ig_1", "result": encoded(png(1024, 1024))}, 765),
    ],
)
@pytest.mark.parametrize("place", ["message", "tool", "tool_result", "function_call_output"])
def test_pictures_audio_and_files_count_by_what_the_providers_document(part: Json, tokens: int, place: str) -> None:
    message: Json = {
        "message": {"role": "user", "content": [part]},
        "tool": {"role": "tool", "tool_call_id": "call_1", "content": [part]},
        "tool_result": {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [part]}],
        },
        "function_call_output": {"type": "function_call_output", "call_id": "call_1", "output": [part]},
    }[place]
    around = TOKENS_PER_MESSAGE * (2 if place == "tool_result" else 1)
    assert estimated_tokens([message]) == tokens + around


def test_a_document_of_texts_is_counted_as_its_texts() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Rome is a city. " * 50}
    blocks = {"type": "content", "content": [{"type": "text", "text": "Rome is a city. " * 50}]}
    counts = [
        estimated_tokens([{"role": "user", "content": [{"type": "document", "source": one}]}])
        for one in (source, blocks)
    ]
    assert all(220 < count < 290 for count in counts), counts


def test_only_the_beginning_of_a_picture_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = list[int]()
    decode = media_tokens.a2b_base64
    monkeypatch.setattr(media_tokens, "a2b_base64", lambda text: (decoded.append(len(text)), decode(text))[1])
    assert estimated_tokens([{"role": "user", "content": [chat_image(png(640, 480, 3_000_000))]}]) == 425 + 3
    assert decoded == [65_536]


def test_a_conversation_with_a_large_picture_fits_a_usual_window() -> None:
    picture = chat_image(png(1600, 1200, 1_000_000))
    messages = [
        {"role": "user", "content": "I am Ada."},
        {"role": "assistant", "content": "Hello, Ada."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]},
        {"role": "assistant", "content": "A harbour."},
        {"role": "user", "content": "Who am I?"},
    ]
    view = folded(imported(messages)).view()
    assert len(build_prompt(view.turns, max_tokens=4_000)) == 5
    prompt = build_prompt(view.turns, "anthropic", max_tokens=4_000)
    assert len(prompt["messages"]) == 5
    assert len(build_prompt(view.turns, "responses", max_tokens=4_000)) == 5


def test_signatures_and_ids_are_no_text() -> None:
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln" * 500}
    call = {"type": "tool_use", "id": "toolu_0123456789", "name": "find", "input": {"q": "Rome"}}
    assert estimated_tokens([{"role": "assistant", "content": [signed, call]}]) < 30
