"""Faults of Postgres and of Valkey themselves."""

from __future__ import annotations

import signal
from contextlib import suppress

from psycopg.errors import DeadlockDetected

from tests.chaos.arena import Arena
from tests.chaos.kinds import kind
from tests.chaos.servers import DATABASE, ROLE, send
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.recorder import BatchRecorder

_TERMINATE = f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}'"
_ALTER_SEQUENCE = "alter sequence turnlog_events_positions increment by 1"


@kind("server", "every session of Postgres is terminated")
async def backends_terminated(arena: Arena) -> None:
    await arena.run(arena.servers.execute, _TERMINATE)


@kind("server", "the sessions that append are terminated, again and again")
async def appends_terminated(arena: Arena) -> None:
    for _ in arena.times(2, 6):
        await arena.run(arena.servers.execute, f"{_TERMINATE} and query like '%append%'")
        await arena.hold(0.0, 0.03)


@kind("server", "the sessions that read are terminated")
async def reads_terminated(arena: Arena) -> None:
    for _ in arena.times(2, 6):
        await arena.run(arena.servers.execute, f"{_TERMINATE} and query not like '%append%'")
        await arena.hold(0.0, 0.03)


@kind("server", "statements are cancelled, as by an impatient administrator")
async def statements_cancelled(arena: Arena) -> None:
    cancel = f"select pg_cancel_backend(pid) from pg_stat_activity where usename = '{ROLE}' and state = 'active'"
    for _ in arena.times(5, 15):
        await arena.run(arena.servers.execute, cancel)


@kind("server", "one process of Postgres is killed, and all recover from a crash")
async def backend_killed(arena: Arena) -> None:
    pids = await arena.run(arena.servers.execute, f"select pid from pg_stat_activity where usename = '{ROLE}'")
    chosen = arena.rng.choice([pid for (pid,) in pids]) if pids else None
    send([one for one in arena.servers.postgres_processes() if one.pid == chosen], signal.SIGKILL)
    await arena.hold(0.05, 0.1)


@kind("server", "all processes of Postgres are killed, and it is started again")
async def postgres_killed(arena: Arena) -> None:
    await arena.run(arena.servers.restart, signal.SIGKILL)


@kind("server", "Postgres is restarted, fast")
async def postgres_restarted(arena: Arena) -> None:
    await arena.run(arena.servers.restart, signal.SIGINT)


@kind("server", "Postgres is shut down immediately, and started again")
async def postgres_stopped_immediately(arena: Arena) -> None:
    await arena.run(arena.servers.restart, signal.SIGQUIT)


@kind("server", "Postgres stands still, and goes on")
async def postgres_frozen(arena: Arena) -> None:
    processes = arena.servers.postgres_processes()
    send(processes, signal.SIGSTOP)
    try:
        await arena.hold(0.1, 0.3, 2.5)
    finally:
        send(processes, signal.SIGCONT)


@kind("server", "lock_timeout of the role is short, and a table is locked")
async def lock_timeout(arena: Arena) -> None:
    await _with_role_setting(arena, "lock_timeout", "20ms", hold="lock table turnlog_sessions in exclusive mode")


@kind("server", "statement_timeout of the role is short")
async def statement_timeout(arena: Arena) -> None:
    await _with_role_setting(arena, "statement_timeout", arena.rng.choice(("2ms", "20ms")))


@kind("server", "idle sessions are ended at once")
async def idle_session_timeout(arena: Arena) -> None:
    await _with_role_setting(arena, "idle_session_timeout", "5ms")


@kind("server", "transactions that wait are ended at once")
async def idle_in_transaction_timeout(arena: Arena) -> None:
    await _with_role_setting(arena, "idle_in_transaction_session_timeout", "1ms")


@kind("server", "the role may only read, for a while")
async def read_only(arena: Arena) -> None:
    await _with_role_setting(arena, "default_transaction_read_only", "on")


async def _with_role_setting(arena: Arena, name: str, value: str, hold: str | None = None) -> None:
    servers = arena.servers
    await arena.run(servers.execute, f"alter role {ROLE} set {name} = '{value}'")
    try:
        await arena.run(servers.execute, _TERMINATE)
        if hold:
            await arena.run(servers.hold, hold)
        await arena.hold(0.1, 0.3, 1.5)
    finally:
        await arena.run(servers.execute, f"alter role {ROLE} reset {name}")
        await arena.run(servers.execute, _TERMINATE)


