"""FakeProvider: what users hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from threading import Thread
from typing import Self

from turnlog.infrastructure.testing.answers import Reply, Request, Scripted
from turnlog.infrastructure.testing.playbook import Playbook
from turnlog.infrastructure.testing.server import HOST, Server


class FakeProvider:
    """A provider on loopback, for tests: `with` or `async with` it, and give `base_url` to an openai client, which may
    ask by Chat Completions or by Responses, or `anthropic_base_url` to one of the anthropic package.

    `answers` is the script, one entry a request, in order; a request too many is an error. A function instead is asked
    for the reply to every request. Without either each request gets a short answer that fits it: see `default_answer`.
    Any model name and API key will do. A script's function runs in a thread of the server's.

    `strict` refuses what real providers refuse, such as a tool call without its result, with 400 and their wording.
    `pace` is in seconds before each chunk of what has no `delay` of its own. `port` 0 is a free one. `on_reply` is
    called, in a thread of the server's, with each request and what answers it.

    When the script had no answer left, or a function in it raised, the client gets a 500 that says so and leaving the
    block raises it; where the block raises something else already, it becomes a note of that.
    """

    def __init__(
        self,
        answers: Iterable[Scripted] | Callable[[Request], Reply] | None = None,
        *,
        strict: bool = True,
        pace: float = 0.0,
        port: int = 0,
        on_reply: Callable[[Request, Reply], None] | None = None,
    ) -> None:
        """Raises ValueError for a recorded stream that is not there, TypeError for an entry that is no answer."""
        self._playbook = Playbook(answers, pace=pace, strict=strict, on_reply=on_reply)
        self._port = port
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self.close()
        self._playbook.raise_errors(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        await asyncio.to_thread(self.close)
        self._playbook.raise_errors(error)

    def start(self) -> None:
        """Starts to listen. Raises RuntimeError when it listens already, OSError when it cannot."""
        if self._server is not None:
            raise RuntimeError("the provider is already running")
        self._server = Server(self._playbook, self._port)
        Thread(target=self._server.serve_forever, args=(0.02,), name="fake-provider", daemon=True).start()

    def close(self) -> None:
        """Stops listening and breaks off what is still being sent. A second close does nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def base_url(self) -> str:
        """What a client is given, `http://127.0.0.1:PORT/v1`. Raises RuntimeError when it does not listen."""
        if self._server is None:
            raise RuntimeError("the provider is not running")
        return f"http://{HOST}:{self._server.port}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """The same for a client of Anthropic's API, which puts the version into the path itself."""
        return self.base_url.removesuffix("/v1")

    @property
    def requests(self) -> list[Request]:
        """The requests for an answer so far, refused ones too, in order: dicts as their JSON was, with `headers`."""
        return list(self._playbook.requests)

    @property
    def disconnects(self) -> int:
        """How many clients went away before their answer had ended."""
        return self._playbook.disconnects

    def add(self, *answers: Scripted) -> None:
        """Appends to the script. Raises ValueError and TypeError, as the constructor does."""
        self._playbook.add(answers)
