"""Who asks, and of which log: what every route begins with."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Header, Path, Request
from starlette.exceptions import HTTPException

from turnlog.domain.errors import InvalidInputError, StoreError
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.follow.event_streams import EventStreams
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM, Principal, checked_principal
from turnlog.infrastructure.server.problems import FORBIDDEN, UNAUTHENTICATED, RefusedError
from turnlog.infrastructure.session import Session

logger = logging.getLogger("turnlog")

Authenticate = Callable[[Request], Principal | Awaitable[Principal | None] | None]
"""Says who asks: a user id, SYSTEM, or None for nobody. It may be async."""


class Question(NamedTuple):
    """What a page wants an answer to. `content` and `message_id` are those of a message of the user; None to go on with
    the turn, after results and decisions. `body` is what the page has sent, with fields of the application's own."""

    content: str | list[dict[str, Any]] | None
    message_id: str | None
    body: JsonObject


AnswerChat = Callable[[Session, Question], Any]
"""Answers a question: what it gives is an Answer, which is seen to have begun; an awaitable, which is awaited; or
nothing."""

_HERE = "turnlog.asked"


async def principal_of(authenticate: Authenticate, request: Request) -> Principal:
    """Who asks. Raises RefusedError for nobody, and where `authenticate` fails."""
    try:
        said: Any = authenticate(request)
        return checked_principal(await said if inspect.isawaitable(said) else said)
    except (HTTPException, StoreError):
        raise
    except InvalidInputError:  # None, or what is no user id
        pass
    except Exception:
        logger.exception("authenticate has failed")
    raise RefusedError(UNAUTHENTICATED)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes of one router share. `log` finds the open log, which may not be there yet when the router is
    made. `max_body_bytes` limits a body, and one line of a body that streams."""

    log: Callable[[Request], SessionLog]
    authenticate: Authenticate
    streams: EventStreams
    max_body_bytes: int
    answer: AnswerChat | None = None

    async def admit(self, request: Request) -> Asked:
        """Finds out who asks, before anything else of the request is read. Raises RefusedError for nobody."""
        asked = request.scope[_HERE] = Asked(self, self.log(request), await principal_of(self.authenticate, request))
        return asked


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of somebody who is known."""

    desk: Desk
    log: SessionLog
    principal: Principal

    @property
    def is_system(self) -> bool:
        """Whether the system asks."""
        return self.principal is SYSTEM

    def check_system(self, *wanted: object) -> None:
        """Raises RefusedError if a user asks for any of what only the system may."""
        if not self.is_system and (not wanted or any(one is not None for one in wanted)):
            raise RefusedError(FORBIDDEN)

    def owner(self, user_id: str | None) -> str | None:
        """Whose a new session is: the user's who asks, or the one that the system names."""
        if self.principal is SYSTEM:
            return user_id
        self.check_system(user_id)
        return self.principal


async def _asked(request: Request) -> Asked:
    asked: Asked = request.scope[_HERE]
    return asked


Asking = Annotated[Asked, Depends(_asked)]


async def _session(asking: Asking, session_id: Annotated[str, Path(description="The session's id.")]) -> Session:
    # Nothing is looked up here: whatever is asked of the session begins with whose it is.
    return asking.log.session(session_id, asking.principal)


Mine = Annotated[Session, Depends(_session)]

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Names the request: sent again under the same key it changes nothing. At most 255 characters.",
    ),
]
