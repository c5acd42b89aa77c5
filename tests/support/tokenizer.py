"""OpenAI's tokenizer. Its table is downloaded when it is first used; here it is that of a package, or of a folder."""

from __future__ import annotations

import gzip
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

TABLE = "fb374d419588a4632f3f557e76b4b70aebbca790"
"""The name under which tiktoken keeps the table of o200k_base, whose hash it checks."""


def o200k(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The encoding; skips the test where there is no tiktoken or no table. `folder` is for the unpacked table."""
    tiktoken = pytest.importorskip("tiktoken")
    package = importlib.util.find_spec("bpe_openai")
    if package is not None and package.origin is not None:
        packed = Path(package.origin).parent / "data" / "o200k_base.tiktoken.gz"
        (folder / TABLE).write_bytes(gzip.decompress(packed.read_bytes()))
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    elif not (Path(os.environ.get("TIKTOKEN_CACHE_DIR", "/nonexistent")) / TABLE).is_file():
        pytest.skip("tiktoken's table of o200k_base is not here")
    return tiktoken.get_encoding("o200k_base")
