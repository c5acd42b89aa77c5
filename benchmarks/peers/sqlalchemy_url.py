"""A libpq connection string as SQLAlchemy with asyncpg wants it."""

from __future__ import annotations

from typing import Any

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import URL


def sqlalchemy_url(url: str) -> Any:
    """The URL. A host that is a folder holds the server's socket."""
    server = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    host, port = server.get("host", "localhost"), server.get("port", "5432")
    on_socket = host.startswith("/")
    return URL.create(
        "postgresql+asyncpg",
        username=server.get("user", "postgres"),
        password=server.get("password"),
        database=server["dbname"],
        host=None if on_socket else host,
        port=None if on_socket else int(port),
        query={"host": host, "port": port} if on_socket else {},
    )
