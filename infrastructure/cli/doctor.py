"""What `turnlog doctor` finds out. A server that is away is a finding, and not an exception."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from turnlog import __version__
from turnlog.domain.errors import EmbeddedServersError
from turnlog.infrastructure.cli.failures import hint_for
from turnlog.infrastructure.cli.postgres_probe import PostgresProbe, probe_postgres
from turnlog.infrastructure.cli.redis_probe import RedisProbe, probe_redis
from turnlog.infrastructure.composition import running_servers
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.statements import SCHEMA_VERSION
from turnlog.infrastructure.tables.catching_up import Lag
from turnlog.infrastructure.tables.projection import REBUILT
from turnlog.infrastructure.urls import masked

LIBRARIES = ("eventsourcing", "psycopg", "pydantic", "redis", "openai")

_START_REDIS = "turnlog works without it, only slower: views come from Postgres. Start it, or correct REDIS_URL."
_SET_DATABASE_URL = (
    "Start it, or correct DATABASE_URL (or --database-url). To let turnlog start its own Postgres, unset DATABASE_URL "
    'and run: pip install "turnlog[embedded]"'
)
_REBUILDING = "{} is being rebuilt, or a rebuild of it was interrupted: `turnlog rebuild` starts it again."
_SET_FSYNC = "A power cut can lose what was shown as durable, and damage the database. Set fsync = on."
_SET_COMMIT = "A crash of the server can lose what was shown as durable. Set synchronous_commit = on."
_SET_PAGES = "A power cut can damage the database. Set full_page_writes = on."


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, and what to do about it."""

    what: str
    advice: str


@dataclass(slots=True)
class Diagnosis:
    """Facts in sections, notes about things that are no problem, and problems."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_fine(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def blame(self, what: str, advice: str) -> None:
        """Adds a problem."""
        self.problems.append(Problem(masked(what), advice))

    def as_json(self) -> dict[str, Any]:
        """The diagnosis as one JSON object."""
        return {
            "ok": self.is_fine,
            **self.facts,
            "notes": self.notes,
            "problems": [asdict(problem) for problem in self.problems],
        }


async def examine(settings: Settings) -> Diagnosis:
    """Looks at the servers that the settings name, or at embedded ones."""
    found = Diagnosis()
    found.facts["versions"] = _versions()
    try:
        async with running_servers(settings) as running:
            await _examine_servers(found, running, settings)
    except EmbeddedServersError as error:
        found.blame(str(error), "Set DATABASE_URL and REDIS_URL to your own servers, or repair the embedded ones.")
        await _examine_servers(found, settings, settings)
    return found


async def _examine_servers(found: Diagnosis, settings: Settings, given: Settings) -> None:
    """Looks at each server that has a URL and was not looked at. `given` are the settings without embedded servers."""
    if settings.database_url is not None and "postgres" not in found.facts:
        probe = await probe_postgres(settings)
        found.facts["postgres"] = _postgres_facts(probe, settings, given.database_url is None)
        _judge_postgres(found, probe)
        if probe.lags:
            found.facts["projections"] = _lag_facts(probe.lags)
            found.notes += [
                _REBUILDING.format(lag.name.removesuffix(REBUILT)) for lag in probe.lags if lag.name.endswith(REBUILT)
            ]
    if settings.redis_url is not None and "redis" not in found.facts:
        await _examine_redis(found, settings, given.redis_url is None)


async def _examine_redis(found: Diagnosis, settings: Settings, embedded: bool) -> None:
    if settings.redis_url in (None, "none"):
        found.facts["redis"] = {"url": "none", "reachable": False}
        found.notes.append(
            "There is no cache, as `none` asks for: views come from Postgres. They are right, but slower."
        )
        return
    probe = await probe_redis(settings)
    found.facts["redis"] = _redis_facts(probe, settings, embedded)
    if probe.error is not None:
        found.blame(f"Redis does not answer: {probe.error}", _START_REDIS)
    for what, advice, effect in probe.refused:
        found.blame(f"Redis refuses {what}.", f"{advice[0].upper()}{advice[1:]}. Until it allows it, {effect}.")


def _versions() -> dict[str, str]:
    return {
        "turnlog": __version__,
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def _postgres_facts(probe: PostgresProbe, settings: Settings, embedded: bool) -> dict[str, Any]:
    url = masked(settings.database_url or "")
    facts: dict[str, Any] = {"url": url, "embedded": embedded, "reachable": probe.error is None, **probe.settings}
    if probe.error is None:
        facts |= {"schema": settings.database_schema, "schema_version": probe.schema_version}
        facts |= {"schema_needed": SCHEMA_VERSION, **probe.counts}
    return facts


def _lag_facts(lags: list[Lag]) -> dict[str, Any]:
    """How far each projection lags: in events, and in seconds since its next event was appended."""
    now = datetime.now(UTC)
    facts: dict[str, Any] = {}
    for lag in lags:
        facts[f"{lag.name}_events_behind"] = lag.events_behind
        if lag.waiting_since is not None:
            facts[f"{lag.name}_seconds_behind"] = round(max(0.0, (now - lag.waiting_since).total_seconds()), 1)
    return facts


def _redis_facts(probe: RedisProbe, settings: Settings, embedded: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"url": masked(settings.redis_url or ""), "embedded": embedded}
    facts |= {"reachable": probe.error is None, **probe.facts}
    return facts | {"ttl_seconds": round(settings.cache_ttl_seconds), "prefix": settings.cache_prefix}


def _judge_postgres(found: Diagnosis, probe: PostgresProbe) -> None:
    if probe.error is not None:
        found.blame(f"Postgres does not answer: {probe.error}", _SET_DATABASE_URL)
        return
    if probe.fault is not None:
        found.blame(str(probe.fault), hint_for(probe.fault) or "A log cannot be opened on this database.")
    for name, advice in (("fsync", _SET_FSYNC), ("synchronous_commit", _SET_COMMIT), ("full_page_writes", _SET_PAGES)):
        if probe.settings.get(name) == "off":
            found.blame(f"{name} is off.", advice)
    if probe.fault is None:
        _note_schema(found, probe.schema_version)


def _note_schema(found: Diagnosis, version: int | None) -> None:
    if version is None:
        found.notes.append("There is no schema yet: `turnlog init` creates it, and so does the first use.")
    elif version < SCHEMA_VERSION:
        found.notes.append(
            f"The database has schema {version}, made by an older turnlog: `turnlog init` brings it to "
            f"{SCHEMA_VERSION}, and so does the first use."
        )
