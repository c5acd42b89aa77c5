"""The tests as the application's role: `make test-roles` runs them all so.

The owner makes the tables of each test's schema and the roles, and turns row-level security on. From then on all that
this process does through turnlog is done as the role; what a test does to the database by itself is not. A test of what
needs the owner of the tables is marked with `owner`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.connecting import Door
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.roles import Roles, make_roles
from turnlog.infrastructure.tables.projection_tables import ProjectionTables
from turnlog.infrastructure.tables.usage import UsageProjection

_AS_IT_SAYS = Door.__init__

AS_APPLICATION = os.environ.get("TURNLOG_TEST_ROLE") == "application"


def make_log(settings: Settings, row_security: bool | None = None) -> None:
    """The tables and the roles, as `turnlog init --roles` makes them."""
    with UrlDatastore(settings.database_url or "", schema=settings.database_schema, pool_size=1, timeout=10) as opened:
        recorder = BatchRecorder(opened)
        recorder.create_table()
        ProjectionTables(opened, UsageProjection(), EventMapper()).create_table()
        make_roles(recorder, Roles(), row_security)


def as_role(settings: Settings, role: str) -> Settings:
    """The settings with this role as the user."""
    url = make_conninfo(**{**conninfo_to_dict(str(settings.database_url)), "user": role})
    return settings.model_copy(update={"database_url": url, "reap_seconds": 0})


@contextmanager
def as_application(settings: Settings) -> Iterator[None]:
    """What connects to the URL of these settings does so as the application's role."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Door, "__init__", _AS_IT_SAYS)  # a test may have made another log before
        make_log(settings, row_security=True)
    role = f"-c role={Roles.application}"

    def limited(door: Door, url: str, *arguments: Any) -> None:
        _AS_IT_SAYS(door, url, *arguments)
        if url == settings.database_url:
            door.options["options"] = role

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Door, "__init__", limited)
        yield
