"""Nothing that a chunk says is missing from the log: each value of it is in the events, or its field is on the list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from tests.support.chat_streams import delta, events_of, fragment, step_of
from tests.support.real_data import needs_real_data, real_corpus
from turnlog.infrastructure.append.chunks.chat_fields import ENVELOPE
from turnlog.infrastructure.testing.corpus import Stream, own_corpus

Json = dict[str, Any]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values in a value that are no list and no object, each with where it stands."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    elif value is not None and value != "":
        yield path, value


def _of_choice_0(chunk: Json) -> Json:
    """The chunk without the choices that are not recorded."""
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return chunk
    return {**chunk, "choices": [choice for choice in choices if not choice.get("index")]}


def lost(chunks: list[Json]) -> list[tuple[str, Any]]:
    """What these chunks say that is neither in the events nor on the list."""
    stored = [json.loads(event.model_dump_json(exclude={"at"})) for event in events_of(chunks)]
    values = {repr(value) for _, value in _leaves(stored)}
    texts = "\0".join(str(value) for _, value in _leaves(stored))
    # What came in pieces is one text in the view; so is what halves of a character were.
    texts += "\0" + step_of(chunks).model_dump_json()
    return [
        (path, value)
        for chunk in chunks
        for path, value in _leaves(_of_choice_0(chunk))
        if not any(path == field or path.startswith(f"{field}.") for field in ENVELOPE)
        if repr(value) not in values and not (isinstance(value, str) and (value in texts or _escaped(value) in texts))
    ]


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


@pytest.mark.parametrize(
    "streams",
    [pytest.param(own_corpus(), id="own"), pytest.param(real_corpus(), id="real", marks=needs_real_data)],
)
def test_each_value_of_each_chunk_is_in_the_events_or_its_field_is_on_the_list(streams: list[Stream]) -> None:
    assert {stream.name: found for stream in streams if (found := lost(stream.parsed()))} == {}


def test_models_of_the_openai_package_lose_nothing_either() -> None:
    chunks = [
        delta(content="Hi", annotations=[{"type": "url_citation", "url_citation": {"url": "https://tides.example"}}]),
        {**delta(content=" there"), "service_tier": "flex", "x_vendor": {"queue": 0.5}},
        fragment(0, "call_1", "f", "{}", extra_content={"google": {"thought_signature": "SIG"}}),
        delta("tool_calls"),
    ]
    chunks[1]["choices"][0]["logprobs"] = {"content": [{"token": " there", "logprob": -0.25}], "refusal": None}

    models = [ChatCompletionChunk.construct(**chunk) for chunk in chunks]

    assert [event.model_dump() for event in events_of(models)] == [event.model_dump() for event in events_of(chunks)]
    assert lost(chunks) == []


def _opaque(chunks: list[Json]) -> Json:
    (part,) = [part for part in step_of(chunks).message.parts if part.kind == "opaque"]
    return part.data


def test_what_is_said_of_the_response_is_kept_once() -> None:
    chunks = [{**delta(content=word), "system_fingerprint": "fp_1", "provider": "Quay"} for word in ("a", "b", "c")]

    assert step_of(chunks).details == {"system_fingerprint": "fp_1", "provider": "Quay"}
    assert not [event for event in events_of(chunks) if event.topic.startswith("part-")]


def test_a_list_that_is_sent_again_and_longer_is_not_doubled() -> None:
    sources = [["https://a.example"], ["https://a.example"], ["https://a.example", "https://b.example"]]

    chunks = [{**delta(content="x"), "citations": urls} for urls in sources]

    assert _opaque(chunks)["of_chunk"]["citations"] == ["https://a.example", "https://b.example"]


def test_probabilities_are_pieces_also_where_two_are_the_same() -> None:
    chunks = [delta(content="ha"), delta(content="ha")]
    for chunk in chunks:
        chunk["choices"][0]["logprobs"] = {"content": [{"token": "ha", "logprob": -1.0}]}

    assert len(_opaque(chunks)["of_choice"]["logprobs"]["content"]) == 2


def test_the_text_of_an_unknown_field_of_a_delta_is_continued_and_a_mark_is_not() -> None:
    chunks = [
        delta(content="x", plan="First ", channel="analysis"),
        delta(content="y", plan="the tide", channel="analysis"),
        delta(content="z", plan=".", channel="final"),
    ]

    assert _opaque(chunks) == {"plan": "First the tide.", "channel": "final"}


def test_zero_and_false_say_something() -> None:
    step = step_of([delta(content="x"), {**delta(content="y"), "seed": 0, "cached": False}])
    assert step.details == {"seed": 0, "cached": False}


def test_a_role_that_is_not_the_assistants_is_kept() -> None:
    assert _opaque([delta(content="x"), delta(content="y", role="tool")]) == {"role": "tool"}


@pytest.mark.parametrize("first", [{"id": "audio_1"}, {"id": "audio_1", "transcript": ""}])
def test_what_is_said_in_audio_is_one_text(first: Json) -> None:
    sounds = [first, {"transcript": "High ", "data": "AA"}, {"transcript": "water", "data": "BB"}, {"expires_at": 9}]

    (part,) = step_of([*[delta(audio=sound) for sound in sounds], delta("stop")]).message.parts

    assert (part.kind, part.api) == ("audio", "chat")
    assert part.data == {"id": "audio_1", "transcript": "High water", "data": "AABB", "expires_at": 9}


def test_citations_are_one_part_and_each_is_there_once() -> None:
    cited = [{"type": "url_citation", "url_citation": {"url": f"https://{name}.example"}} for name in ("a", "b")]

    chunks = [delta(content="At six.", annotations=cited[:1]), delta(annotations=cited), delta("stop")]

    assert [(part.kind, part.data) for part in step_of(chunks).message.parts] == [
        ("text", {}),
        ("citation", {"annotations": cited}),
    ]


def test_each_image_is_a_part() -> None:
    images = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}} for data in ("AA", "BB")]

    parts = step_of([delta(images=images[:1]), delta(images=images), delta("stop")]).message.parts

    assert [(part.kind, part.data) for part in parts] == [("image", image) for image in images]


def test_parts_of_a_content_that_are_no_text_are_kept_as_they_are() -> None:
    reference = {"type": "reference", "reference_ids": [1, 2]}

    step = step_of([delta(content=[{"type": "text", "text": "At six"}, reference]), delta("stop", content=".")])

    assert step.message.content == "At six."
    assert [part.data for part in step.message.parts if part.kind == "citation"] == [reference]


def test_what_stands_beside_a_call_is_in_its_part() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "SIG"}}}

    chunks = [
        fragment(0, "call_1", "find", "{}", **signed),
        fragment(0, None, None, "", provider_specific_fields={"trace": 7}),
        fragment(1, "call_2", "find", "{}"),
    ]

    parts = step_of([*chunks, delta("tool_calls")]).message.parts
    assert [(part.kind, part.call, part.data) for part in parts] == [
        ("tool_call", 0, {**signed, "provider_specific_fields": {"trace": 7}}),
        ("tool_call", 1, {}),
    ]


def test_all_details_of_reasoning_are_kept_in_order_and_pieces_of_one_are_one() -> None:
    def text(piece: str, **more: Any) -> Json:
        return {"type": "reasoning.text", "text": piece, "format": "anthropic-claude-v1", "index": 0, **more}

    sealed = {"type": "reasoning.encrypted", "data": "ENC", "id": "c1", "format": "anthropic-claude-v1", "index": 1}
    chunks = [delta(reasoning=piece, reasoning_details=[text(piece)]) for piece in ("The tide ", "turns")]
    chunks += [delta(reasoning_details=[text("", signature="SIG")]), delta(reasoning_details=[sealed])]

    message = step_of([*chunks, delta("stop", content="At six.")]).message

    assert message.reasoning == "The tide turns"
    assert message.reasoning_details == (text("The tide turns", signature="SIG"), sealed)


def test_two_fields_with_other_reasoning_are_both_kept() -> None:
    step = step_of([delta(reasoning="one", reasoning_content="two"), delta("stop", content="x")])

    assert step.message.reasoning == "two"
    assert _opaque([delta(reasoning="one", reasoning_content="two"), delta("stop")]) == {"reasoning": "one"}
