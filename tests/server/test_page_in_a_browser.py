"""The page of `make serve`, which is made with `turnlog.js`, in a Chromium."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from tests.support.browsers import SOON, chromium, expect, needs_chromium
from tests.support.cutter import Cutter
from tests.support.pages import ROOT
from tests.support.roles import AS_APPLICATION, as_application
from tests.support.web_servers import WebServer, variables
from turnlog import Settings
from turnlog.infrastructure.embedded import Servers
from turnlog.testing import Answer, FakeProvider

pytestmark = needs_chromium
TOKEN = "printed"
COUNT = "One two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="module")
def chat(servers: Servers, provider: FakeProvider) -> Iterator[WebServer]:
    settings = Settings(database_url=servers.database_url, redis_url=servers.redis_url, database_schema="serve_browser")
    given = variables(settings, provider) | {"CHAT_TOKEN": TOKEN, "CHAT_DEMO": "no", "TURNLOG_LEASE_SECONDS": "1"}
    command = [sys.executable, str(ROOT / "examples" / "serve_chat.py")]
    with as_application(settings) if AS_APPLICATION else nullcontext(), WebServer(command, given) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def cutter(chat: WebServer) -> Iterator[Cutter]:
    with Cutter(int(chat.url.rpartition(":")[2])) as running:
        yield running


@pytest.fixture
def page(browser: Any, cutter: Cutter) -> Iterator[Any]:
    """An open page of a new tab, on which nothing has gone wrong."""
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(SOON)
    wrong = list[str]()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(f"{cutter.url}/#{TOKEN}")
    yield opened
    context.close()
    assert wrong == []


def say(page: Any, text: str) -> None:
    page.locator("#text").fill(text)
    page.get_by_role("button", name="Send").click()


def see(page: Any, *texts: str) -> None:
    for text in texts:
        expect(page.locator("#chat")).to_contain_text(text, timeout=SOON)


def check_once(page: Any, *texts: str) -> None:
    seen: str = page.locator("#chat").inner_text()
    assert [seen.count(text) for text in texts] == [1] * len(texts), seen


def test_an_answer_is_shown_as_it_grows_and_again_after_a_reload_in_its_middle(
    page: Any, provider: FakeProvider
) -> None:
    provider.add(Answer(COUNT, delay=0.2))
    say(page, "Count.")
    see(page, "Count.", "One two")
    assert "ten" not in page.locator("#chat").inner_text()
    page.reload()
    see(page, COUNT)
    check_once(page, "Count.", "One two")
    expect(page.locator("#list")).to_contain_text("Count.")


def test_an_answer_is_stopped(page: Any, provider: FakeProvider) -> None:
    provider.add(Answer(COUNT, delay=0.3))
    say(page, "Count slowly.")
    see(page, "One two")
    page.get_by_role("button", name="Stop").click()
    see(page, "stopped")
    page.wait_for_timeout(500)
    assert "ten" not in page.locator("#chat").inner_text()


def test_two_tabs_show_the_same(page: Any, provider: FakeProvider) -> None:
    provider.add(Answer(COUNT, delay=0.1), Answer("Eleven."))
    say(page, "Count for both.")
    see(page, "One two")
    other = page.context.new_page()
    other.goto(f"{page.url}#{TOKEN}")
    other.get_by_role("button", name="Count for both.").click()
    see(other, COUNT)
    say(other, "Go on.")
    for each in (page, other):
        see(each, "Go on.", "Eleven.")
        check_once(each, "Count for both.", "One two", "Go on.", "Eleven.")
    other.close()


def test_an_answer_whose_connection_is_cut_in_its_middle_goes_on_where_it_was(
    page: Any, cutter: Cutter, provider: FakeProvider
) -> None:
    provider.add(Answer(COUNT, delay=0.3))
    say(page, "Count over a bad line.")
    see(page, "One two")
    cutter.refuses = True
    cutter.cut()
    expect(page.locator("body.away")).to_be_attached(timeout=SOON)
    cutter.refuses = False
    see(page, COUNT)
    check_once(page, "Count over a bad line.", "One two", "ten")
    expect(page.locator("body.away")).not_to_be_attached(timeout=SOON)
    assert cutter.cuts


def test_a_page_comes_back_to_the_server_that_follows_a_killed_one(
    page: Any, chat: WebServer, provider: FakeProvider
) -> None:
    provider.add(Answer(COUNT, delay=0.5), Answer("Here I am again."))
    say(page, "Are you there?")
    see(page, "One two")
    chat.kill()
    expect(page.locator("body.away")).to_be_attached(timeout=SOON)
    chat.start()
    expect(page.locator("body.away")).not_to_be_attached(timeout=SOON)
    check_once(page, "Are you there?", "One two")
    say(page, "And now?")
    see(page, "And now?", "Here I am again.")
    check_once(page, "Are you there?", "And now?", "Here I am again.")
