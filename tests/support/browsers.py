"""The Chromium of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

SOON = 30_000
"""Milliseconds."""

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_MISSING = "no Chromium is installed" if _CHROMIUM is None else "make test-browser installs Playwright"
needs_chromium = pytest.mark.skipif(_CHROMIUM is None or find_spec("playwright") is None, reason=_MISSING)


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, while the block runs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox", "--no-proxy-server"])
        yield running
        running.close()


def expect(locator: Any) -> Any:
    """See Playwright."""
    from playwright.sync_api import expect as expected

    return expected(locator)
