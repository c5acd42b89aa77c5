"""Where sessions stand: whose a session is, and its last event. It is asked for many sessions at once.

Nothing is done with a session before it is known whose it is, and the question costs the same for every session. A
reader whose cached answer rests on that last event has nothing to read. The question is asked on the loop, on a wire of
its own: a thread for it would cost more than the answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from struct import Struct
from typing import NamedTuple
from uuid import UUID

import psycopg

from turnlog.infrastructure.store import arrays
from turnlog.infrastructure.store.alarm import Alarm
from turnlog.infrastructure.store.wire import Wire
from turnlog.infrastructure.tasks import spawned

logger = logging.getLogger("turnlog")

PARAMETER_TYPES = [arrays.ARRAY_OF[arrays.UUID], arrays.ARRAY_OF[arrays.INT8]]
_ARRAY_HEADER = 20
_ELEMENT = Struct(">iqqqB")
"""An element of the answer: its size after this number, three numbers, and whether a user id follows (see `standings`
in queries.sql)."""
_LENGTH = 4
_GONE, _NOBODYS, _SOMEBODYS, _UNLISTED = range(4)

REMEMBERED_OWNERS = 10_000


class Standing(NamedTuple):
    """`exists`: the session was started, and is not deleted. `user_id` is its owner (None: nobody). `position` and
    `commit_id` are those of its last event, 0 if it has none. `base_commit_id` is the commit id at the position that
    was asked for, -1 if there is no event."""

    exists: bool
    user_id: str | None
    position: int
    commit_id: int
    base_commit_id: int
    is_unlisted: bool = False
    """Whether there are events, and no line in the lists: they were copied without it. Then the events say whose it
    is."""


Question = tuple[UUID, int, float, asyncio.Future[Standing | None]]
"""The session, the base, when the answer is given up (of `time.monotonic`), and the answer."""


class Standings:
    """Asks in batches: while one batch is under way, the next one gathers. `timeout`: how many seconds a question
    waits for its answer."""

    def __init__(self, new_wire: Callable[[], Wire], timeout: float) -> None:
        self._new_wire = new_wire
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._deadline = Alarm(self._loop, self._give_up)
        self._first_until = math.inf  # when the deadline rings; of `time.monotonic`
        self._wire: Wire | None = None
        self._waiting: list[Question] = []
        self._under_way: list[Question] = []
        self._opening: asyncio.Task[None] | None = None
        self._is_closed = False
        self._owners: OrderedDict[UUID, str] = OrderedDict()

    def last_owner(self, session_id: UUID) -> str | None:
        """The owner that was found last; None if it was nobody, or if the session was not asked for lately. It may be
        another one by now: this allows nothing, and only says what is worth doing while the answer comes."""
        return self._owners.get(session_id)

    def ask(self, session_id: UUID, base: int = 0, since: float | None = None) -> asyncio.Future[Standing | None]:
        """Where the session stands, with the commit id at the position `base`. `since` is when the call began (of
        `time.monotonic`; None: now). None if Postgres does not say at once, or in time: `standing` of the store tries
        again."""
        answer: asyncio.Future[Standing | None] = self._loop.create_future()
        if self._is_closed:
            answer.set_result(None)
            return answer
        until = (time.monotonic() if since is None else since) + self._timeout
        if until < self._first_until:
            self._ring_at(until)
        self._waiting.append((session_id, base, until, answer))
        # Sent at once, because whoever asks has something to do until the answer comes.
        if not self._under_way:
            self._send()
        return answer

    def close(self) -> None:
        """Ends the connection. Whoever still waits is told None."""
        self._is_closed = True
        self._deadline.stop()
        if self._opening is not None:
            self._opening.cancel()
        if self._wire is not None:
            self._wire.close()
        self._answered(None, None)  # a task that is cancelled before its first step does nothing at all

    def _send(self) -> None:
        self._under_way, self._waiting = self._waiting, []
        if self._wire is None:
            self._wire = self._new_wire()
        if self._wire.is_open:
            self._send_on(self._wire)
        else:
            self._opening = spawned(self._open(self._wire), "asking for standings")

    async def _open(self, wire: Wire) -> None:
        try:
            await wire.open()
        except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
            logger.debug("no connection to ask for standings: %s", error)
            self._answered(None, None)
        else:
            self._send_on(wire)

    def _send_on(self, wire: Wire) -> None:
        asked = self._under_way
        try:
            if len(asked) == 1:  # nearly always
                ((session_id, base, _, _),) = asked
                parameters = [arrays.uuid(session_id.bytes), arrays.int8(base)]
            else:
                parameters = [arrays.uuids(one[0].bytes for one in asked), arrays.int8s(one[1] for one in asked)]
            wire.send(parameters, self._answered)
        except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
            logger.debug("standings could not be asked for: %s", error)
            self._answered(None, None)

    def _answered(self, value: bytes | None, _error: psycopg.Error | None) -> None:
        asked, self._under_way = self._under_way, []
        standings = parse_standings(value) if value else [None] * len(asked)
        for (session_id, _, _, answer), standing in zip(asked, standings, strict=True):
            if standing is not None:
                self._remember(session_id, standing)
            if not answer.done():
                answer.set_result(standing)
        if not self._waiting:
            return
        if self._is_closed:
            self._under_way, self._waiting = self._waiting, []
            self._answered(None, None)
        else:
            self._send()

    def _give_up(self) -> None:
        """Answers those whose time is over. The next one to ring for is the first of the others."""
        now, first = time.monotonic(), math.inf
        for _, _, until, answer in (*self._under_way, *self._waiting):
            if answer.done():
                continue
            if until <= now:
                answer.set_result(None)
            else:
                first = min(first, until)
        self._first_until = math.inf
        if first < math.inf:
            self._ring_at(first)

    def _ring_at(self, until: float) -> None:
        self._first_until = until
        self._deadline.set(self._loop.time() + until - time.monotonic())

    def _remember(self, session_id: UUID, standing: Standing) -> None:
        if not standing.exists or standing.user_id is None:
            self._owners.pop(session_id, None)
        elif self._owners.get(session_id) != standing.user_id:
            self._owners[session_id] = standing.user_id
            if len(self._owners) > REMEMBERED_OWNERS:
                self._owners.popitem(last=False)


def parse_standings(value: bytes) -> list[Standing]:
    """What the statement `standings` answers."""
    at, standings = _ARRAY_HEADER, list[Standing]()
    while at < len(value):
        length, position, commit_id, base_commit_id, kind = _ELEMENT.unpack_from(value, at)
        begin, at = at + _ELEMENT.size, at + _LENGTH + length
        user_id = value[begin:at].decode() if kind == _SOMEBODYS else None
        exists = kind in (_NOBODYS, _SOMEBODYS)
        standings.append(Standing(exists, user_id, position, commit_id, base_commit_id, kind == _UNLISTED))
    return standings
