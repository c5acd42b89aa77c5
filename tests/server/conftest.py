"""The log over HTTP, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from tests.support.served import app_of, asked
from turnlog import Session, SessionLog


@pytest.fixture
def app(log: SessionLog) -> FastAPI:
    """An application with the router."""
    return app_of(log)


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the user u1."""
    async with asked(app) as client:
        yield client


@pytest.fixture
def at(session: Session) -> str:
    """The path of a session of u1."""
    return f"/sessions/{session.id}"
