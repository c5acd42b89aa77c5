"""The corpus of recorded streams: its index is right, and each stream folds to what the index expects.

The fold here is written apart from the one under test, from the rules alone.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.real_data import needs_real_data, real_corpus
from turnlog.infrastructure.testing import Stream, load_streams, own_corpus

Json = dict[str, Any]

CORPUS = own_corpus()
SHAPES = {
    "tool_index_missing",
    "tool_first_id_empty",
    "tool_index_not_starting_at_0",
    "tool_same_index_new_id",
    "tool_id_repeated",
    "tool_name_repeated_same",
    "no_finish_reason",
    "tool_later_id_empty_string",
    "tool_name_empty_string",
    "role_null",
    "tool_arguments_null",
    "tool_arguments_key_missing",
    "several_tool_deltas_in_one_chunk",
    "tool_delta_and_finish_in_same_chunk",
    "text_after_tool_delta",
    "finish_stop_with_tool_calls",
    "finish_reason_repeated",
    "empty_choices_first",
    "delta_null_or_missing",
    "content_is_list",
    "chunk_id_changes",
    "message_beside_delta",
    "multi_choice",
    "error_line",
    "error_field_in_chunk",
    "reasoning_signature",
    "function_call_legacy",
    "refusal",
    "reasoning_content",
    "parallel_tool_calls",
    "arguments_object",
    "tool_other_id_without_name",
    "tool_name_continued",
    "nul",
    "lone_surrogate",
    "surrogate_pair_split",
}
each_stream = pytest.mark.parametrize("stream", CORPUS, ids=lambda stream: stream.name)


def test_the_index_and_the_files_of_the_corpus_agree() -> None:
    folder = Path(__file__).parents[1] / "data" / "streams"
    entries = json.loads((folder / "index.json").read_bytes())["streams"]
    assert [entry["file"] for entry in entries] == sorted(path.name for path in folder.glob("*.jsonl"))
    assert not (folder.is_symlink() and folder.readlink().is_absolute())
    assert [stream.chunks for stream in load_streams(folder)] == [stream.chunks for stream in CORPUS]


@each_stream
def test_an_entry_of_the_index_is_right_about_its_stream(stream: Stream) -> None:
    errors = [position for position, chunk in enumerate(stream.parsed()) if chunk.get("error")]
    assert errors == list(stream.error_line_indexes)
    assert stream.delays_ms is None or len(stream.delays_ms) == len(stream.chunks)


@each_stream
def test_a_stream_folds_to_what_is_expected(stream: Stream) -> None:
    assert folded(stream) == stream.expected


@needs_real_data
def test_the_recorded_streams_fold_to_what_is_expected() -> None:
    assert [stream.name for stream in real_corpus() if folded(stream) != stream.expected] == []


def test_every_shape_is_there() -> None:
    missing = SHAPES - {feature for stream in CORPUS for feature in stream.features}
    assert missing == set()


def folded(stream: Stream) -> Json:
    chunks = stream.parsed()
    choices = [choice for chunk in chunks for choice in chunk.get("choices") or ()]
    indexes = sorted({choice.get("index", 0) for choice in choices})
    by_index = {str(index): [each for each in choices if each.get("index", 0) == index] for index in indexes}
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    return {
        "choices": {index: folded_choice(mine) for index, mine in by_index.items()},
        "usage": usages[-1] if usages else None,
        "errors": [chunk["error"] for chunk in chunks if chunk.get("error")],
    }


def folded_choice(choices: list[Json]) -> Json:
    deltas = [choice.get("delta") or {} for choice in choices]
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    roles = [delta["role"] for delta in deltas if delta.get("role")]
    message = {"role": roles[0] if roles else "assistant", "content": joined([said(delta) for delta in deltas])}
    message |= {"refusal": joined([delta.get("refusal") for delta in deltas])}
    message |= {"reasoning": joined([thought(delta) for delta in deltas]) or None}
    message |= {"function_call": function_call(deltas), "tool_calls": tool_calls(deltas) or None}
    kept = {key: value for key, value in message.items() if value is not None or key == "content"}
    return {"message": kept, "finish_reason": reasons[-1] if reasons else None}


def joined(parts: list[str | None]) -> str | None:
    """The parts as one text, in which two halves of a surrogate pair have met."""
    texts = [part for part in parts if part is not None]
    whole = "".join(texts).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return whole if texts else None


def said(delta: Json) -> str | None:
    content = delta.get("content")
    if not isinstance(content, list):
        return content
    return joined([part["text"] for part in content if part["type"] == "text"])


def thought(delta: Json) -> str | None:
    if not isinstance(delta.get("content"), list):
        return delta.get("reasoning") or delta.get("reasoning_content")
    parts = [part for part in delta["content"] if part["type"] == "thinking"]
    return joined([inner["text"] for part in parts for inner in part["thinking"]])


def function_call(deltas: list[Json]) -> Json | None:
    parts = [delta["function_call"] for delta in deltas if delta.get("function_call")]
    return {key: joined([part.get(key) for part in parts]) for key in ("name", "arguments")} if parts else None


def tool_calls(deltas: list[Json]) -> list[Json]:
    calls: list[Json] = []
    for entry in (entry for delta in deltas for entry in delta.get("tool_calls") or ()):
        call = found(calls, entry)
        if call is None:
            calls.append(call := {"index": entry.get("index"), "id": None, "name": None, "arguments": ""})
        extend(call, entry)
    calls.sort(key=lambda call: call["index"] or 0)
    function = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    return [
        {"id": call["id"], "type": "function", "function": each} for call, each in zip(calls, function, strict=True)
    ]


def found(calls: list[Json], entry: Json) -> Json | None:
    call_id, name = entry.get("id"), entry["function"].get("name")
    if entry.get("index") is None:
        mine = [call for call in calls if not call_id or call["id"] == call_id]
        return mine[-1] if mine else None
    mine = [call for call in calls if call["index"] == entry["index"]]
    another = bool(mine and call_id and name and mine[-1]["id"] not in {None, call_id})
    return None if another or not mine else mine[-1]


def extend(call: Json, entry: Json) -> None:
    name, arguments = entry["function"].get("name"), entry["function"].get("arguments")
    call["id"] = call["id"] or entry.get("id") or None
    if name and name != call["name"] and not call["arguments"]:
        call["name"] = (call["name"] or "") + name
    call["arguments"] += json.dumps(arguments) if isinstance(arguments, dict) else arguments or ""
