"""The providers' own clients in Node go through the proxy."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.support.proxied import Proxied
from turnlog.testing import Answer, Failure, FakeProvider, ToolCall

PROGRAMS = Path(__file__).with_name("node")
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="no Node is installed"),
    pytest.mark.skipif(not (PROGRAMS / "node_modules").is_dir(), reason="`make test-node` installs the packages"),
]


async def test_conversations_with_tools_by_all_three_apis(proxy: Proxied, provider: FakeProvider) -> None:
    for number in range(6):
        provider.add(
            Answer("I look.", tool_calls=[ToolCall("weather", {"city": "Paris"})]), Answer(f"It is {number} C.")
        )
    provider.add(Failure(429))
    assert NODE is not None
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(NODE, str(PROGRAMS / "ask.mjs"), proxy.url, stdout=pipe, stderr=pipe)
    said, complaints = await asyncio.wait_for(running.communicate(), 60)
    assert running.returncode == 0, complaints.decode()
    assert json.loads(said) == {
        "heard": [f"It is {number} C." for number in range(6)],
        "refused": "RateLimitError 429",
    }
    *talks, refused = await proxy.sessions()
    assert len(talks) == 6
    for number, session in enumerate(talks):
        view = await session.view()
        assert [message["role"] for message in view.messages] == ["user", "assistant", "tool", "assistant"]
        assert view.messages[-1]["content"] == f"It is {number} C."
        assert not view.faults
    assert (await refused.view()).turns[-1].status == "failed"
