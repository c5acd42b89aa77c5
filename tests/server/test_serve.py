"""`turnlog serve` as a process: alone and as several, with a laptop's token and with others, and told to end in the
middle of streams."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from tests.support.served import as_user
from tests.support.serving import UP_SECONDS, Running, serve, wait_until_down
from tests.support.web_servers import free_port
from turnlog import SessionLog, Settings
from turnlog.infrastructure.cli.app import cli
from turnlog.infrastructure.embedded import Servers


def test_a_laptops_token_is_printed_once_and_streams_end_with_the_server(settings: Settings) -> None:
    with serve(settings) as running:
        token = running.said["token"]
        assert running.said["docs"] == f"{running.said['url']}/docs?token={token}"
        with running.client(token) as client:
            session = client.post("/sessions").json()["session_id"]
            assert client.get(f"/sessions/{session}", headers=as_user("x")).status_code == 401
            assert client.get(f"/sessions/{session}?token={token}", headers=as_user("")).status_code in (200, 401)
            assert httpx.get(f"{running.said['url']}/sessions?token={token}", trust_env=False).status_code == 200
            assert running.said["page"] == f"{running.said['url']}/#token={token}"
            assert "page/page.js" in client.get("/").text
            assert "openapi.json" in client.get("/docs").text
            assert client.get("/nowhere").json()["type"] == "urn:turnlog:problem:not-found"
            assert client.get("/health").json()["status"] == "ok"
            with client.stream("GET", f"/sessions/{session}/deltas", headers={"accept": "text/event-stream"}) as stream:
                rows = stream.iter_lines()
                assert next(rows).startswith("retry:")
                said = running.end()
                assert "event: end" not in list(rows)
        assert running.process.returncode in (0, -signal.SIGTERM)
        assert token not in said
        assert "Traceback" not in said


def test_several_processes_are_one_log_and_none_keeps_the_port_when_the_first_is_killed(settings: Settings) -> None:
    options = ("--workers", "2", "--token", "user:u1=one")
    with (
        serve(settings, *options, TURNLOG_SERVE_TOKENS="user:u2=two") as running,
        running.client("one") as client,
        running.client("two") as other,
    ):
        session = client.post("/sessions").json()["session_id"]
        for number in range(10):
            with running.client("one") as fresh:  # each connection may be taken by either process
                said = fresh.post(f"/sessions/{session}/messages", json={"content": f"{number}"})
                assert said.status_code == 201
        assert len(client.get(f"/sessions/{session}/messages").json()["messages"]) == 10
        assert other.get(f"/sessions/{session}").status_code == 404
        running.process.kill()
        wait_until_down(running.said["url"])


async def test_clients_of_a_process_that_is_killed_come_back_to_the_next_and_miss_nothing(
    log: SessionLog, settings: Settings
) -> None:
    session = await log.start_session(user_id="u1")
    await session.say("Hello", message_id="m-1")
    path, options = f"/sessions/{session.id}/deltas", ("--token", "user:u1=one")
    port = str(free_port())
    with serve(settings, *options, "--port", port) as running:
        client = httpx.AsyncClient(**as_client(running))
        clients = [asyncio.create_task(follow(client, path)) for _ in range(20)]
        async with session.completion() as completion:
            for number in range(10):
                await completion.text(f"{number} ")
            running.process.kill()
            running.process.wait()
            for number in range(10, 20):
                await completion.text(f"{number} ")
            starting = serve(settings, *options, "--port", port)
            await asyncio.to_thread(starting.__enter__)
            try:
                await completion.finish("stop")
                async with asyncio.timeout(UP_SECONDS):
                    every = await asyncio.gather(*clients)
            finally:
                await asyncio.to_thread(starting.__exit__, None, None, None)
                await client.aclose()
    last = (await session.view()).version
    assert every == [list(range(1, last + 1))] * 20


def as_client(running: Running) -> dict[str, Any]:
    headers = {**as_user("one"), "accept": "application/x-ndjson"}
    return {"base_url": running.said["url"], "headers": headers, "timeout": UP_SECONDS, "trust_env": False}


async def follow(client: httpx.AsyncClient, path: str) -> list[int]:
    """The positions that a client sees, which comes back with its last cursor until the turn has ended."""
    seen, cursor = list[int](), "0"
    while True:
        with suppress(httpx.TransportError):
            async with client.stream("GET", path, params={"after": cursor}) as response:
                async for line in response.aiter_lines():
                    said = json.loads(line)
                    if said["kind"] == "end":
                        return seen
                    if "cursor" in said:
                        cursor = said["cursor"]
                        seen.append(said["position"])
        await asyncio.sleep(0.05)


def refused(*options: str) -> str:
    ended = CliRunner().invoke(cli, ["serve", *options])
    assert ended.exit_code in (1, 2)
    return ended.output


def test_it_says_why_it_does_not_start() -> None:
    assert "loopback only" in refused("--host", "0.0.0.0")
    assert "trusted header" in refused("--trusted-header", "X-User")
    assert "no-such-file" in refused("--tokens-file", "no-such-file")


@pytest.mark.parametrize("program", ["from turnlog import turnlog_router", "import turnlog; turnlog.turnlog_router"])
def test_without_the_extra_it_is_said_what_to_install(program: str) -> None:
    without = "import sys; sys.modules['fastapi'] = None; "
    ended = subprocess.run([sys.executable, "-c", without + program], capture_output=True, text=True, check=False)
    assert re.search(r'ImportError: .*pip install "turnlog\[server\]"', ended.stderr)
    command = f"{without}from turnlog.infrastructure.cli import main; sys.argv = ['turnlog', 'serve']; main()"
    ended = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, 'pip install "turnlog[server]"' in ended.stderr) == (1, True)
    assert "Traceback" not in ended.stderr


def test_nothing_of_the_extra_is_imported_by_the_rest() -> None:
    program = (
        "import sys; sys.modules['fastapi'] = sys.modules['uvicorn'] = None; from turnlog import *; import turnlog"
    )
    program += "; turnlog.SessionLog; print('starlette' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


def test_pages_of_other_sites_may_ask_where_it_is_said(servers: Servers) -> None:
    from fastapi.testclient import TestClient

    from turnlog.infrastructure.server.app import turnlog_app
    from turnlog.infrastructure.server.serve_settings import ServeSettings

    preflight = {"origin": "https://app.example", "access-control-request-method": "POST"}
    for origins, allowed in (((), None), (("https://app.example",), "https://app.example")):
        app = turnlog_app(Settings(database_url=servers.database_url), ServeSettings(origins=origins))
        answered = TestClient(app).options("/sessions", headers=preflight)
        assert answered.headers.get("access-control-allow-origin") == allowed
