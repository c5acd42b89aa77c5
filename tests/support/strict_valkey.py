"""A Valkey that refuses something, as servers in production do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from tests.support.killable_servers import short_lived_folder
from turnlog.infrastructure.embedded.valkey import Valkey

ALLOWED = ("--user", "default", "on", "nopass", "~*", "&*", "+@all")
REFUSALS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a full server": (("--maxmemory", "1mb", "--maxmemory-policy", "noeviction"), "to write (OOM)", "allkeys-lru"),
    "a replica": (("--replicaof", "127.0.0.1 1"), "to write (READONLY)", "primary"),
    "too few replicas": (("--min-replicas-to-write", "1"), "to write (NOREPLICAS)", "replicas"),
    "no scripts": ((*ALLOWED, "-@scripting"), "(NOPERM)", "evalsha"),
    "no writing": ((*ALLOWED, "-@write"), "to write (NOPERM)", "unlink"),
    "no reading": ((*ALLOWED, "-getrange"), "to read (NOPERM)", "getrange"),
    "no channels": ((*ALLOWED, "-@pubsub"), "to publish (NOPERM)", "subscribe"),
    "nothing at all": (("--user", "default", "on", "nopass", "~*", "&*", "-@all"), "(NOPERM)", "ACL"),
    "no such command": (("--rename-command", "EVALSHA", ""), "(UNKNOWN)", "evalsha"),
    "a password": (("--requirepass", "secret"), "everything (NOAUTH)", "REDIS_URL"),
    "a node of a cluster": (("--cluster-enabled", "yes"), "everything (CLUSTERDOWN)", "single server"),
}
"""What servers refuse: their options, what is refused, and a word of what to do."""


class StrictValkey(Valkey):
    """With options of its own, which come after those of an embedded one."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        super().__init__(folder)
        self._options = options

    def _arguments(self) -> list[str]:
        return [*super()._arguments(), *self._options]


@contextmanager
def strict_valkey(folder: Path, *options: str) -> Iterator[str]:
    """The URL of a Valkey with these options, which runs meanwhile."""
    server = StrictValkey(folder / "valkey", list(options))
    try:
        yield server.ensure()
    finally:
        server.stop()


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """The URL of a server that answers everything with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(65_536):
                writer.write(answer)
        writer.close()

    with short_lived_folder() as path:
        async with await asyncio.start_unix_server(serve, path / "s"):
            yield f"unix://{path}/s"
