"""The page as it is served, and `turnlog ui`, which shows it to whoever has started it."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.served import app_of, as_user, asked
from tests.support.serving import serve
from turnlog import Session, SessionLog, Settings
from turnlog.infrastructure.server.app import turnlog_app
from turnlog.infrastructure.server.pages import DIST
from turnlog.infrastructure.server.serve_settings import ServeSettings
from turnlog.infrastructure.server.tokens import Token
from turnlog.projections.prompt import Api

SOON = 10


async def test_the_page_and_its_files_are_there_and_nothing_else_of_the_folder() -> None:
    app = turnlog_app(Settings(), ServeSettings())
    async with asked(app) as http:
        front = await http.get("/")
        named = re.findall(r'(?:src|href)="(page/[^"]+)"', front.text)
        assert sorted(f"page/{path.name}" for path in DIST.iterdir() if path.suffix != ".html") == sorted(named)
        for path in ("/", *(f"/{name}" for name in named)):
            found = await http.get(path)
            assert found.status_code == 200
            policy = found.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert (await http.get(path, headers={"if-none-match": found.headers["etag"]})).status_code == 304
        for path in ("/page/nothing.js", "/page/..%2fapp.py", "/page/%2e%2e/app.py"):
            assert (await http.get(path)).status_code == 404


def test_the_page_asks_no_other_host_and_runs_no_text_as_a_program() -> None:
    built = "".join(path.read_text("utf-8") for path in DIST.iterdir())
    hosts = set(re.findall(r"https?://[\w.-]+", built))
    assert hosts <= {"http://www.w3.org"}  # the namespaces of SVG and MathML
    assert "<script>" not in built
    assert not re.search(r"\beval\(|new Function\(", built)


async def test_a_server_that_only_shows_takes_nothing(log: SessionLog, session: Session) -> None:
    settings = ServeSettings(tokens=(Token.of("user:u1=one"),), is_read_only=True)
    async with asked(app_of(log, authenticate=settings.authenticate()), "one") as http:
        assert (await http.get(f"/sessions/{session.id}")).status_code == 200
        for refused in (
            await http.post("/sessions"),
            await http.post(f"/sessions/{session.id}/messages", json={"content": "Hello"}),
            await http.delete(f"/sessions/{session.id}"),
        ):
            assert (refused.status_code, refused.json()["type"]) == (403, "urn:turnlog:problem:read-only")
        assert (await http.post("/sessions", headers=as_user("nobody"))).status_code == 401


@pytest.mark.parametrize("api", ["chat", "anthropic", "responses"])
async def test_the_prompt_of_a_position_is_what_the_session_gave_then(
    http: httpx.AsyncClient, session: Session, at: str, api: Api
) -> None:
    then = dict[int, object]()
    for number in range(3):
        await session.say(f"Question {number}")
        async with session.completion() as completion:
            await completion.text(f"Answer {number}")
            await completion.finish("stop")
        then[(await session.view()).version] = await session.prompt(api)
    for position, prompt in then.items():
        given = await http.get(f"{at}/versions/{position}/prompt", params={"api": api})
        assert given.json() == prompt
    beyond = await http.get(f"{at}/versions/{max(then) + 1}/prompt", params={"api": api})
    assert (beyond.status_code, beyond.json()["field"]) == (422, "version")


def test_turnlog_ui_opens_a_browser_when_it_answers_and_only_shows(settings: Settings, tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser.py", tmp_path / "opened"
    browser.write_text(
        "import sys, urllib.request\n"
        "page = sys.argv[1]\n"
        "urllib.request.build_opener(urllib.request.ProxyHandler({})).open(page.partition('#')[0], timeout=5)\n"
        f"open({str(opened)!r}, 'w').write(page + ' ')\n"
    )
    with serve(settings, command="ui", BROWSER=f"{sys.executable} {browser} %s") as running:
        until = time.monotonic() + SOON
        while not (opened.exists() and opened.read_text().endswith(" ")):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert opened.read_text().strip() == running.said["page"]
        with running.client(running.said["token"]) as client:
            assert client.get("/sessions").json()["items"] == []
            assert client.post("/sessions").json()["type"] == "urn:turnlog:problem:read-only"
    writing = serve(settings, "--write", "--no-browser", command="ui")
    with writing as running, running.client(running.said["token"]) as client:
        assert client.post("/sessions").status_code == 201
