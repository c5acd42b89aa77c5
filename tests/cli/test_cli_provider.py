"""`turnlog provider`, run as a shell runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from click.testing import CliRunner

from turnlog.infrastructure.cli.app import cli
from turnlog.testing import FakeProvider, own_corpus

ASK: Any = [{"role": "user", "content": "Weather in Paris?"}]
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather"}}]


class Served(NamedTuple):
    """A running command and what it has printed: how to use it."""

    process: subprocess.Popen[str]
    first_line: str
    client: openai.OpenAI

    def stop(self) -> tuple[str, str]:
        """Ctrl-C; all that is left of its stdout and stderr."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=20)


@contextmanager
def served(*arguments: str) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-m", "turnlog", "provider", "--port", "0", "--pace", "0", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # No database is there, and none is needed.
        env={**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:1/nowhere", "REDIS_URL": "redis://127.0.0.1:1"},
        # Where the tests run in the background of a script, Ctrl-C is ignored, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no threads run here
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        with openai.OpenAI(base_url=json.loads(line)["base_url"], api_key="none", max_retries=0) as client:
            yield Served(process, line, client)
    finally:
        process.kill()
        process.communicate()


def said(client: openai.OpenAI, messages: Any = ASK, **options: Any) -> Any:
    return client.chat.completions.create(model="any", messages=messages, **options).choices[0].message


def test_it_answers_a_tool_loop_lists_requests_and_ends_with_ctrl_c() -> None:
    with served() as provider:
        assert list(json.loads(provider.first_line)) == ["base_url", "api_key"]
        calling = said(provider.client, tools=TOOLS)
        result = {"role": "tool", "tool_call_id": calling.tool_calls[0].id, "content": "21 C"}
        assert said(provider.client, [*ASK, calling, result], tools=TOOLS).content == "The tools say: 21 C"
        with pytest.raises(openai.BadRequestError):
            said(provider.client, [*ASK, calling])
        with pytest.raises(openai.NotFoundError):
            provider.client.embeddings.create(model="m", input="x")
        out, err = provider.stop()
    assert (out, provider.process.returncode) == ("", 0)
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in err.splitlines()]
    assert lines[:2] == ["any, whole, 1 message → get_weather({})", "any, whole, 3 messages → The tools say: 21 C"]
    assert lines[2].startswith("any, whole, 2 messages → 400 An assistant message with 'tool_calls' must be followed")
    assert lines[3:] == ["m, whole, 0 messages → 404 Unknown request URL: POST /v1/embeddings."]
    assert "\x1b" not in err


def test_it_plays_a_script_from_a_file(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    entries = [
        {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]},
        {"text": "21 C", "reasoning": "A number."},
        {"status": 429, "headers": {"retry-after": "1"}},
        {"stream": "plain-text", "fails_after": 2, "fails_with": {"message": "Overloaded"}},
    ]
    script.write_text(json.dumps(entries), "utf-8")
    with served("--script", str(script)) as provider:
        (call,) = said(provider.client).tool_calls
        assert call.function.arguments == '{"city": "Paris"}'
        assert said(provider.client).content == "21 C"
        with pytest.raises(openai.RateLimitError) as limited:
            said(provider.client)
        assert limited.value.response.headers["retry-after"] == "1"
        with pytest.raises(openai.InternalServerError, match="Overloaded"):
            said(provider.client)
        with pytest.raises(openai.InternalServerError, match="one more request than the script has answers"):
            said(provider.client)
        _, err = provider.stop()
    assert "→ recorded plain-text" in err


def test_it_plays_a_recorded_stream_from_a_file_every_time(tmp_path: Path) -> None:
    stream = next(each for each in own_corpus() if each.name == "refusal")
    file = tmp_path / "recorded.sse"
    file.write_bytes(b"".join(b"data: " + chunk + b"\n\n" for chunk in (*stream.chunks, b"[DONE]")))
    with served("--stream", str(file)) as provider:
        assert [said(provider.client).refusal[:5] for _ in range(2)] == ["I won"] * 2


def test_a_lenient_one_takes_what_a_strict_one_refuses() -> None:
    with served("--lenient") as provider:
        assert said(provider.client, [*ASK, {"role": "tool", "tool_call_id": "a", "content": "x"}]).content


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("{", "script: is not JSON"),
        ("{}", "script: is not a JSON list but a dict"),
        ('[{"text": "a"}, 5]', "script[1]: is not a JSON object but a int"),
        ('[{"txt": "a"}]', "script[0]: has unknown fields: txt"),
        ('[{"tool_calls": 5}]', "script[0]"),
        ('[{"tool_calls": [{"name": "a", "args": {}}]}]', "script[0]: has unknown fields: args"),
        ('[{"status": 500, "text": "a"}]', "script[0]: has unknown fields: text"),
        ('[{"tool_calls": [{"arguments": {}}]}]', "script[0].tool_calls.0.name: Field required"),
        ('[{"stream": "nowhere"}]', "no such stream: nowhere"),
    ],
)
def test_a_script_that_is_wrong_is_an_error_in_a_line(script: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text(script, "utf-8")
    done = CliRunner().invoke(cli, ["provider", "--port", "0", "--script", str(file)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_an_error_that_says_so() -> None:
    with FakeProvider() as first:
        port = first.base_url.split(":")[2].removesuffix("/v1")
        done = CliRunner().invoke(cli, ["provider", "--port", port])
    assert done.exit_code == 1
    assert done.stderr == f"Error: port {port} of 127.0.0.1: address already in use; --port 0 takes a free one\n"


def test_a_script_and_a_stream_exclude_each_other(tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.touch()
    done = CliRunner().invoke(cli, ["provider", "--script", str(file), "--stream", str(file)])
    assert done.exit_code == 2
    assert "--script and --stream exclude each other." in done.stderr


def test_its_module_imports_no_driver_and_no_client() -> None:
    heavy = {"openai", "httpx", "psycopg", "redis", "eventsourcing", "pydantic"}
    program = f"import sys, turnlog.infrastructure.cli.commands.provider; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
