"""The principal: who asks. In no call does a missing principal mean "no check"."""

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
"""The principal that owns nothing and sees everything: for workers, the command line and support."""

Principal = str | Literal[_System.SYSTEM]


def checked_principal(value: Any) -> Principal:
    """A user id, or SYSTEM. Raises InvalidInputError for None and anything else."""
    if value is SYSTEM:
        return _System.SYSTEM
    if value is None:
        raise InvalidInputError("principal", "is required: a user id, or SYSTEM")
    return checked_id(value, "principal")


def may_use(state: SessionState, principal: Principal) -> bool:
    """Whether the session exists, and belongs to this principal."""
    return isinstance(state, Active) and owns(principal, state.user_id)


def owns(principal: Principal, user_id: str | None) -> bool:
    """Whether the principal may see what belongs to this user (None: to nobody)."""
    return principal is SYSTEM or user_id == principal
