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
    if not (hasattr(stream, "__aiter__") or hasattr(stream, "__await__")):
        reason = f"must be an async iterator, or an awaitable of one, not a {type(stream).__name__}"
        raise InvalidInputError("stream", reason)


async def opened_stream(stream: Any) -> AsyncIterator[Any]:
    """The stream. Raises what the provider raises, and InvalidInputError if it has answered with no stream."""
    opened: Any = stream if hasattr(stream, "__aiter__") else await stream
    if not hasattr(opened, "__aiter__"):
        reason = f"the awaitable gave a {type(opened).__name__} and no stream: ask with stream=True"
        raise InvalidInputError("stream", reason)
    return opened  # type: ignore[no-any-return]  # it may be anything that can be iterated


def is_client_closed(stream: Any) -> bool:
    """Whether this side has closed the provider's client: then the provider has not failed. The openai package has no
    other way from a stream to its client."""
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
