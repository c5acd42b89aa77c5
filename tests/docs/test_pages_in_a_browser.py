"""The pages of the tutorial and of the example, in a Chromium."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from tests.support.browsers import SOON, chromium, expect, needs_chromium
from tests.support.pages import ROOT, blocks
from tests.support.roles import AS_APPLICATION, as_application
from tests.support.web_servers import WebServer, variables
from turnlog import Settings
from turnlog.infrastructure.embedded import Servers
from turnlog.testing import Answer, Failure, FakeProvider, ToolCall

pytestmark = needs_chromium

TUTORIAL = ROOT / "docs" / "tutorial.md"
SLOW = "A long answer. " * 40


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="module", params=["tutorial", "example"])
def chat(
    request: pytest.FixtureRequest, servers: Servers, provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    """The server of a page."""
    settings = Settings(
        database_url=servers.database_url, redis_url=servers.redis_url, database_schema=f"browser_{request.param}"
    )
    given = variables(settings, provider) | {"TURNLOG_LEASE_SECONDS": "1", "WEATHER_SECONDS": "1"}
    folder, command = ROOT, [sys.executable, "examples/fastapi_chat.py"]
    if request.param == "tutorial":
        folder, command = tmp_path_factory.mktemp("tutorial"), [sys.executable, "-m", "uvicorn", "chat:app"]
        (program,) = [block for block in blocks(TUTORIAL, "python") if "FastAPI(" in block.code]
        (folder / "chat.py").write_text(program.code.replace("sleep(3)", "sleep(1)"), "utf-8")
        (folder / "chat.html").write_text(blocks(TUTORIAL, "html")[0].code, "utf-8")
    with as_application(settings) if AS_APPLICATION else nullcontext(), WebServer(command, given, folder) as running:
        yield running


@pytest.fixture(scope="module")
def tool(chat: WebServer) -> str:
    """The tool that the page's server has."""
    return "get_tide" if "Try again</button>" in chat.client.get("/").text else "get_weather"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Any, chat: WebServer) -> Iterator[Any]:
    """An open page, on which nothing has gone wrong."""
    opened = browser.new_page()
    opened.set_default_timeout(SOON)
    wrong = list[str]()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(chat.url)
    yield opened
    opened.close()
    assert wrong == []


def say(page: Any, text: str) -> None:
    page.locator("#text").fill(text)
    page.get_by_role("button", name="Send").click()


def see(page: Any, *texts: str) -> None:
    for text in texts:
        expect(page.locator("#chat")).to_contain_text(text, timeout=SOON)


def seen(page: Any) -> str:
    text: str = page.locator("#chat").inner_text()
    return text


def call(tool: str) -> Answer:
    argument = "harbour" if tool == "get_tide" else "city"
    return Answer(tool_calls=[ToolCall(tool, {argument: "Lisbon"})])


def test_a_page_shows_a_turn_as_it_grows_and_again_after_a_reload(
    page: Any, chat: WebServer, provider: FakeProvider, tool: str
) -> None:
    provider.add(call(tool), Answer("One two three four five six seven", delay=0.2), Answer("Eight."))
    say(page, "Count.")
    see(page, "Count.", tool, "Lisbon", "One two")
    page.reload()
    see(page, "One two three four five six seven")
    assert seen(page).count("One two") == seen(page).count("Count.") == 1
    say(page, "Go on.")  # on the same page, whose stream has ended, or ends, with the turn
    see(page, "Go on.", "Eight.")
    page.wait_for_timeout(500)
    requests = list[str]()
    page.on("request", lambda request: requests.append(request.url))
    page.wait_for_timeout(2500)
    assert requests == []  # a stream that has ended with its turn is not opened again


def test_a_second_message_stop_and_another_window(
    page: Any, browser: Any, chat: WebServer, provider: FakeProvider, tool: str
) -> None:
    provider.add(call(tool), Answer(SLOW, delay=0.05))
    say(page, "First.")
    see(page, tool)
    say(page, "Second.")
    see(page, "Second.", "A long answer.")
    assert "Second." in str(provider.requests[-1]["messages"])
    other = browser.new_page()
    other.goto(page.url)
    see(other, "First.", "Second.", "A long answer.")
    other.get_by_role("button", name="Stop").click()
    see(page, "stopped: the user pressed stop")
    see(other, "stopped: the user pressed stop")
    other.close()


def test_a_turn_that_has_failed_is_tried_again(page: Any, chat: WebServer, provider: FakeProvider) -> None:
    provider.add(Failure(404, message="no such model"), Answer("Here I am."))
    say(page, "Are you there?")
    see(page, "failed", "no such model")
    page.get_by_role("button", name="Try again").click()
    see(page, "Here I am.")
    assert seen(page).count("Are you there?") == 1


def test_a_call_is_allowed_and_another_one_refused_by_a_button(
    page: Any, chat: WebServer, provider: FakeProvider, tool: str
) -> None:
    if tool == "get_tide":
        pytest.skip("the tutorial has no tool that asks")
    umbrella = Answer(tool_calls=[ToolCall("buy_umbrella", {"colour": "red"})])
    provider.add(umbrella, Answer("It will come."), umbrella, Answer("As you like."))
    say(page, "An umbrella, please.")
    page.get_by_role("button", name="Allow").wait_for()
    page.reload()  # it waits for as long as it has to
    page.get_by_role("button", name="Allow").click()
    see(page, "allowed by u1", "a red umbrella is on its way", "It will come.")
    say(page, "And another one.")
    page.get_by_role("button", name="Refuse").click()
    see(page, "refused by u1", "As you like.")
    assert seen(page).count("is on its way") == 1
    assert page.get_by_role("button", name="Allow").count() == 0


def test_an_answer_that_its_server_did_not_finish_is_shown_once(
    page: Any, chat: WebServer, provider: FakeProvider
) -> None:
    provider.add(Answer("One two three four five six seven", delay=0.4), Answer("One two three."))
    say(page, "Count.")
    see(page, "One two")
    chat.stop()
    chat.start()
    see(page, "One two three.")
    assert seen(page).count("One two") == 1


def test_a_page_comes_back_to_the_server_that_follows_a_killed_one(
    page: Any, chat: WebServer, provider: FakeProvider, tool: str
) -> None:
    before = len(provider.requests)
    provider.add(call(tool), Answer("All is well."))
    say(page, "How is it?")
    see(page, tool, "Lisbon")
    chat.kill()
    say(page, "Are you still there?")  # while nobody listens
    chat.start()
    see(page, "Are you still there?", "All is well.")
    assert seen(page).count("Are you still there?") == 1
    assert len(provider.requests) - before in (2, 3)
