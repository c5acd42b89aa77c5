"""Each example is run as a reader would run it, against real servers and the fake provider."""

from __future__ import annotations

import subprocess
import sys

from tests.support.pages import ROOT
from turnlog.testing import FakeProvider


def run_example(name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_tool_loop_asks_again_after_its_tools(environment: None, provider: FakeProvider) -> None:
    printed = run_example("tool_loop.py", "What is the weather in Lisbon?")

    assert "The tools say: 21 C and clear in Lisbon" in printed
    first, second = provider.requests
    assert [message["role"] for message in first["messages"]] == ["user"]
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]
    assert second["messages"][-1]["content"] == "21 C and clear in Lisbon"


def test_the_projection_counts_and_can_be_rebuilt(environment: None) -> None:
    assert run_example("own_projection.py").splitlines()[-1].endswith("  2")

    rebuild = [sys.executable, "-m", "turnlog", "rebuild", "examples.own_projection:Questions"]
    done = subprocess.run(rebuild, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
