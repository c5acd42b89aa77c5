"""Somebody who looks at the page, and somebody who writes what there is to look at."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

from tests.support.browsers import SOON, expect
from tests.support.chat_streams import delta, fragment

TOKEN = "the-token-of-the-page"
Json = dict[str, Any]
LINES = {"content-type": "application/x-ndjson"}
_FILES = re.compile(r"/|/page/[\w.]+")


class Talks:
    """Writes sessions over HTTP."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def begin(self, title: str, user_id: str = "u1") -> str:
        """A new session; its id."""
        return str(self._post("/sessions", json={"title": title, "user_id": user_id}).json()["session_id"])

    def say(self, session: str, text: str, role: str = "user") -> None:
        """A message."""
        self._post(f"/sessions/{session}/messages", json={"content": text, "role": role})

    def record(self, session: str, *chunks: Json) -> None:
        """A step."""
        self._post(f"/sessions/{session}/record", content="\n".join(map(json.dumps, chunks)), headers=LINES)

    def answer(self, session: str, *pieces: str) -> None:
        """A step that says something."""
        self.record(session, *(delta(content=piece) for piece in pieces), delta("stop"))

    def call(self, session: str, call_id: str, name: str, arguments: Json) -> None:
        """A step that calls a tool."""
        text = json.dumps(arguments)
        self.record(session, fragment(0, call_id, name, text[:5]), fragment(0, text=text[5:]), delta("tool_calls"))

    def result(self, session: str, call_id: str, content: str, status: str = "final") -> None:
        """The result of a call."""
        self._post(f"/sessions/{session}/tool-results", json={"call_id": call_id, "content": content, "status": status})

    def long(self, title: str, turns: int) -> str:
        """A session of so many turns."""
        said = [
            message
            for number in range(turns)
            for message in (
                {"role": "user", "content": f"Question {number}"},
                {"role": "assistant", "content": f"Answer {number}"},
            )
        ]
        wanted = {"messages": said, "format": "chat", "title": title, "user_id": "u1"}
        return str(self._post("/import", json=wanted).json()["session_id"])

    def get(self, path: str) -> Any:
        """What a route says."""
        answered = self.http.get(path)
        assert answered.status_code == 200
        return answered.json()

    def _post(self, path: str, **body: Any) -> httpx.Response:
        answered = self.http.post(path, **body)
        assert answered.status_code < 300, answered.text
        return answered


class Looking:
    """A tab with the page, and what has gone wrong on it."""

    def __init__(self, page: Any, talks: Talks) -> None:
        self.page = page
        self.talks = talks
        self.wrong = list[str]()
        self.asked = list[tuple[str, str]]()
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        page.on("request", lambda request: self.asked.append((request.method, request.url)))

    def open(self, place: str = "") -> None:
        """Comes with the address that is printed, and goes to a place."""
        self.page.goto(f"{self.talks.http.base_url}/#token={TOKEN}")
        self.page.get_by_role("navigation", name="Sessions").wait_for()
        if place:
            self.page.evaluate("place => { location.hash = place }", place)

    def part(self, name: str) -> Any:
        """A region of the page."""
        return self.page.get_by_role("region", name=name, exact=True)

    def at_rest(self) -> None:
        """Waits until the time line shows what belongs to its position."""
        expect(self.page.locator(".then [aria-busy=false]")).to_have_count(2, timeout=SOON)

    def strange_requests(self) -> list[tuple[str, str]]:
        """The requests that are no reads of a described route, and for no file of the page."""
        routes = self.talks.get("/openapi.json")["paths"]
        known = [re.sub(r"\{\w+\}", "[^/]+", path) for path, methods in routes.items() if "get" in methods]
        base = str(self.talks.http.base_url)

        def is_known(method: str, url: str) -> bool:
            path = url.removeprefix(base).partition("?")[0]
            found = any(re.fullmatch(one, path) for one in known) or _FILES.fullmatch(path)
            return (
                method == "GET" and url.startswith((base, "data:")) and (found is not None or url.startswith("data:"))
            )

        return [(method, url) for method, url in self.asked if not is_known(method, url)]
