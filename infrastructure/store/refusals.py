"""What Postgres says when it refuses something, without the values that it quotes."""

from __future__ import annotations

import psycopg
from eventsourcing.persistence import PersistenceError

from turnlog.domain.errors import MissingPrivilegeError, StoreError

ASK_THE_OWNER = "Let the owner of the tables do it, or let `turnlog init --roles` give the user its rights"


def in_short(error: BaseException) -> str:
    """What went wrong. The detail is left out: it quotes the row, and what is in it is nobody's business here."""
    cause = error.__cause__ if isinstance(error, PersistenceError) else error
    said = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    return said or str(error)


def is_forbidden(error: BaseException) -> bool:
    """Whether the user of the database lacks a right."""
    cause = error.__cause__ if isinstance(error, PersistenceError) else error
    return isinstance(cause, psycopg.errors.InsufficientPrivilege)


def refusal_of(error: PersistenceError) -> StoreError:
    """The error for what Postgres refuses."""
    said = f"Postgres: {in_short(error)}"
    return MissingPrivilegeError(said, ASK_THE_OWNER) if is_forbidden(error) else StoreError(said)