@kind("server", "the table of events is locked by somebody else")
async def events_locked(arena: Arena) -> None:
    await arena.run(arena.servers.hold, "lock table turnlog_events in access exclusive mode")
    await arena.hold(0.1, 0.4, 2.5)


@kind("server", "the lines of the lists are locked by somebody else")
async def lines_locked(arena: Arena) -> None:
    await arena.run(arena.servers.hold, "select 1 from turnlog_sessions for update")
    await arena.hold(0.1, 0.4, 2.5)


@kind("server", "the sequence of log positions is locked, as by a transaction that alters it")
async def sequence_locked(arena: Arena) -> None:
    await arena.run(arena.servers.hold, _ALTER_SEQUENCE)
    await arena.hold(0.1, 0.4, 2.5)


@kind("server", "statements time out while they wait for the sequence of log positions")
async def sequence_timeout(arena: Arena) -> None:
    servers = arena.servers
    await arena.run(servers.execute, f"alter role {ROLE} set statement_timeout = '60ms'")
    try:
        await arena.run(servers.execute, _TERMINATE)
        await arena.hold(0.05, 0.1)
        await arena.run(servers.hold, _ALTER_SEQUENCE)
        await arena.hold(0.1, 0.3)
        servers.release()
        await arena.finish()
        await arena.look()  # before the sessions end, with which their locks go
    finally:
        await arena.run(servers.execute, f"alter role {ROLE} reset statement_timeout")
        await arena.run(servers.execute, _TERMINATE)


@kind("server", "the sequence of log positions is behind, as after a restore of the table alone")
async def sequence_behind(arena: Arena) -> None:
    last = (
        "select setval('turnlog_events_positions', greatest(1, (select max(notification_id) from turnlog_events) {}))"
    )
    try:
        await arena.run(arena.servers.execute, last.format("- 40"))
        await arena.hold(0.05, 0.2)
    finally:
        await arena.run(arena.servers.execute, last.format("+ 100000"))


@kind("server", "vacuum, analyze and a reindex of everything run meanwhile")
async def maintenance(arena: Arena) -> None:
    await arena.run(arena.servers.execute, "vacuum analyze")
    with suppress(DeadlockDetected):  # with an append: Postgres ends one of the two
        await arena.run(arena.servers.execute, "reindex table turnlog_events")


@kind("server", "the schema is brought up to date meanwhile, as by a deployment")
async def schema_prepared_again(arena: Arena) -> None:
    url = arena.servers.direct_database_url
    datastore = UrlDatastore(url, schema="public", pool_size=2, timeout=5.0)
    try:
        await arena.run(BatchRecorder(datastore).create_table)
    finally:
        datastore.close()


@kind("server", "Postgres has no connection left for anybody")
async def connections_exhausted(arena: Arena) -> None:
    arena.servers.to_postgres.reset_all()
    await arena.run(arena.servers.take_connections)
    await arena.hold(0.1, 0.3, 2.0)


@kind("server", "the database takes no connections")
async def connections_not_allowed(arena: Arena) -> None:
    servers = arena.servers
    await arena.run(servers.execute, f"alter database {DATABASE} allow_connections false", "postgres")
    try:
        await arena.run(servers.execute, _TERMINATE, "postgres")
        await arena.hold(0.1, 0.3, 2.0)
    finally:
        await arena.run(servers.execute, f"alter database {DATABASE} allow_connections true", "postgres")


@kind("server", "a commit waits for no disk (synchronous_commit is off)")
async def commits_are_not_waited_for(arena: Arena) -> None:
    await _with_role_setting(arena, "synchronous_commit", "off")


@kind("server", "Valkey is killed, and started again empty")
async def valkey_killed(arena: Arena) -> None:
    send([await arena.run(arena.servers.redis_process)], signal.SIGKILL)
    await arena.hold(0.05, 0.2, 1.5)


@kind("server", "Valkey stands still, and goes on")
async def valkey_frozen(arena: Arena) -> None:
    process = await arena.run(arena.servers.redis_process)
    send([process], signal.SIGSTOP)
    try:
        await arena.hold(0.1, 0.4, 1.5)
    finally:
        send([process], signal.SIGCONT)
