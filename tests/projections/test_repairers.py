"""What other libraries mend of a history before they send it, they leave as it is in our prompts."""

from __future__ import annotations

import copy
import os
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.support.conversations import FOLDERS, conversations
from tests.support.histories import History, folded, imported, replayed
from tests.support.real_data import each_sample, evenly
from tests.support.strategies import histories
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import build_prompt

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

Messages = list[dict[str, Any]]
recorded_conversations = pytest.mark.parametrize("folder", FOLDERS)


def projectors(folder: Path, count: int) -> list[Projector]:
    chosen = evenly(conversations(folder, "valid"), count)
    return [folded(history(messages)) for messages in chosen for history in (imported, replayed)]


# litellm


def litellm() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network
    module = pytest.importorskip("litellm", reason="litellm is not installed: `make test-repairers` has it")
    module.modify_params = True
    return module


@each_sample
@recorded_conversations
def test_litellm_has_nothing_to_mend(folder: Path, count: int) -> None:
    litellm()
    from litellm.litellm_core_utils.prompt_templates.factory import sanitize_messages_for_tool_calling
    from litellm.utils import validate_and_fix_openai_messages

    for projector in projectors(folder, count):
        for dialect in (None, "mistral", "deepseek"):  # xai has an empty content, which Bedrock refuses
            prompt = build_prompt(projector.turns(), dialect=dialect)  # type: ignore[arg-type]
            assert sanitize_messages_for_tool_calling(copy.deepcopy(prompt)) == prompt
            fixed = validate_and_fix_openai_messages(copy.deepcopy(prompt))
            assert fixed == [{key: one for key, one in message.items() if one is not None} for message in prompt]


@each_sample
@recorded_conversations
def test_litellm_puts_nothing_between_the_messages_of_the_strict_prompt(folder: Path, count: int) -> None:
    litellm()
    from litellm.litellm_core_utils.prompt_templates.common_utils import (
        get_completion_messages,
        merge_consecutive_system_messages,
    )

    for projector in projectors(folder, count):
        prompt = build_prompt(projector.turns(), dialect="strict")
        if prompt and prompt[-1]["role"] == "assistant":
            continue  # it puts a user's message behind
        assert get_completion_messages(copy.deepcopy(prompt), None, None, ensure_alternating_roles=True) == prompt
        assert merge_consecutive_system_messages(copy.deepcopy(prompt)) == prompt


# openai-agents


def check_agents(projector: Projector) -> None:
    from agents.run_internal.items import deduplicate_input_items, normalize_resumed_input

    items = build_prompt(projector.turns(), "responses", projector.compaction)
    assert normalize_resumed_input(copy.deepcopy(items)) == items
    assert deduplicate_input_items(copy.deepcopy(items)) == items


def agents() -> None:
    pytest.importorskip(
        "agents.run_internal.items", reason="openai-agents is not installed: `make test-repairers` has it"
    )


@each_sample
@recorded_conversations
def test_openai_agents_has_nothing_to_mend(folder: Path, count: int) -> None:
    agents()
    for projector in projectors(folder, count):
        check_agents(projector)


@given(histories)
def test_openai_agents_has_nothing_to_mend_of_any_history(history: History) -> None:
    agents()
    check_agents(Projector(history[0].session_id).apply_all(history))


# pydantic-ai


def model_messages(prompt: Messages) -> list[Any]:
    """The prompt in pydantic-ai's messages: a request is all that comes before an answer."""
    from pydantic_ai import messages as m

    made = list[Any]()
    names = {call["id"]: call["function"]["name"] for one in prompt for call in one.get("tool_calls", ())}
    for is_answer, group in groupby(prompt, key=lambda one: one["role"] == "assistant"):
        parts = list[Any]()
        for one in group:
            if is_answer:
                parts += [m.TextPart(str(one["content"]))] if one["content"] else []
                parts += [
                    m.ToolCallPart(call["function"]["name"], call["function"]["arguments"], call["id"])
                    for call in one.get("tool_calls", ())
                ]
            elif one["role"] == "tool":
                parts.append(m.ToolReturnPart(names[one["tool_call_id"]], one["content"], one["tool_call_id"]))
            else:
                kind = m.UserPromptPart if one["role"] == "user" else m.SystemPromptPart
                parts.append(kind(str(one["content"])))
        made.append(m.ModelResponse(parts=parts) if is_answer else m.ModelRequest(parts=parts))
    return made


def check_pydantic_ai(projector: Projector) -> None:
    from pydantic_ai.messages import repair_messages

    messages = model_messages(build_prompt(projector.turns(), "chat", projector.compaction, dialect="deepseek"))
    assert repair_messages(copy.deepcopy(messages)) == messages


def pydantic_ai() -> None:
    module = pytest.importorskip(
        "pydantic_ai.messages", reason="pydantic-ai is not installed: `make test-repairers` has it"
    )
    if not hasattr(module, "repair_messages"):
        pytest.skip("this pydantic-ai has no repair_messages")


@each_sample
@recorded_conversations
def test_pydantic_ai_has_nothing_to_mend(folder: Path, count: int) -> None:
    pydantic_ai()
    for projector in projectors(folder, count):
        check_pydantic_ai(projector)


@given(histories)
def test_pydantic_ai_has_nothing_to_mend_of_any_history(history: History) -> None:
    pydantic_ai()
    check_pydantic_ai(Projector(history[0].session_id).apply_all(history))
