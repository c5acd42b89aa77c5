"""The tests that docs/how-to/testing.md shows run as they stand there, and its tables are true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import turnlog.testing
from turnlog import Settings
from turnlog.testing import Answer, Failure, Recorded, Request, ToolCall, own_corpus

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"
TEXT = PAGE.read_text("utf-8")

OPTIONS = ["-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]


def test_the_tests_of_the_page_pass(settings: Settings, tmp_path: Path) -> None:
    files = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for name, code in files:
        (tmp_path / name).write_text(code, "utf-8")
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "TURNLOG_DATABASE_SCHEMA": settings.database_schema,
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *OPTIONS, str(tmp_path)],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{3 + len(own_corpus())} passed" in done.stdout
    assert [name for name, _ in files] == ["handler.py", "test_handler.py", "test_shapes.py"]


ENTRIES = re.findall(r"^\| `(.*?)` \|", TEXT, re.MULTILINE)


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_of_the_table_is_one(entry: str) -> None:
    value = eval(entry, vars(turnlog.testing).copy())  # the page is ours
    reply = value(Request({"model": "m"})) if callable(value) else value
    assert isinstance(reply, Answer | Failure | Recorded)


def test_the_table_names_every_field_of_a_reply() -> None:
    assert len(ENTRIES) == 9
    fields = {name for kind in (Answer, Failure, Recorded, ToolCall) for name in kind.__dataclass_fields__}
    # The first arguments are shown by their values; the others of ToolCall and Recorded are those of Answer.
    missing = {name for name in fields - {"text", "status", "stream", "name", "arguments", "id"} if name not in TEXT}
    assert missing == set()
