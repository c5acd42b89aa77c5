"""Faults of the network between turnlog and its servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from tests.chaos.arena import Arena
from tests.chaos.kinds import Kind, add, kind
from tests.chaos.proxy import Cut, Proxy

_EXCHANGE_SECONDS = 0.3
_BRIEFLY = (0.01, 0.05)
_FOR_A_WHILE = (0.1, 0.3, 2.0)


@dataclass(frozen=True, slots=True)
class _Server:
    """A server that is behind a proxy, and by how many seconds its network may be late."""

    name: str
    delays: tuple[float, ...]

    def proxy(self, arena: Arena) -> Proxy:
        found: Proxy = getattr(arena.servers, f"to_{self.name.lower()}")
        return found


_POSTGRES = _Server("Postgres", (0.005, 0.02, 0.08))
_REDIS = _Server("Redis", (0.005, 0.05, 0.4))


async def _reset(arena: Arena, server: _Server) -> None:
    for _ in arena.times(1, 3):
        server.proxy(arena).reset_all()
        await arena.hold(*_BRIEFLY)


async def _closed(arena: Arena, server: _Server) -> None:
    server.proxy(arena).close_all()
    await arena.hold(*_BRIEFLY)


async def _black_hole(arena: Arena, server: _Server) -> None:
    rules = server.proxy(arena).rules
    rules.loses_requests = rules.loses_answers = True
    await arena.hold(*_FOR_A_WHILE)
    server.proxy(arena).reset_all()


async def _answers_lost(arena: Arena, server: _Server) -> None:
    server.proxy(arena).rules.loses_answers = True
    await arena.hold(*_FOR_A_WHILE)
    server.proxy(arena).reset_all()


async def _requests_held_up(arena: Arena, server: _Server) -> None:
    server.proxy(arena).rules.loses_requests = True
    await arena.hold(*_FOR_A_WHILE)


async def _delay(arena: Arena, server: _Server) -> None:
    server.proxy(arena).rules.delay = arena.rng.choice(server.delays)
    await arena.hold(*_FOR_A_WHILE)


async def _slow_drip(arena: Arena, server: _Server) -> None:
    server.proxy(arena).rules.drip = arena.rng.choice((1, 7, 40))
    await arena.hold(*_FOR_A_WHILE)


def _refuse(arena: Arena, server: _Server) -> None:
    server.proxy(arena).rules.refuses = True
    server.proxy(arena).reset_all()


async def _refused(arena: Arena, server: _Server) -> None:
    _refuse(arena, server)
    await arena.hold(*_FOR_A_WHILE)


async def _deaf(arena: Arena, server: _Server) -> None:
    server.proxy(arena).rules.is_deaf = True
    server.proxy(arena).reset_all()
    await arena.hold(*_FOR_A_WHILE)


def _cut(cut: Cut, *, appends: bool = False) -> Callable[[Arena, _Server], Awaitable[None]]:
    """Cuts a few exchanges."""

    async def inject(arena: Arena, server: _Server) -> None:
        for _ in arena.times(1, 4):
            await arena.run(partial(server.proxy(arena).cut_one, cut, appends=appends, seconds=_EXCHANGE_SECONDS))

    return inject


_Fault = tuple[str, str, Callable[[Arena, _Server], Awaitable[None]]]
_OF_ANY: list[_Fault] = [
    ("{}-reset", "every connection to {} is reset", _reset),
    ("{}-closed", "every connection to {} is closed, as by a server that ends", _closed),
    ("{}-black-hole", "nothing passes to or from {}, and the connections stay open", _black_hole),
    ("{}-answers-lost", "{} gets what is sent, and no answer comes back", _answers_lost),
    ("{}-requests-held-up", "nothing reaches {} for a while, and then all of it", _requests_held_up),
    ("{}-delay", "every piece to and from {} is late", _delay),
    ("{}-slow-drip", "what passes to and from {} comes in pieces of a few bytes", _slow_drip),
    ("{}-refused", "connections to {} are reset, and new ones refused", _refused),
    ("{}-deaf", "connections to {} are reset, and nobody answers new ones", _deaf),
    ("{}-half-request", "a request to {} is cut in the middle", _cut("half_request")),
    ("{}-half-answer", "half of an answer of {} arrives", _cut("half_answer")),
]
"""The name, what happens before a server, and how."""
_OF_APPENDS: list[_Fault] = [
    ("append-lost", "an append is lost before it reaches {}", _cut("request", appends=True)),
    ("append-answer-lost", "an append is committed, and its answer is lost", _cut("answer", appends=True)),
    ("append-half-answer", "half of the answer to an append arrives", _cut("half_answer", appends=True)),
]

for _server, _faults in ((_POSTGRES, _OF_ANY + _OF_APPENDS), (_REDIS, _OF_ANY)):
    for _name, _says, _inject in _faults:
        _at_server = partial(_inject, server=_server)
        add(Kind(_name.format(_server.name.lower()), "network", _says.format(_server.name), _at_server))


@kind("network", "Postgres and Redis are out of reach at the same time")
async def both_refused(arena: Arena) -> None:
    for server in (_POSTGRES, _REDIS):
        _refuse(arena, server)
    await arena.hold(*_FOR_A_WHILE)
