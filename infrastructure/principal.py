"""Who asks. There is no call in which a missing principal means "no check"."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import checked_id
from turnlog.domain.state import Active, SessionState


class _System(Enum):
    SYSTEM = "SYSTEM"

    def __repr__(self) -> str:
        return "SYSTEM"


SYSTEM: Final = _System.SYSTEM
"""The principal that owns nothing and sees all: workers, the command line, support."""

Principal = str | Literal[_System.SYSTEM]


def checked_principal(value: Any) -> Principal:
    """A user id, or SYSTEM. Raises InvalidInputError for None and anything else."""
    if value is SYSTEM:
        return _System.SYSTEM
    if value is None:
        raise InvalidInputError("principal", "is required: a user id, or SYSTEM")
    return checked_id(value, "principal")


def may_use(state: SessionState, principal: Principal) -> bool:
    """Whether the session is there, and this principal's."""
    return isinstance(state, Active) and owns(principal, state.user_id)


def owns(principal: Principal, user_id: str | None) -> bool:
    """Whether what this user owns (None: nobody) is the principal's."""
    return principal is SYSTEM or user_id == principal
