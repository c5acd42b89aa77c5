"""What Redis answers instead of doing what it was asked: which kind of answer that is, and what to do about it.

A server that refuses is there. Most refusals are of one kind of call: a full server still reads, and a user who may run
no scripts may still listen. So each kind of call is paused by itself.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple

logger = logging.getLogger("turnlog")

Kind = Literal["read", "write", "publish", "subscribe"]

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds before a kind of call that was refused is tried again: twice as long each time."""
CALM_SECONDS = 60.0
"""Seconds without a refusal after which a kind of call counts as allowed again."""

NEEDED = (
    "getrange, evalsha, script|load, strlen, set, setrange, pexpire, unlink, publish, subscribe, unsubscribe, ping, "
    "hello, client|setinfo"
)
"""The commands of Redis that turnlog calls, also in its script."""
_EFFECTS: dict[Kind, str] = {
    "read": "views and prompts are read from Postgres",
    "write": "views and prompts are not cached, and followers hear of events by asking Postgres",
    "publish": "followers hear of events by asking Postgres",
    "subscribe": "followers hear of events by asking Postgres",
}
_CLUSTER = "REDIS_URL names a node of a cluster: turnlog needs a single server, or a proxy that looks like one"
_LOGIN = "it does not accept the user or the password: correct REDIS_URL"
_NO_LOGIN = "it wants a password: put it into REDIS_URL"
_OF_ALL = {
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
    "TRYAGAIN": _CLUSTER,
    "NOAUTH": _NO_LOGIN,
    "WRONGPASS": _LOGIN,
    "LOADING": "it still loads its data",
    "BUSY": "it runs a script that does not end: SCRIPT KILL ends it",
    "MASTERDOWN": "it is a replica whose primary is away",
    "MAXCLIENTS": "it takes no more connections: raise its maxclients",
}
"""The codes of answers that do not depend on what was asked, and what to do."""
_OF_A_KIND = {
    "OOM": "it is full and evicts nothing: set its maxmemory-policy to allkeys-lru, or raise its maxmemory",
    "READONLY": "it is a replica: let REDIS_URL name the primary",
    "MISCONF": "it cannot save to its disk: look there, or set its stop-writes-on-bgsave-error to no",
    "NOREPLICAS": "it has fewer replicas than its min-replicas-to-write",
    "NOPERM": f"its ACL does not allow it: the user needs {NEEDED}",
    "NOSCRIPT": "it forgets scripts: turnlog needs a single server, and SCRIPT LOAD",
    "UNKNOWN": f"it does not know one of the commands that turnlog needs: {NEEDED}",
}
WRONG_TYPE = "WRONGTYPE"
NO_CONNECTION = "NO CONNECTION"
"""No refusal of the server's: all connections that this process may have are in use."""
_BY_CLASS = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "TryAgainError": "TRYAGAIN",
    "ClusterCrossSlotError": "CROSSSLOT",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "BusyLoadingError": "LOADING",
    "MaxConnectionsError": NO_CONNECTION,
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
    "AuthorizationError": "WRONGPASS",
    "ExternalAuthProviderError": "WRONGPASS",
}
"""The driver's classes. It takes the code off the text of these, and older ones know fewer of them."""
_CODES = re.compile(rf"\b({'|'.join([*_OF_ALL, *_OF_A_KIND, WRONG_TYPE])})\b")
_TEXTS = {
    "authentication required": "NOAUTH",
    "client already authenticated": "NOAUTH",
    "unknown command": "UNKNOWN",
    "unknown redis command": "UNKNOWN",
    "can't run this command": "NOPERM",
    "no permission": "NOPERM",
    "max number of clients": "MAXCLIENTS",
    "too many connections": NO_CONNECTION,
}
"""Parts of answers without a code: where a script met a refusal, or the driver took the code off."""
_OTHER = "turnlog does not know this answer"


def refusal_code(error: BaseException | None) -> str | None:
    """The code of the answer that the driver raised as this. None if it is no answer: the server is away, or what it
    sends cannot be understood."""
    while error is not None:
        if (code := _code_of(error)) is not None:
            return code
        error = error.__cause__  # what is refused while the driver connects is the cause of a lost connection
    return None


def _code_of(error: BaseException) -> str | None:
    names = [kind.__name__ for kind in type(error).__mro__]
    text = str(error)
    for part, code in _TEXTS.items():
        if part in text.lower():
            return code
    for name in names:
        if name in _BY_CLASS:
            return _BY_CLASS[name]
    if "ResponseError" not in names and "RedisClusterException" not in names:
        return None
    found = _CODES.search(text)  # in front, or where a script met it
    return found[1] if found else "ERR"


@dataclass(slots=True)
class _Refused:
    code: str
    pause: float
    last: float


class Refusals:
    """Which kinds of calls are refused. Each code is logged once, whichever calls meet it, and once that it is over."""

    def __init__(self) -> None:
        self._refused: dict[Kind, _Refused] = {}
        self._logged: set[str] = set()

    def allows(self, kind: Kind) -> bool:
        """Whether this kind of call is worth a try now."""
        state = self._refused.get(kind)
        return state is None or time.monotonic() >= state.last + state.pause

    def refused(self, kind: Kind, code: str) -> None:
        """A call was refused."""
        state = self._refused.get(kind)
        # Calls that were under way together are one try.
        again = state is not None and time.monotonic() >= state.last + state.pause
        pause = FIRST_PAUSE if state is None else min(LAST_PAUSE, 2 * state.pause) if again else state.pause
        self._refused[kind] = _Refused(code, pause, time.monotonic())
        if code not in self._logged:
            self._logged.add(code)
            logger.warning("Redis refuses %s", _warning(kind, code))

    def allowed(self, kind: Kind) -> None:
        """A call was answered. A server that is full refuses a long value and takes the next, short one, so a refusal
        is over only after a calm time."""
        state = self._refused.get(kind)
        if state is None or time.monotonic() < state.last + max(state.pause, CALM_SECONDS):
            return
        del self._refused[kind]
        left = {other.code for other in self._refused.values()}
        if over := self._logged - left:
            logger.warning("Redis allows again what it refused (%s)", ", ".join(sorted(over)))
        self._logged &= left


def _warning(kind: Kind, code: str) -> str:
    said = refused((kind,), code)
    return f"{said.what}: {said.advice}; {said.effect} until it allows it"


class Said(NamedTuple):
    """What is refused, what to do about it, and how turnlog does without."""

    what: str
    advice: str
    effect: str


def refused(kinds: Collection[Kind], code: str) -> Said:
    """The words for calls of these kinds that were refused with this code."""
    if code in _OF_ALL:
        return Said(f"everything ({code})", _OF_ALL[code], _EFFECTS["read"])
    effects = " and ".join(dict.fromkeys(_EFFECTS[kind] for kind in kinds))
    return Said(f"to {', '.join(kinds)} ({code})", _OF_A_KIND.get(code, _OTHER), effects)
