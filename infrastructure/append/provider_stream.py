"""A provider's stream, which may still be the awaitable that makes it: opened, looked at, and closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from turnlog.domain.errors import InvalidInputError

CLIENT_CLOSED = "the provider's client was closed"
CLOSING_SECONDS = 5.0
"""Seconds allowed for closing a provider's stream."""


def check_stream(stream: Any) -> None:
    """Raises InvalidInputError for what is neither a stream nor makes one."""
    if not any(hasattr(stream, name) for name in ("__aiter__", "__await__", "__aenter__")):
        reason = f"must be an async iterator, or an awaitable of one, not a {type(stream).__name__}"
        raise InvalidInputError("stream", reason)


async def opened_stream(stream: Any) -> AsyncIterator[Any]:
    """The stream. Raises what the provider raises, and InvalidInputError if it has answered with no stream."""
    opened: Any = stream if hasattr(stream, "__aiter__") or not hasattr(stream, "__await__") else await stream
    if not hasattr(opened, "__aiter__") and hasattr(opened, "__aenter__"):
        opened = _Entered(opened, await opened.__aenter__())
    if not hasattr(opened, "__aiter__"):
        reason = f"the awaitable gave a {type(opened).__name__} and no stream: ask with stream=True"
        raise InvalidInputError("stream", reason)
    return opened  # type: ignore[no-any-return]  # it may be anything that can be iterated


class _Entered:
    """A stream that a context manager gave, which is left when the stream is closed."""

    def __init__(self, manager: Any, stream: Any) -> None:
        self._manager = manager
        self._raw_stream = stream

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._raw_stream)

    async def aclose(self) -> None:
        await self._manager.__aexit__(None, None, None)


def is_client_closed(stream: Any) -> bool:
    """Whether this side has closed the provider's client: then the provider has not failed. The openai package has no
    other way from a stream to its client."""
    while (inner := getattr(stream, "_raw_stream", None)) is not None:
        stream = inner
    is_closed = getattr(getattr(stream, "_client", None), "is_closed", None)
    return callable(is_closed) and is_closed() is True


async def close_stream(stream: Any) -> None:
    """Closes a provider's stream, so that it stops generating and charging. Errors in closing are dropped, and a close
    that takes too long is given up."""
    # What was not awaited is closed, or cancelled, too.
    close = next((found for name in ("aclose", "close", "cancel") if (found := getattr(stream, name, None))), None)
    if close is None:
        return
    with suppress(Exception):
        closing = close()
        if hasattr(closing, "__await__"):
            async with asyncio.timeout(CLOSING_SECONDS):  # in this task: the stream's resources may be bound to it
                await closing
