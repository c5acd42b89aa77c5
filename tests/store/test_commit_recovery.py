"""What an error says of the batch that met it."""

from __future__ import annotations

import eventsourcing.persistence
import psycopg
import pytest

from turnlog.infrastructure.store.commit_recovery import PositionTaken, Refused, Unreached, outcome_of


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("gone"),
        psycopg.InterfaceError("gone"),
        psycopg.errors.ReadOnlySqlTransaction("gone"),
        eventsourcing.persistence.OperationalError("gone"),
        TimeoutError("gone"),
        ConnectionResetError("gone"),
    ],
)
def test_where_there_is_no_answer_a_batch_may_be_stored(error: Exception) -> None:
    assert outcome_of(error) == Unreached("Postgres: gone")


@pytest.mark.parametrize(
    "error", [psycopg.errors.InsufficientPrivilege("no"), psycopg.DataError("no"), OverflowError("no")]
)
def test_any_other_error_is_a_refusal(error: Exception) -> None:
    assert outcome_of(error) == Refused("Postgres: no")


def test_a_broken_constraint_is_a_position_that_was_taken() -> None:
    assert outcome_of(psycopg.errors.UniqueViolation("taken")) == PositionTaken()
