"""The client for pages is served to whoever asks."""

from __future__ import annotations

import gzip

import httpx
from fastapi import FastAPI

from tests.support.served import app_of, as_user
from turnlog import SessionLog
from turnlog.infrastructure.server.client_files import MODULE, TYPES


async def test_a_page_gets_the_module_and_its_types_without_saying_who_it_is(http: httpx.AsyncClient) -> None:
    for name, kind, file in (("turnlog.js", "text/javascript", MODULE), ("turnlog.d.ts", "text/plain", TYPES)):
        got = await http.get(f"/{name}", headers=as_user(""))
        assert (got.status_code, got.content) == (200, file.read_bytes())
        assert got.headers["content-type"].partition(";")[0] == kind
        tag = got.headers["etag"]
        again = await http.get(f"/{name}", headers={"if-none-match": f'"other", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (await http.get(f"/{name}", headers={"if-none-match": '"other"'})).status_code == 200


async def test_an_application_has_it_under_its_own_prefix(log: SessionLog) -> None:
    outer = FastAPI()
    outer.mount("/log", app_of(log))
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://log") as http:
        assert (await http.get("/log/turnlog.js")).content == MODULE.read_bytes()


def test_the_module_is_small() -> None:
    assert len(gzip.compress(MODULE.read_bytes())) < 16_000
